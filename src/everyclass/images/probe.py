"""A first look at a few images: their size, from the header alone.

The audit measures at the training size, so the size must be chosen before it. Comes in: a table.
Goes out: the shorter sides of a sample. Decodes no pixels.
"""

from __future__ import annotations

import io
import random
import warnings

from PIL import Image, UnidentifiedImageError

from everyclass.images.pixels import UnreadableImage, read_bytes
from everyclass.images.table import ImageTable
from everyclass.seeding import stream_seed

SAMPLED = 200


def short_sides(table: ImageTable, *, seed: int) -> tuple[int, ...]:
    """Shorter side in pixels of up to 200 images, drawn with the seed.

    Files that cannot be read or hold no image are passed over: the audit names them.
    """
    rows = random.Random(stream_seed(seed, "probe")).sample(
        range(len(table)), min(SAMPLED, len(table))
    )
    found = (_short_side(table.image(row)) for row in rows)
    return tuple(side for side in found if side is not None)


def _short_side(path: str) -> int | None:
    try:
        content = read_bytes(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as header:
                return min(header.size)
    except (UnreadableImage, UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return None
