"""Paths as text, and listing folders: hand-made cases. Links and litter: test_readers_folder."""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath

import pytest

from everyclass.errors import InputError
from everyclass.images.listing import (
    file_name,
    file_names,
    join,
    opened,
    parent,
    plain_path,
    walk,
    what_is,
)


def test_plain_path() -> None:
    assert plain_path("cells/") == plain_path(Path("cells")) == "cells"
    assert plain_path("file:///cells/") == plain_path("local:///cells") == "/cells"
    assert plain_path("s3://bucket/cells/") == "s3://bucket/cells"
    assert plain_path("/") == "/"
    assert plain_path("") == ""
    assert plain_path(PureWindowsPath("C:\\cells\\a")) == "C:/cells/a"


@pytest.mark.parametrize(
    ("path", "folder", "name"),
    [
        ("a.csv", ".", "a.csv"),
        ("/a.csv", "/", "a.csv"),
        ("b/a.csv", "b", "a.csv"),
        ("s3://bucket/b/a.csv", "s3://bucket/b", "a.csv"),
    ],
)
def test_parent_file_name_and_join_fit_together(path: str, folder: str, name: str) -> None:
    assert parent(path) == folder
    assert file_name(path) == name
    assert join(folder, name) == path


def test_file_names_are_those_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "folder.png").mkdir()
    os.symlink(tmp_path / "a.png", tmp_path / "link.png")
    os.symlink(tmp_path / "nowhere", tmp_path / "broken.png")
    assert sorted(file_names(str(tmp_path))) == ["a.png", "link.png"]
    assert file_names(f"{tmp_path}/no") == file_names(f"{tmp_path}/a.png") == []


def test_walk_names_folders_without_files_and_sorts(tmp_path: Path) -> None:
    for folder in ("b/x", "a", "b/w"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("b/x/2", "b/x/1", "0"):
        (tmp_path / name).touch()
    tree = walk(str(tmp_path))
    assert tree.root == f"{tmp_path}/"
    assert list(tree.folders.items()) == [
        *(("", ("0",)), ("a/", ()), ("b/", ()), ("b/w/", ()), ("b/x/", ("1", "2"))),
    ]
    assert tree.children("") == ("a", "b")
    assert tree.children("b/") == ("w", "x")


def test_what_is_not_a_file_or_folder_is_not_listed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert walk(str(tmp_path)).folders == {"": ()}
    assert what_is(f"{tmp_path}/pipe.png") is None


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    refusal = pytest.raises(InputError, match=r"/no.csv cannot be read: No such file or directory")
    with refusal, opened(f"{tmp_path}/no.csv"):
        pass
