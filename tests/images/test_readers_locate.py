"""Where a manifest's images are: as written, beside the manifest, or guessed and said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from everyclass.errors import InputError
from everyclass.images import readers_locate
from everyclass.images.readers import read_table


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def manifest(root: Path, *images: str, name: str = "train.csv", column: str = "image_id") -> Path:
    """A manifest in which the images belong to two classes in turn."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [f"{column},label", *(f"{image},{'ab'[i % 2]}" for i, image in enumerate(images))]
    (root / name).write_text("\n".join(lines))
    return root / name


IDS = [str(number) for number in (4, 66, 91, 281)]


def test_the_ubc_ocean_layout_with_thumbnails(tmp_path: Path) -> None:
    touch(tmp_path, *(f"train_thumbnails/{i}_thumbnail.png" for i in IDS))
    touch(tmp_path, "test_images/41.png", "test_thumbnails/41_thumbnail.png")
    manifest(tmp_path, *IDS)
    manifest(tmp_path, "41", name="test.csv")
    manifest(tmp_path, "41", name="sample_submission.csv")
    for source in (tmp_path, tmp_path / "train.csv"):
        table = read_table(source)
        assert table.keys().to_pylist() == [f"train_thumbnails/{i}_thumbnail.png" for i in IDS]
        assert (
            "Image paths guessed: train_thumbnails/{image_id}_thumbnail.png (4 of 4 found)."
            in table.notes
        )
    assert read_table(tmp_path).notes[0] == "Read by its manifest train.csv."


def test_full_images_alone(tmp_path: Path) -> None:
    touch(tmp_path, *(f"train_images/{i}.png" for i in IDS))
    table = read_table(manifest(tmp_path, *IDS))
    assert table.image(0) == f"{tmp_path}/train_images/4.png"
    assert table.notes[-1] == "Image paths guessed: train_images/{image_id}.png (4 of 4 found)."


def test_thumbnails_go_before_full_images_and_both_are_said(tmp_path: Path) -> None:
    touch(tmp_path, *(f"train_images/{i}.png" for i in IDS))
    touch(tmp_path, *(f"train_thumbnails/{i}_thumbnail.png" for i in IDS))
    table = read_table(manifest(tmp_path, *IDS))
    assert table.notes[-2:] == (
        "Image paths guessed: train_thumbnails/{image_id}_thumbnail.png (4 of 4 found).",
        "Also there, not used: train_images/{image_id}.png (see --image-root).",
    )
    table = read_table(tmp_path / "train.csv", image_root=tmp_path / "train_images")
    assert table.keys().to_pylist() == [f"{i}.png" for i in IDS]
    assert table.notes[-1] == "Image paths guessed: {image_id}.png (4 of 4 found)."


def test_images_without_a_thumbnail_are_read_in_full(tmp_path: Path) -> None:
    # UBC-OCEAN has no thumbnails of its 25 tissue microarrays.
    touch(tmp_path, *(f"train_images/{i}.png" for i in IDS))
    touch(tmp_path, *(f"train_thumbnails/{i}_thumbnail.png" for i in IDS[:3]))
    table = read_table(manifest(tmp_path, *IDS))
    assert table.image(3) == f"{tmp_path}/train_images/281.png"
    assert table.notes[-1] == (
        "Image paths guessed: train_thumbnails/{image_id}_thumbnail.png (3 of 4 found), "
        "train_images/{image_id}.png (1)."
    )


def test_few_thumbnails_do_not_go_before_full_images(tmp_path: Path) -> None:
    touch(tmp_path, *(f"train_images/{i}.png" for i in IDS))
    touch(tmp_path, "train_thumbnails/4_thumbnail.png")
    table = read_table(manifest(tmp_path, *IDS))
    assert table.image(0) == f"{tmp_path}/train_images/4.png"


def test_images_in_two_folders(tmp_path: Path) -> None:
    touch(tmp_path, "part_1/x.jpg", "part_1/y.jpg", "part_2/z.JPG", "part_2/deep/w.jpg")
    table = read_table(manifest(tmp_path, "x", "y", "z", "w"))
    assert table.keys().to_pylist() == [
        *("part_1/x.jpg", "part_1/y.jpg", "part_2/z.JPG", "part_2/deep/w.jpg"),
    ]
    assert table.notes[-1] == (
        "Image paths guessed: part_1/{image_id}.jpg (2 of 4 found), part_2/{image_id}.JPG (1), "
        "part_2/deep/{image_id}.jpg (1)."
    )


def test_images_in_many_folders_are_told_in_short(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{i}/{i}{i}.jpg" for i in range(10, 18)), "10/9.jpg")
    table = read_table(manifest(tmp_path, "9", *(f"{i}{i}" for i in range(10, 18))))
    assert len(table) == 9
    assert table.notes[-1] == (
        "Image paths guessed: 10/{image_id}.jpg (2 of 9 found), 11/{image_id}.jpg (1), "
        "12/{image_id}.jpg (1), 13/{image_id}.jpg (1) and 4 more places (4)."
    )


def test_masks_are_never_taken_for_missing_images(tmp_path: Path) -> None:
    touch(tmp_path, *(f"photos/{i}.jpg" for i in IDS[:3]), *(f"masks/{i}.png" for i in IDS))
    table = read_table(manifest(tmp_path, *IDS))
    assert table.keys().to_pylist() == [f"photos/{i}.jpg" for i in IDS[:3]]
    assert [row.reason for row in table.set_aside] == ["no such file"]


def test_folders_of_another_split_are_not_searched(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{split}/{i}.jpg" for i in IDS for split in ("test", "train")))
    assert read_table(manifest(tmp_path, *IDS)).image(0) == f"{tmp_path}/train/4.jpg"
    test = manifest(tmp_path, *IDS, name="test_labels.csv")
    assert read_table(test).image(0) == f"{tmp_path}/test/4.jpg"
    # No split in the name: labels belong to train rather than to test.
    other = manifest(tmp_path, *IDS, name="labels.csv")
    assert read_table(other).image(0) == f"{tmp_path}/train/4.jpg"


def test_a_rare_extension_is_found_though_the_first_sample_misses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers_locate, "_SAMPLE_ROWS", 3)
    names = [f"i{number}" for number in range(20)]
    touch(tmp_path, *(f"images/{name}.{'JPG' if name == 'i4' else 'png'}" for name in names))
    table = read_table(manifest(tmp_path, *names))
    assert table.image(4) == f"{tmp_path}/images/i4.JPG"
    assert len(table) == 20


def test_a_path_that_is_right_below_a_folder_nobody_named(tmp_path: Path) -> None:
    touch(tmp_path, "data/a/1.png", "data/b/1.png", "data/a/x.png/y")
    table = read_table(manifest(tmp_path, "a/1.png", "b/1.png", column="path"))
    assert table.keys().to_pylist() == ["data/a/1.png", "data/b/1.png"]
    assert table.notes[-1] == "Image paths guessed: data/{path} (2 of 2 found)."


def test_nothing_is_guessed_when_half_of_the_rows_are_right_as_they_stand(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "other/2.png")
    table = read_table(manifest(tmp_path, "1.png", "2.png", column="path"), require_labels=False)
    assert table.keys().to_pylist() == ["1.png"]
    assert len(table.set_aside) == 1


def test_absolute_paths_and_dots(tmp_path: Path) -> None:
    touch(tmp_path, "d/1.png", "e/2.png", "d/deep/3.png")
    images = (f"{tmp_path}/e/2.png", "../e/2.png", "./deep//3.png", f"{tmp_path}/d/../d/1.png")
    path = manifest(tmp_path / "d", *images, column="path")
    table = read_table(path, require_labels=False)
    # The first two are one file with two labels: set aside.
    assert table.keys().to_pylist() == ["deep/3.png", "1.png"]
    assert [row.image for row in table.set_aside] == [f"{tmp_path}/e/2.png"] * 2


def test_a_manifest_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.png", "images/5.png", "images/6.png")
    manifest(tmp_path, "a/1.png", "./a/1.png", column="path")
    manifest(tmp_path, "5", "6", name="guess.csv")
    monkeypatch.chdir(tmp_path)
    assert read_table("train.csv", require_labels=False).set_aside[0].image == "a/1.png"
    assert list(read_table("guess.csv").images) == ["images/5.png", "images/6.png"]
    assert list(read_table("./guess.csv").images) == ["images/5.png", "images/6.png"]


def test_an_image_root_and_one_that_is_none(tmp_path: Path) -> None:
    touch(tmp_path, "far/away/1.png", "far/away/2.png")
    path = manifest(tmp_path / "here", "1.png", "2.png", column="path")
    table = read_table(path, image_root=f"{tmp_path}/far/away/")
    assert table.keys().to_pylist() == ["1.png", "2.png"]
    with pytest.raises(InputError) as caught:
        read_table(path, image_root=tmp_path / "near")
    assert str(caught.value) == f"The image root {tmp_path}/near is no folder. See --image-root."


def test_windows_separators(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png")
    table = read_table(manifest(tmp_path, "a\\1.png", "b\\2.png", column="path"))
    assert table.keys().to_pylist() == ["a/1.png", "b/2.png"]
    assert table.notes[-1] == "Backslashes in image paths are read as slashes."


def test_a_folder_of_that_name_is_not_an_image(tmp_path: Path) -> None:
    touch(tmp_path, "4/scan.txt", "66/scan.txt", "images/4.png", "images/66.png")
    assert read_table(manifest(tmp_path, "4", "66")).image(0) == f"{tmp_path}/images/4.png"


def test_none_found(tmp_path: Path) -> None:
    cases = {
        "0.png": f"{tmp_path}/0.png and in the folders below.",
        "7": f"{tmp_path}/7, with or without an image extension, and in the folders below.",
        "/no/0.png": "/no/0.png.",
        "/no/0": "/no/0.",
    }
    for value, end in cases.items():
        with pytest.raises(InputError) as caught:
            read_table(manifest(tmp_path, value, "other.png"))
        assert str(caught.value) == (
            f"train.csv: none of its 2 images was found. Row 2 ('{value}') was looked for at {end} "
            "Say where the images are: --image-root FOLDER."
        )


def test_a_folder_is_listed_once_however_many_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, *(f"{folder}/{i}.png" for folder in "ab" for i in range(50)))
    path = manifest(tmp_path, *(f"{f}/{i}.png" for f in "ab" for i in range(50)), column="path")
    listed: list[str] = []
    scandir = os.scandir

    def count(folder: str) -> object:
        listed.append(str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", count)
    assert len(read_table(path)) == 100
    assert sorted(listed) == [f"{tmp_path}/a/", f"{tmp_path}/b/"]
