"""Small pictures: of the right proportions, in order, within the limits, or with a reason."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everyclass.report.thumbnails import SIDE, Thumbnails, thumbnail


def picture(uri: str) -> Image.Image:
    head, content = uri.split(",", 1)
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    for k in range(6):
        pixels = rng.integers(0, 255, size=(40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return [str(folder / f"{k}.png") for k in range(6)]


def test_a_thumbnail_keeps_proportions_and_colours(tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 100), (200, 30, 30))
    image.save(tmp_path / "wide.png")
    found = thumbnail(str(tmp_path / "wide.png"))
    assert (found.width, found.height) == (SIDE, SIDE // 4)
    shown = picture(found.uri)
    assert shown.size == (SIDE, SIDE // 4)
    assert np.abs(np.asarray(shown, dtype=int)[5, 5] - (200, 30, 30)).max() <= 4


def test_modes_that_jpeg_does_not_know_are_shown(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.fromarray(np.full((20, 20), 65535, dtype=np.uint16)).save(tmp_path / "deep.png")
    for name in ("clear.png", "deep.png"):  # both white, by the rules of images.pixels
        assert np.asarray(picture(thumbnail(str(tmp_path / name)).uri)).min() >= 250


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "no such file"), (b"not an image", "not an image")]
)
def test_what_cannot_be_shown_says_why(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "odd.png"
    if content is not None:
        path.write_bytes(content)
    found = thumbnail(str(path))
    assert found.uri == ""
    assert reason in found.reason or found.reason


def test_bytes_are_counted_each_time_a_picture_is_used(noise: list[str]) -> None:
    all_ = Thumbnails()
    first = all_.take(noise)
    spent = all_.spent_bytes
    assert spent == sum(len(one.uri) for one in first if one is not None)
    assert all_.take(noise) == first
    assert all_.spent_bytes == 2 * spent
    assert (all_.shown, all_.asked) == (12, 12)


def test_the_first_ones_are_kept_and_nothing_jumps_ahead(noise: list[str]) -> None:
    sizes = [len(thumbnail(path).uri) for path in noise]
    limited = Thumbnails(most_bytes=sum(sizes[:3]))
    found = limited.take(noise)
    assert [one is not None for one in found] == [True] * 3 + [False] * 3
    assert limited.spent_bytes <= limited.most_bytes
    assert (limited.shown, limited.asked) == (3, 6)


def test_a_share_leaves_the_rest_to_others(noise: list[str]) -> None:
    limited = Thumbnails(most_images=6)
    assert sum(one is not None for one in limited.take(noise, share=0.5)) == 3
    assert sum(one is not None for one in limited.take(noise)) == 3
    assert limited.take(noise) == [None] * 6


def test_missing_ones_take_no_room_and_are_listed_once(noise: list[str]) -> None:
    some = Thumbnails()
    some.take(["gone.png", noise[0], "gone.png"])
    assert some.shown == 1
    assert some.missing == (("gone.png", "no such file"),)
