"""A first look at a few images: their size, from the header alone.

The audit measures at the training size, so the size must be chosen before it. Comes in: a table.
Goes out: the shorter sides of a sample, and the side that fits them. Decodes no pixels.
"""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Sequence

from PIL import Image, UnidentifiedImageError

from everyclass.images.contents import read_bytes
from everyclass.images.damage import UnreadableImage
from everyclass.images.signatures import image_format
from everyclass.images.table import ImageTable
from everyclass.seeding import stream_seed

SAMPLED = 200

SIDES = (32, 48, 64, 96, 128, 160, 192, 224)
LARGEST_SIDE_WITHOUT_ACCELERATOR = 64


def short_sides(table: ImageTable, *, seed: int) -> tuple[int, ...]:
    """Shorter side in pixels of up to 200 images, drawn with the seed.

    Files that cannot be read or hold no image are passed over: the audit names them.
    """
    rows = random.Random(stream_seed(seed, "probe")).sample(
        range(len(table)), min(SAMPLED, len(table))
    )
    # In order: entries of one file lie beside each other.
    found = (_short_side(table.image(row)) for row in sorted(rows))
    return tuple(side for side in found if side is not None)


def side_for(short_sides: Sequence[int], *, cap: int) -> int:
    """The side of the square training images: the largest of `SIDES` that enlarges less than half
    of them.

    Args:
        short_sides: in pixels, at least one.
        cap: the largest one that may be chosen.
    """
    median = sorted(short_sides)[len(short_sides) // 2]
    fitting = [side for side in SIDES if side <= min(median, cap)]
    return fitting[-1] if fitting else SIDES[0]


def _short_side(path: str) -> int | None:
    try:
        content = read_bytes(path)
        if image_format(content) == "DICOM":
            from everyclass.images.dicom import open_dicom

            image = open_dicom(content)
            return min(image.width, image.height)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as header:
                return min(header.size)
    except (UnreadableImage, UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return None
