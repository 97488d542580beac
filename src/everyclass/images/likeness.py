"""A perceptual hash: 64 bits that hardly change when an image is resized or compressed again.

Comes in: RGB pixels of any size. Goes out: a code; alike images have codes that differ in few bits
(`everyclass.stats.hamming`). Knows no file and no table.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from everyclass.images.pixels import RGB

SIDE = 32
LOW = 8
"""Frequencies a side, the mean brightness among them."""


def _cosines() -> npt.NDArray[np.float32]:
    """(LOW, SIDE): the first rows of a discrete cosine transform (DCT-II)."""
    frequency, place = np.arange(LOW)[:, None], np.arange(SIDE)[None]
    return np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE)).astype(np.float32)


_COSINES = _cosines()


def grey_square(rgb: RGB) -> npt.NDArray[np.uint8]:
    """(32, 32) uint8 brightness of an (H, W, 3) image, stretched to a square."""
    grey = Image.fromarray(rgb).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def likeness_codes(greys: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Which of the lowest 8 x 8 frequencies are above their median.

    Args:
        greys: (B, 32, 32) uint8.
    Returns:
        (B,) uint64.

    Source: pHash, Zauner 2010 (section 3.2.1), in the variant of the `imagehash` package, which
    keeps the mean brightness among the 64 numbers.
    """
    low = _COSINES @ greys.astype(np.float32) @ _COSINES.T
    flat = low.reshape(len(low), LOW * LOW)
    above = flat > np.median(flat, axis=1, keepdims=True)
    return np.packbits(above, axis=1).view(">u8")[:, 0].astype(np.uint64)
