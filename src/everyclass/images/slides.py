"""Whole-slide images, read in parts by OpenSlide: a thumbnail, or square tiles that hold tissue.

Comes in: a slide, or the address of a part. Goes out: where tiles with tissue are; a part's pixels
as PPM, the plainest file of RGB, so that they are decoded like any image. A part is written
`thumbnail,SIDE` or `tile,X,Y,SIDE,DOWNSAMPLE`: X and Y of its upper left corner in pixels of the
full slide, SIDE in pixels of the tile, each of which stands for DOWNSAMPLE of the full slide's.

What is transparent, beyond the scanned area, is white.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from everyclass.errors import InputError
from everyclass.images.addresses import Address
from everyclass.images.contents import Stamp, stamp_of
from everyclass.images.damage import UnreadableImage
from everyclass.images.listing import file_name, is_uri
from everyclass.images.resizing import RGB

THUMBNAIL_SIDE = 1024
"""Longer side of a thumbnail in pixels."""
MASK_SIDE = 2048
"""Longer side at most of the picture that is looked at for tissue."""
TISSUE_CHROMA, TISSUE_WHITE = 15, 235
"""Of 255. Tissue is what is stained: its channels differ by more than the first, and its mean is
below the second. Glass, pen in black and the blank beyond are not."""
MOST_OPEN = 16

_PART = re.compile(r"thumbnail,(\d{1,5})|tile,(\d{1,9}),(\d{1,9}),(\d{1,5}),(\d{1,4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How slides are cut.

    Args:
        side: of a tile in pixels, from 8 to 4,096.
        downsample: pixels of the full slide for one of a tile, along each side; 1 = full size.
        tissue: least share of a tile that is tissue, in [0, 1].
    """

    side: int
    downsample: int = 1
    tissue: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what cuts no slide."""
        if not (8 <= self.side <= 4096 and 1 <= self.downsample <= 1024):
            raise InputError(
                f"Tiles of {self.side:,} px at 1/{self.downsample:,} of the size cannot be cut.",
                remedy="Choose --tile-size from 8 to 4096 and --tile-downsample from 1 to 1024.",
            )


def tiling_of(side: int | None, downsample: int) -> Tiling | None:
    """Tiles of this size, or None where no size is given: thumbnails.

    Raises:
        InputError: out of range.
    """
    return None if side is None else Tiling(side=side, downsample=downsample)


def tile_entries(file: str, tiling: Tiling) -> list[str]:
    """The parts of a slide that hold tissue enough: row by row, from the upper left, without
    overlap. The same file and tiling give the same ones.

    Raises:
        UnreadableImage: no slide, or damaged.
        InputError: OpenSlide is not installed.
    """
    slide = _opened(file)
    width, height = slide.dimensions
    step = tiling.side * tiling.downsample
    columns, rows = width // step, height // step
    if columns == 0 or rows == 0:
        return []
    share = _tissue_shares(slide, columns, rows, step)
    return [
        f"tile,{column * step},{row * step},{tiling.side},{tiling.downsample}"
        for row, column in np.argwhere(share >= tiling.tissue).tolist()
    ]


def _tissue_shares(slide: Any, columns: int, rows: int, step: int) -> npt.NDArray[np.float64]:
    """(rows, columns): how much of each cell of the grid is tissue."""
    width, height = slide.dimensions
    seen = _white(_guarded(slide, lambda: slide.get_thumbnail((MASK_SIDE, MASK_SIDE))))
    values = seen.astype(np.int16)
    chroma = values.max(axis=2) - values.min(axis=2)
    tissue = (chroma > TISSUE_CHROMA) & (values.mean(axis=2) < TISSUE_WHITE)
    total = np.zeros((tissue.shape[0] + 1, tissue.shape[1] + 1))
    total[1:, 1:] = tissue.cumsum(axis=0).cumsum(axis=1)
    across = np.arange(columns + 1) * step * tissue.shape[1] // width
    down = np.arange(rows + 1) * step * tissue.shape[0] // height
    # A cell of less than a pixel is that pixel.
    right, below = np.maximum(across[1:], across[:-1] + 1), np.maximum(down[1:], down[:-1] + 1)
    inside = (
        total[np.ix_(below, right)]
        - total[np.ix_(down[:-1], right)]
        - total[np.ix_(below, across[:-1])]
        + total[np.ix_(down[:-1], across[:-1])]
    )
    return np.asarray(inside / np.outer(below - down[:-1], right - across[:-1]))


def is_slide(file: str) -> bool:
    """Whether OpenSlide can read this file, whatever its name.

    Raises:
        InputError: OpenSlide is not installed.
    """
    return not is_uri(file) and _openslide().OpenSlide.detect_format(file) is not None


def read_part(address: Address) -> bytes:
    """A part as PPM.

    Raises:
        UnreadableImage: no slide, damaged there, or no such part.
        InputError: OpenSlide is not installed.
    """
    part = _PART.fullmatch(address.entry)
    if part is None:
        raise UnreadableImage(f"{address.entry} is no part of a slide")
    slide = _opened(address.file)
    if part[1]:
        side = max(1, int(part[1]))
        rgb = _white(_guarded(slide, lambda: slide.get_thumbnail((side, side))))
    else:
        x, y, side, downsample = (int(number) for number in part.groups()[1:])
        rgb = _tile(slide, x, y, max(1, side), max(1, downsample))
    return b"P6\n%d %d\n255\n" % (rgb.shape[1], rgb.shape[0]) + rgb.tobytes()


def _tile(slide: Any, x: int, y: int, side: int, downsample: int) -> RGB:
    level = slide.get_best_level_for_downsample(downsample)
    scale = downsample / slide.level_downsamples[level]
    asked = max(1, round(side * scale))
    image = _guarded(slide, lambda: slide.read_region((x, y), level, (asked, asked)))
    rgb = _white(image)
    if asked == side:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((side, side), Image.Resampling.BOX))


def _white(image: Image.Image) -> RGB:
    if image.mode != "RGBA":
        return np.asarray(image.convert("RGB"))
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


def _guarded(slide: Any, read: Any) -> Image.Image:
    """A part of a slide; once it fails, OpenSlide answers nothing more from that object."""
    try:
        found: Image.Image = read()
    except (_openslide().OpenSlideError, OSError, ValueError, MemoryError) as error:
        with _turn:
            for file, (_, opened) in list(_open.items()):
                if opened is slide:
                    del _open[file]
        raise UnreadableImage(f"damaged slide: {' '.join(str(error).split())}") from error
    return found


def _openslide() -> Any:
    try:
        import openslide
    except (ImportError, OSError) as error:
        raise InputError(
            "Whole-slide images need OpenSlide.", remedy="pip install 'everyclass[slides]'."
        ) from error
    return openslide


_open: OrderedDict[str, tuple[Stamp, Any]] = OrderedDict()
_turn = threading.Lock()


def _opened(file: str) -> Any:
    """The slide, kept open; OpenSlide's objects may be read by several threads at once."""
    if is_uri(file):
        raise UnreadableImage("a slide behind a URI, of which no parts can be read: copy it here")
    openslide, stamp = _openslide(), stamp_of(file)
    with _turn:
        known = _open.get(file)
        if known is None or known[0] != stamp:
            try:
                known = _open[file] = (stamp, openslide.OpenSlide(file))
            except (openslide.OpenSlideError, OSError) as error:
                if stamp.size < 0:
                    raise FileNotFoundError(file) from error
                raise UnreadableImage(
                    f"{file_name(file)} is no slide that OpenSlide reads"
                ) from error
        _open.move_to_end(file)
        while len(_open) > MOST_OPEN:
            _open.popitem(last=False)
        return known[1]
