"""Images that look odd: each way on a picture made for it, and none on plain ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from everyclass.images.audit import audit_images
from everyclass.images.audit_values import Audit, Oddity
from everyclass.images.greys import box_reduced
from everyclass.images.looks import SIDE, looks_of, tones_of
from everyclass.images.table import ImageTable

Picture = Callable[[], Image.Image]


def scene(seed: int, *, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Coloured patches with sharp edges and some noise."""
    random = np.random.default_rng(seed)
    patches = random.integers(20, 235, (12, 16, 3)).astype(np.uint8)
    image = Image.fromarray(patches).resize(size, Image.Resampling.NEAREST)
    noise = random.normal(0, 6, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def nearly_empty() -> Image.Image:
    image = Image.new("RGB", (160, 120), (90, 140, 40))
    image.paste((200, 60, 20), (30, 30, 70, 60))
    return image


ODD: dict[Oddity, Picture] = {
    "dark": lambda: scene(1).point(lambda v: v * 0.3),
    "light": lambda: Image.fromarray(
        np.clip(246 + np.asarray(scene(2)) * 0.04, 0, 255).astype(np.uint8)
    ),
    "low-information": nearly_empty,
    "blurred": lambda: scene(4).filter(ImageFilter.GaussianBlur(12)),
    "grey-among-coloured": lambda: scene(5).convert("L").convert("RGB"),
    "odd-size": lambda: scene(6, size=(1600, 1200)),
    "stretched": lambda: scene(7, size=(300, 100)),
}


def audited(folder: Path, pictures: list[Image.Image], labels: list[int]) -> Audit:
    paths = []
    for i, picture in enumerate(pictures):
        paths.append(str(folder / f"{i:03d}.png"))
        picture.save(paths[-1])
    table = ImageTable.from_lists(paths, labels, classes=("ash", "birch"), source="set")
    return audit_images(table, side=SIDE, threads=2)


@pytest.mark.parametrize("oddity", ODD)
def test_an_odd_image_among_plain_ones_is_found_and_warned_of(
    oddity: Oddity, tmp_path: Path
) -> None:
    plain = [scene(100 + i) for i in range(40)]
    audit = audited(tmp_path, [*plain, ODD[oddity]()], [0, 1] * 20 + [0])
    found = {odd.oddity: [Path(one.image).name for one in odd.images] for odd in audit.odd_images}
    assert found[oddity] == ["040.png"]
    warning = next(one for one in audit.warnings if one.id == oddity)
    assert warning.harm == "notable"
    assert warning.sentence.startswith("1 image (2.4%) is ")
    assert "040.png" in warning.sentence


def test_plain_images_are_not_odd(tmp_path: Path) -> None:
    assert audited(tmp_path, [scene(i) for i in range(40)], [0, 1] * 20).odd_images == ()


def test_a_class_that_holds_most_of_them_is_named(tmp_path: Path) -> None:
    pictures = [scene(i) for i in range(40)]
    for i in range(0, 24, 2):
        pictures[i] = pictures[i].point(lambda v: v * 0.3)
    audit = audited(tmp_path, pictures, [0, 1] * 20)
    warning = next(one for one in audit.warnings if one.id == "dark")
    assert warning.harm == "harmful"
    assert (
        "12 of them are of class 'ash': 60% of its images, 0.0% of the others." in warning.sentence
    )


def test_grey_images_that_are_the_rule_are_not_odd(tmp_path: Path) -> None:
    pictures = [scene(i).convert("L") for i in range(40)]
    assert audited(tmp_path, pictures, [0, 1] * 20).odd_images == ()


def test_of_enlarged_and_of_tiny_images_no_blur_and_no_lack_of_tones_is_said(
    tmp_path: Path,
) -> None:
    pictures = [scene(i, size=(16, 16)).filter(ImageFilter.GaussianBlur(2)) for i in range(20)]
    assert audited(tmp_path, pictures, [0, 1] * 10).odd_images == ()


def test_looks_by_hand() -> None:
    half = Image.new("L", (SIDE, SIDE), 0)
    half.paste(200, (0, 0, SIDE // 2, SIDE))
    tones = tones_of(np.asarray(half)[None])
    (look,) = looks_of(tones, grey=np.array([True]), sizes=np.array([[64, 64]]))
    assert (look["dark_end"], look["bright_end"]) == (0, 200)
    assert look["bits"] == 1.0
    assert look["grey"]
    # One column of edges on the bright side: 3 * 200, cut at 255.
    assert int(tones.edges[0, 255]) == SIDE - 2
    assert look["sharpest"] == np.float16(255 / 200)


@pytest.mark.parametrize("side", [16, 64, 96, 128])
def test_oracle_tones_are_those_of_pillow_s_filters(side: int) -> None:
    pictures = [scene(seed, size=(side, side)).convert("L") for seed in range(5)]
    tones = tones_of(np.stack([np.asarray(one) for one in pictures]))
    for i, picture in enumerate(pictures):
        small = picture
        if side > SIDE:
            small = Image.fromarray(box_reduced(np.asarray(picture)[None], side=SIDE)[0])
        inner = (1, 1, small.width - 1, small.height - 1)
        assert tones.greys[i].tolist() == small.histogram()
        edges = small.filter(ImageFilter.FIND_EDGES).crop(inner)
        assert tones.edges[i].tolist() == edges.histogram()
