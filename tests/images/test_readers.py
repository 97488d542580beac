"""What a user may name: which kind it is, URIs, and images to predict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from everyclass.errors import InputError
from everyclass.images.readers import read_images, read_table
from everyclass.images.table import SetAside


def touch(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return str(root)


def refusal(source: str | Path, **options: str) -> str:
    with pytest.raises(InputError) as caught:
        read_table(source, **options)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
    yield filesystem
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]


# A folder with a manifest


def test_a_manifest_beside_class_folders_is_left_alone_and_said(tmp_path: Path) -> None:
    source = touch(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "sizes.csv").write_text("image,label\ncat/1.png,x\ndog/1.png,y\n")
    table = read_table(source)
    assert table.classes == ("cat", "dog")
    assert table.notes[-1] == "Read by its class folders, not by 'sizes.csv': name it to use it."
    assert read_table(source, label_column="label").classes == ("x", "y")
    assert read_table(tmp_path / "sizes.csv").classes == ("x", "y")


def test_the_only_manifest_in_a_folder_is_read(tmp_path: Path) -> None:
    source = touch(tmp_path, "images/1.png", "images/2.png")
    (tmp_path / "labels.tsv").write_text("image\tlabel\n1\tx\n2\ty\n")
    table = read_table(source)
    assert table.notes[0] == "Read by its manifest labels.tsv."
    assert table.image(0) == f"{source}/images/1.png"


def test_of_several_manifests_the_one_that_fits_is_read(tmp_path: Path) -> None:
    source = touch(tmp_path, "1.png", "2.png")
    (tmp_path / "labels.csv").write_text("image,label\n1,x\n2,y\n")
    (tmp_path / "sizes.csv").write_text("image,width\n1,7\n")
    pq.write_table(pa.table({"width": [1]}), tmp_path / "widths.parquet")
    assert read_table(source).notes[0] == "Read by its manifest labels.csv."
    (tmp_path / "more.csv").write_text("image,class\n1,x\n")
    assert refusal(source) == (
        f"{source}/ holds 4 manifests ('labels.csv', 'more.csv', 'sizes.csv', 'widths.parquet'); "
        "more than one has an image and a label column. Name the one to read."
    )
    assert "none has an image and a label column" in refusal(source, label_column="diagnosis")


# URIs


def test_class_folders_behind_a_uri(memory: fsspec.AbstractFileSystem) -> None:
    for name in ("b/deep/2.JPG", "b/.x/1.png", "a/1.png", "a/note.txt", ".hidden/1.png"):
        memory.pipe(f"/cells/{name}", b"")
    memory.mkdir("/cells/empty")
    table = read_table("memory://cells")
    assert list(table.images) == ["memory://cells/a/1.png", "memory://cells/b/deep/2.JPG"]
    assert table.keys().to_pylist() == ["a/1.png", "b/deep/2.JPG"]
    assert table.classes == ("a", "b")
    assert table.notes == (
        "1 folder without images left out: 'empty/'.",
        "Left out, not images: 1 file (.txt 1).",
    )
    assert fsspec.open(table.image(0)).open().read() == b""


def test_a_manifest_behind_a_uri(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe("/ubc/train_thumbnails/1_thumbnail.png", b"")
    memory.pipe("/ubc/train_thumbnails/2_thumbnail.png", b"")
    memory.pipe("/ubc/train.csv", b"image_id,label\n1,a\n2,b\n3,b\n")
    for source in ("memory://ubc", "memory://ubc/train.csv"):
        table = read_table(source)
        assert table.image(1) == "memory://ubc/train_thumbnails/2_thumbnail.png"
        assert table.keys()[0].as_py() == "train_thumbnails/1_thumbnail.png"
        assert table.set_aside == (
            SetAside(image="memory://ubc/3", label="b", reason="no such file"),
        )


def test_a_local_manifest_of_uris(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    memory.pipe("/bucket/1.png", b"")
    path = tmp_path / "cells.csv"
    path.write_text(
        "image,label\nmemory://bucket/1.png,a\nmemory://bucket/2.png,a\n"
        "https://example.org/3.png,b\n"
    )
    table = read_table(path)
    # Nothing is asked of the web: what is not there shows when it is read.
    assert list(table.images) == ["memory://bucket/1.png", "https://example.org/3.png"]
    assert [row.image for row in table.set_aside] == ["memory://bucket/2.png"]


def test_a_parquet_manifest_behind_a_uri_and_file_uris(
    memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    source = touch(tmp_path, "1.png", "2.png")
    with memory.open("/m/cells.parquet", "wb") as file:
        images = [f"file://{source}/1.png", f"file://{source}/2.png"]
        pq.write_table(pa.table({"image": images, "label": ["a", "b"]}), file)
    assert list(read_table("memory://m/cells.parquet").images) == images
    assert len(read_table("memory://m/cells.parquet", image_root=source)) == 2


def test_uris_that_lead_nowhere(memory: fsspec.AbstractFileSystem) -> None:
    assert refusal("memory://nowhere").startswith("memory://nowhere does not exist.")
    assert refusal("nowhere://x") == "nowhere://x cannot be opened: Protocol not known: nowhere."
    assert refusal("zip://a::memory://b.zip") == (
        "zip://a::memory://b.zip goes through a chain of file systems. "
        "Unpack the archive and name the folder it gives."
    )


# Images to predict


def test_files_folders_and_manifests_mixed(tmp_path: Path) -> None:
    touch(tmp_path, "x.png", "odd.dat", "d/2.png", "d/cat/1.png", "d/.h.png", "e/5.jpg", "e/6.jpg")
    (tmp_path / "e" / "list.csv").write_text(
        "image,label,split\n5.jpg,a,odd\n6.jpg,b,\n6.jpg,c,val\nno.jpg,,\n"
    )
    names = ["x.png", "d", "e/list.csv", "odd.dat", "d/2.png"]
    table = read_images([f"{tmp_path}/{name}" for name in names])
    expected = ["x.png", "d/2.png", "d/cat/1.png", "e/5.jpg", "e/6.jpg", "odd.dat"]
    assert list(table.images) == [f"{tmp_path}/{name}" for name in expected]
    assert table.classes == ()
    assert set(table.labels()) == {-1}
    assert set(table.splits()) == {""}
    assert table.set_aside == (
        SetAside(image=f"{tmp_path}/e/no.jpg", label=None, reason="no such file"),
    )
    assert table.notes == (
        "Columns used: image as image.",
        "1 row left out that repeat an earlier one (first: row 4 repeats row 3).",
        "1 image named more than once and read once.",
    )


def test_one_folder_is_the_root_of_its_keys(tmp_path: Path) -> None:
    table = read_images([touch(tmp_path, "a/1.png")])
    assert table.keys().to_pylist() == ["a/1.png"]


def test_images_behind_a_uri(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe("/in/1.png", b"")
    assert list(read_images(["memory://in", "memory://in/1.png"]).images) == ["memory://in/1.png"]


def test_what_cannot_be_predicted(tmp_path: Path) -> None:
    source = touch(tmp_path, "x.txt")
    for paths, start in (
        ([], "No images were named."),
        ([f"{source}/no.png"], f"{source}/no.png does not exist."),
        ([source], f"{source} holds no images"),
    ):
        with pytest.raises(InputError) as caught:
            read_images(paths)
        assert str(caught.value).startswith(start)
