"""Grey images of many colour images at once, and their reduction to smaller squares.

Comes in: a batch. Goes out: the values that Pillow gives for each image (`convert("L")`, `resize`
with its box filter), bit for bit (tested), at a tenth of the cost: an audit of small images spends
its time on calls, not on pixels. Knows no file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

# ITU-R 601-2 in 16 bits, as Pillow has it. A sum of three products stays below 2**24: float32 is
# exact, and multiplying matrices is the fastest thing numpy does.
_LUMA = np.array([19595, 38470, 7471], dtype=np.float32) / np.float32(1 << 16)

MEAN_GREY = np.array([0.299, 0.587, 0.114])
"""Weights of the channels' means (ITU-R 601-2): the grey of the mean is the mean of the greys."""

_BITS = 22  # of the fraction in Pillow's fixed-point coefficients for 8-bit images


def grey_levels(pixels: Pixels) -> Pixels:
    """(B, H, W) uint8 of (B, H, W, 3) uint8."""
    levels = pixels.reshape(-1, 3).astype(np.float32) @ _LUMA
    levels += np.float32(0.5)
    return levels.astype(np.uint8).reshape(pixels.shape[:-1])


def mean_greys(sums: npt.NDArray[np.number[Any]], *, pixels: int) -> npt.NDArray[np.float64]:
    """Brightness of images: (B,) in [0, 1], 0 black and 1 white.

    Args:
        sums: (B, 3), of each channel's values.
        pixels: of an image.
    """
    greys: npt.NDArray[np.float64] = sums @ MEAN_GREY / (255.0 * max(pixels, 1))
    return greys


def mean_greys_of(images: Pixels) -> npt.NDArray[np.float64]:
    """Brightness of (B, H, W, 3) uint8 images, as `mean_greys`."""
    pixels = images.shape[1] * images.shape[2]
    values = images.reshape(len(images), pixels, 3).astype(np.float32)
    # By a product: a sum over this axis takes ten times as long. Exact up to 256 x 256 px.
    return mean_greys(np.ones(pixels, dtype=np.float32) @ values, pixels=pixels)


def box_reduced(greys: Pixels, *, side: int) -> Pixels:
    """Stretched to squares, each pixel the mean of those it covers.

    Args:
        greys: (B, H, W) uint8.
        side: in pixels.
    Returns:
        (B, side, side) uint8; the same array when it already has this size.
    """
    n, height, width = greys.shape
    if (height, width) == (side, side):
        return greys
    if height % side or width % side:
        return np.stack([_by_pillow(grey, side) for grey in greys])
    across = _means(greys.reshape(n, height, side, width // side), axis=3)
    return _means(across.reshape(n, side, height // side, side), axis=2)


def _means(values: Pixels, *, axis: int) -> Pixels:
    """Along an axis, rounded as Pillow rounds."""
    size = values.shape[axis]
    if size == 1:
        return values.squeeze(axis)
    # Slice by slice: numpy adds up short axes far more slowly than whole arrays.
    parts = np.moveaxis(values, axis, 0)
    total = parts[0].astype(np.int32)
    for part in parts[1:]:
        total += part
    factor = int(0.5 + (1 << _BITS) / size)
    total *= factor
    total += 1 << (_BITS - 1)
    total >>= _BITS
    rounded: Pixels = total.astype(np.uint8)
    return rounded


def _by_pillow(grey: Pixels, side: int) -> Pixels:
    return np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BOX))
