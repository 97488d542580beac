"""Whole-slide images: a small pyramid that tifffile writes, its thumbnail, its tiles of tissue."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from everyclass.errors import InputError
from everyclass.images.audit import audit_images
from everyclass.images.contents import read_bytes
from everyclass.images.damage import UnreadableImage
from everyclass.images.pixels import decode
from everyclass.images.readers import read_images, read_table
from everyclass.images.slides import Tiling

pytest.importorskip("openslide")
tifffile = pytest.importorskip("tifffile")


def scene(seed: int) -> npt.NDArray[np.uint8]:
    """512 x 768: white glass; stained tissue fills columns 128 to 383 of the rows from 0 to 255."""
    rng = np.random.default_rng(seed)
    pixels = np.full((512, 768, 3), 245, dtype=np.uint8)
    stain = np.array([180, 90 + 20 * seed, 160])
    pixels[0:256, 128:384] = stain + rng.integers(-8, 9, size=(256, 256, 3))
    return pixels


def write_slide(path: Path, pixels: npt.NDArray[np.uint8]) -> Path:
    """A tiled pyramid of three levels, which OpenSlide reads as `generic-tiff`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "compression": None}
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, subfiletype=0, **options)
        for step in (2, 4):
            file.write(pixels[::step, ::step], subfiletype=1, **options)
    return path


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    for k in range(4):
        write_slide(tmp_path / f"set/{('benign', 'malign')[k % 2]}/{k}.tif", scene(k))
    return tmp_path / "set"


def test_tiles_where_tissue_is_grouped_by_slide(slides: Path) -> None:
    table = read_table(slides, tiling=Tiling(side=64))
    # 4 x 4 tiles of 64 px lie in the tissue of each slide.
    assert len(table) == 4 * 16
    assert table.image(0) == f"slide://{slides}/benign/0.tif#tile,128,0,64,1"
    assert table.keys()[0].as_py() == "benign/0.tif#tile,128,0,64,1"
    assert table.groups().tolist()[::16] == [
        "benign/0.tif",
        "benign/2.tif",
        "malign/1.tif",
        "malign/3.tif",
    ]
    assert table.labels().tolist() == [0] * 32 + [1] * 32
    assert (
        table.notes[0]
        == "64 tiles of 64 px, at 1/1 of the size, from 4 slides; each slide is a group."
    )
    first = decode(read_bytes(table.image(5)))
    assert (first.format, first.mode, first.width, first.height) == ("PPM", "RGB", 64, 64)
    assert (first.rgb == scene(0)[64:128, 192:256]).all()
    assert list(read_table(slides, tiling=Tiling(side=64)).images) == list(table.images)
    audit = audit_images(table, side=32, threads=3)
    assert audit.n == 64
    assert not audit.unreadable


def test_tiles_at_a_fraction_of_the_size(slides: Path) -> None:
    table = read_table(slides, tiling=Tiling(side=64, downsample=2))
    assert [image.partition("#")[2] for image in table.images][:4] == [
        "tile,128,0,64,2",
        "tile,256,0,64,2",
        "tile,128,128,64,2",
        "tile,256,128,64,2",
    ]
    # The level of half the size is read, and nothing is resized.
    assert (decode(read_bytes(table.image(0))).rgb == scene(0)[::2, ::2][0:64, 64:128]).all()
    third = decode(read_bytes(f"slide://{slides}/benign/0.tif#tile,128,0,60,3")).rgb
    assert third.shape == (60, 60, 3)


def test_half_a_tile_of_tissue_is_enough(slides: Path) -> None:
    tiling = {"side": 96, "downsample": 1}
    half = read_table(slides, tiling=Tiling(**tiling))
    whole = read_table(slides, tiling=Tiling(**tiling, tissue=0.99))
    some = read_table(slides, tiling=Tiling(**tiling, tissue=0.05))
    assert len(whole) < len(half) < len(some)


def test_slides_by_name_are_thumbnails(tmp_path: Path) -> None:
    for k in range(4):
        write_slide(tmp_path / f"{'ab'[k % 2]}/{k}.svs", scene(k))
    table = read_table(tmp_path)
    assert table.image(0) == f"slide://{tmp_path}/a/0.svs#thumbnail,1024"
    image = decode(read_bytes(table.image(0)))
    assert (image.width, image.height) == (768, 512)  # never enlarged
    assert table.groups().tolist() == [None] * 4
    assert len(read_images([str(tmp_path)], tiling=Tiling(side=128))) == 4 * 4


def test_what_cannot_be_cut_is_set_aside(slides: Path) -> None:
    blank = write_slide(slides / "benign/4.tif", np.full((512, 768, 3), 245, dtype=np.uint8))
    (slides / "benign/5.svs").write_bytes(b"nothing of the kind")
    table = read_table(slides, tiling=Tiling(side=64))
    assert [(row.image, row.reason) for row in table.set_aside] == [
        (str(blank), "no tile of it is at least 50% tissue"),
        (f"{slides}/benign/5.svs", "5.svs is no slide that OpenSlide reads"),
    ]
    for k in (1, 3):
        write_slide(slides / f"malign/{k}.tif", np.full((512, 768, 3), 245, dtype=np.uint8))
    with pytest.raises(InputError, match="Class 'malign' has 2 rows"):
        read_table(slides, tiling=Tiling(side=64))


def test_parts_that_are_not_there(slides: Path) -> None:
    for address, expected in (
        (f"slide://{slides}/benign/0.tif#corner", "corner is no part of a slide"),
        (f"slide://{slides}/gone.svs#thumbnail,64", "no such file"),
        ("slide://s3://bucket/a.svs#thumbnail,64", "a slide behind a URI"),
    ):
        with pytest.raises(UnreadableImage, match=expected):
            read_bytes(address)


def test_threads_read_one_slide(slides: Path) -> None:
    table = read_table(slides, tiling=Tiling(side=32))
    images = list(table.images)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read_bytes, images))
    assert found == [read_bytes(image) for image in images]


@pytest.mark.parametrize("side", [0, 7, 5_000])
def test_sizes_that_cut_nothing(side: int) -> None:
    with pytest.raises(InputError, match="cannot be cut"):
        Tiling(side=side)


def test_slides_without_openslide(slides: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(InputError, match=r"pip install 'everyclass\[slides\]'"):
        read_table(slides, tiling=Tiling(side=64))
