"""Folders of class folders: each rule on a small tree of empty files (nothing is decoded)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from everyclass.errors import InputError
from everyclass.images.readers import read_table
from everyclass.images.table import ImageTable, SetAside


def make(root: Path, *files: str) -> str:
    """Empty files below a folder; a name that ends in "/" makes an empty folder."""
    for name in files:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return str(root)


def refusal(source: str | Path, **options: str) -> str:
    with pytest.raises(InputError) as caught:
        read_table(source, **options)  # type: ignore[arg-type]
    return str(caught.value)


def rows(table: ImageTable) -> list[tuple[str, str, str]]:
    names = [table.classes[label] for label in table.labels()]
    return list(zip(table.keys().to_pylist(), names, table.splits().tolist()))


def test_a_folder_per_class(tmp_path: Path) -> None:
    table = read_table(make(tmp_path, "dog/2.jpg", "cat/1.png", "dog/1.JPG", "cat/3.WebP"))
    assert table.classes == ("cat", "dog")
    assert rows(table) == [
        ("cat/1.png", "cat", ""),
        ("cat/3.WebP", "cat", ""),
        ("dog/1.JPG", "dog", ""),
        ("dog/2.jpg", "dog", ""),
    ]
    assert table.image(0) == f"{tmp_path}/cat/1.png"
    assert table.root == f"{tmp_path}/"
    assert table.source == str(tmp_path)
    assert table.notes == ()
    assert table.set_aside == ()
    assert table.groups().tolist() == [None] * 4


def test_a_path_object_a_trailing_slash_and_a_relative_path_read_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "d", "a/1.png", "b/1.png")
    expected = read_table(source).fingerprint()
    assert read_table(tmp_path / "d").fingerprint() == expected
    assert read_table(f"{source}/").fingerprint() == expected
    assert read_table(f"file://{source}").images[0] == f"{source}/a/1.png"
    monkeypatch.chdir(tmp_path)
    assert read_table("d").fingerprint() == expected
    assert read_table("d").image(0) == "d/a/1.png"
    monkeypatch.chdir(tmp_path / "d")
    assert read_table(".").fingerprint() == expected


def test_splits_above_the_classes_under_any_usual_name(tmp_path: Path) -> None:
    names = ("Train/cat/1.png", "Train/dog/1.png", "validation/dog/2.png", "testing/cat/3.png")
    table = read_table(make(tmp_path, *names))
    assert rows(table) == [
        ("Train/cat/1.png", "cat", "train"),
        ("testing/cat/3.png", "cat", "test"),
        ("Train/dog/1.png", "dog", "train"),
        ("validation/dog/2.png", "dog", "val"),
    ]


@pytest.mark.parametrize("alias", ["val", "valid", "validation", "dev", "Val"])
def test_aliases_of_val(tmp_path: Path, alias: str) -> None:
    names = ("train/a/1.png", "train/b/1.png", f"{alias}/a/2.png")
    table = read_table(make(tmp_path, *names))
    assert table.counts("val").tolist() == [1, 0]


def test_a_split_folder_alone_holds_the_classes(tmp_path: Path) -> None:
    table = read_table(make(tmp_path, "train/a/1.png", "train/b/1.png"))
    assert table.classes == ("a", "b")
    assert table.counts("train").tolist() == [1, 1]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    table = read_table(make(tmp_path, "bus/1.png", "car/1.png", "train/1.png", "train/steam/2.png"))
    assert table.classes == ("bus", "car", "train")
    assert table.counts().tolist() == [1, 1, 2]
    assert not table.has_split("train")


def test_folders_beside_the_splits_are_named_in_a_note(tmp_path: Path) -> None:
    names = ("train/a/1.png", "train/b/1.png", "test/a/2.png", "unlabelled/9.png", "train/8.png")
    table = read_table(make(tmp_path, *names))
    assert len(table) == 3
    assert table.notes == (
        "Folders beside the splits left out: 'unlabelled/'.",
        "1 image outside the class folders left out: 'train/8.png'.",
    )


def test_unlabelled_test_images_are_named_in_a_note(tmp_path: Path) -> None:
    # As Kaggle ships them: train/ has class folders, test/ has loose images without labels.
    table = read_table(make(tmp_path, "train/a/1.png", "train/b/1.png", "test/1.png", "test/2.png"))
    assert len(table) == 2
    assert table.notes == (
        "2 images outside the class folders left out: 'test/1.png', 'test/2.png'.",
    )


def test_numbers_in_class_names_count_as_numbers(tmp_path: Path) -> None:
    table = read_table(make(tmp_path / "n", "10/a.png", "1/a.png", "2/a.png"))
    assert table.classes == ("1", "2", "10")
    table = read_table(make(tmp_path / "t", "b1/a.png", "a10/a.png", "A2/a.png"))
    assert table.classes == ("A2", "a10", "b1")


def test_the_first_level_names_the_class_however_deep_the_image(tmp_path: Path) -> None:
    table = read_table(make(tmp_path, "a/x/y/1.png", "a/2.png", "b/train/3.png"))
    assert rows(table) == [
        ("a/2.png", "a", ""),
        ("a/x/y/1.png", "a", ""),
        ("b/train/3.png", "b", ""),
    ]


def test_hidden_names_and_litter_are_skipped_without_a_word(tmp_path: Path) -> None:
    names = (
        *("a/1.png", "b/1.png", ".git/x.png", "a/.cache/1.png", "a/._1.png", ".hidden.png"),
        *("__MACOSX/a/1.png", "a/Thumbs.db", "b/desktop.ini", "b/@eaDir/1.png"),
    )
    table = read_table(make(tmp_path, *names))
    assert table.keys().to_pylist() == ["a/1.png", "b/1.png"]
    assert table.notes == ()


def test_other_files_are_counted_in_a_note(tmp_path: Path) -> None:
    names = ("a/1.png", "b/1.png", "a/1.txt", "a/2.TXT", "readme", "b/1.gif")
    table = read_table(make(tmp_path, *names))
    assert table.notes == ("Left out, not images: 4 files (.txt 2, no extension 1, .gif 1).",)


def test_an_empty_class_folder_is_left_out_with_a_note(tmp_path: Path) -> None:
    table = read_table(make(tmp_path, "a/1.png", "b/1.png", "c/", "d/notes.txt"))
    assert table.classes == ("a", "b")
    assert table.notes[0] == "2 folders without images left out: 'c/', 'd/'."


def test_an_image_beside_the_class_folders_is_named_in_a_note(tmp_path: Path) -> None:
    table = read_table(make(tmp_path, "a/1.png", "b/1.png", "overview.png"))
    assert table.notes == ("1 image outside the class folders left out: 'overview.png'.",)


def test_classes_that_differ_only_in_capitals_are_said(tmp_path: Path) -> None:
    table = read_table(make(tmp_path, "cat/1.png", "Cat/1.png", "dog/1.png"))
    assert table.classes == ("Cat", "cat", "dog")
    assert table.notes == (
        "Classes that differ only in capital letters are kept apart: 'Cat', 'cat'.",
    )


def test_links_to_folders_and_files_are_followed(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "cats/1.png", "2.png")
    source = make(tmp_path / "d", "dog/1.png")
    os.symlink(tmp_path / "elsewhere" / "cats", tmp_path / "d" / "cat")
    os.symlink(tmp_path / "elsewhere" / "2.png", tmp_path / "d" / "dog" / "2.png")
    assert read_table(source).keys().to_pylist() == ["cat/1.png", "dog/1.png", "dog/2.png"]


def test_link_loops_end_and_a_folder_is_read_once(tmp_path: Path) -> None:
    source = make(tmp_path, "a/1.png", "b/1.png")
    os.symlink(tmp_path, tmp_path / "a" / "up")
    os.symlink(tmp_path / "a", tmp_path / "b" / "again")
    os.symlink("itself", tmp_path / "b" / "itself")
    table = read_table(source)
    assert table.keys().to_pylist() == ["a/1.png", "b/1.png"]
    assert table.notes == (
        "2 linked folders left out, because what they lead to was read already: "
        "'a/up/', 'b/again/'.",
    )


def test_the_real_folder_wins_over_a_link_that_sorts_before_it(tmp_path: Path) -> None:
    source = make(tmp_path, "dog/1.png", "z/cat/1.png")
    os.symlink(tmp_path / "z" / "cat", tmp_path / "dog" / "a")
    assert read_table(source).keys().to_pylist() == ["dog/1.png", "z/cat/1.png"]


def test_a_link_to_nothing_is_set_aside(tmp_path: Path) -> None:
    source = make(tmp_path, "a/1.png", "b/1.png")
    os.symlink("nowhere.png", tmp_path / "a" / "2.png")
    table = read_table(source)
    assert len(table) == 2
    assert table.set_aside == (
        SetAside(image=f"{source}/a/2.png", label="a", reason="a link to nothing"),
    )


def test_a_name_that_is_not_utf8_is_set_aside(tmp_path: Path) -> None:
    source = make(tmp_path, "a/1.png", "b/1.png")
    try:
        open(os.fsencode(source) + b"/a/\xff.png", "wb").close()
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    table = read_table(source)
    assert len(table) == 2
    assert table.set_aside == (
        SetAside(image=f"{source}/a/\\udcff.png", label="a", reason="its name is not valid UTF-8"),
    )


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    source = make(tmp_path, "cat/1.png", "cat/2.png", "dog/")
    assert refusal(source) == (
        f"{source} has one class only, 'cat' (2 images, from class folders). "
        "A classifier needs two or more. 1 folder without images left out: 'dog/'."
    )


def test_the_folder_an_archive_was_unpacked_to_is_pointed_out(tmp_path: Path) -> None:
    source = make(tmp_path, "dataset/cat/1.png", "dataset/dog/1.png")
    assert refusal(source) == (
        f"{source} has one class only, 'dataset' (2 images, from class folders). "
        f"If its classes are the folders inside it ('cat', 'dog'), name {source}/dataset instead."
    )


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "cells") == (
        f"{tmp_path}/cells does not exist. The data are a folder with a folder of images for each "
        "class, a CSV, TSV or Parquet manifest, tar archives of samples, or a Hugging Face data "
        "set (a folder of save_to_disk, or hf://OWNER/NAME)."
    )


def test_an_empty_path() -> None:
    assert refusal("").startswith("An empty path does not exist.")


def test_no_images_at_all(tmp_path: Path) -> None:
    source = make(tmp_path, "a/1.gif", "b/")
    assert refusal(source) == (
        f"{source} holds no images (.jpg, .jpeg, .jpe, .jfif, .png, .webp, .tif, .tiff, .bmp, "
        ".dcm, .dicom, .svs, .ndpi, .mrxs, .scn, .bif, .svslide, .vms, .vmu). "
        "Left out, not images: 1 file (.gif 1). Name the folder that holds the folders of classes."
    )


def test_images_without_class_folders(tmp_path: Path) -> None:
    source = make(tmp_path, "1.png", "2.png")
    assert refusal(source) == (
        f"{source} has no class folders: 2 images directly in it. Put the images of each class "
        "into a folder called like the class, or add a manifest (train.csv with the columns image "
        "and label)."
    )


def test_folders_called_like_a_place_for_images_are_no_classes(tmp_path: Path) -> None:
    source = make(tmp_path, "train_images/1.png", "test_images/1.png", "train/1.png")
    assert f"{source} has no class folders: images in test_images/, train/" in refusal(source)


def test_a_class_in_val_but_not_in_train(tmp_path: Path) -> None:
    names = ("train/a/1.png", "train/b/1.png", "val/MC/0812.jpg", "val/MC/0813.jpg")
    assert refusal(make(tmp_path, *names)) == (
        "Class 'MC' is in split val (2 rows, first: val/MC/0812.jpg) but not in train. "
        "Move at least one to train, or remove these rows."
    )


def test_a_folder_with_a_test_split_only_is_there_to_be_evaluated(tmp_path: Path) -> None:
    table = read_table(make(tmp_path, "test/a/1.png", "test/b/1.png"))
    assert table.counts("test").tolist() == [1, 1]


def test_a_folder_per_image_is_refused(tmp_path: Path) -> None:
    source = make(tmp_path, *(f"patient{i}/1.png" for i in range(51)))
    message = refusal(source)
    assert f"In {source} each of 51 images has a class of its own, from class folders" in message
    assert "'patient0', 'patient1', 'patient2' and 48 more" in message


def test_column_options_without_a_manifest_are_refused(tmp_path: Path) -> None:
    source = make(tmp_path, "a/1.png", "b/1.png")
    assert refusal(source, label_column="class") == (
        f"{source} holds no manifest, but columns or an image root were named for one. "
        "Leave these options out, or name the CSV, TSV or Parquet file."
    )


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(tmp_path, "a/1.png", "b/1.png")

    def refuse(folder: str) -> None:
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert refusal(source) == (
        f"{source}/ cannot be read: Permission denied. Give yourself permission to read it, or "
        "name another."
    )


def test_loose_images_are_read_when_labels_are_not_required(tmp_path: Path) -> None:
    source = make(tmp_path, "2.png", "1.png", "images/3.png", "x.txt")
    table = read_table(source, require_labels=False)
    assert table.keys().to_pylist() == ["1.png", "2.png", "images/3.png"]
    assert table.classes == ()
    assert table.labels().tolist() == [-1, -1, -1]
    assert table.notes == ("Left out, not images: 1 file (.txt 1).",)


@pytest.mark.data
def test_real_folders_are_read_whole() -> None:
    folder = os.environ.get("EVERYCLASS_DATA")
    if not folder or not Path(folder, "trashnet").is_dir():
        pytest.skip("set EVERYCLASS_DATA to a folder that holds trashnet/")
    table = read_table(Path(folder, "trashnet"))
    assert table.classes == ("cardboard", "glass", "metal", "paper", "plastic", "trash")
    assert table.counts().tolist() == [403, 501, 410, 594, 482, 137]
