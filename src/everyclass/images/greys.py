"""Grey images of many colour images at once, and their reduction to smaller squares.

Comes in: a batch. Goes out: another one. A batch is one high image to OpenCV: an audit of small
images spends its time on calls, not on pixels. Knows no file.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

MEAN_GREY = np.array([0.299, 0.587, 0.114])
"""Weights of the channels' means (ITU-R 601-2): the grey of the mean is the mean of the greys."""


def grey_levels(pixels: Pixels) -> Pixels:
    """(B, H, W) uint8 of (B, H, W, 3) uint8: ITU-R 601-2, as MEAN_GREY."""
    n, height, width, _ = pixels.shape
    column = np.ascontiguousarray(pixels).reshape(n * height, width, 3)
    levels: Pixels = cv2.cvtColor(column, cv2.COLOR_RGB2GRAY)
    return levels.reshape(n, height, width)


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
    if height < side or width < side:
        greys = _repeated(_repeated(greys, side, axis=1), side, axis=2)
        n, height, width = greys.shape
    if height % side == 0:  # images one below the other: no pixel lies across two of them
        column = np.ascontiguousarray(greys).reshape(n * height, width)
        return _areas(column, n * side, side).reshape(n, side, side)
    return np.stack([_areas(np.ascontiguousarray(grey), side, side) for grey in greys])


def _areas(grey: Pixels, high: int, wide: int) -> Pixels:
    found: Pixels = cv2.resize(grey, (wide, high), interpolation=cv2.INTER_AREA)
    return found


def _repeated(greys: Pixels, side: int, *, axis: int) -> Pixels:
    """An axis of fewer pixels than `side` brought to it by the nearest ones."""
    n = greys.shape[axis]
    return greys if n >= side else greys.take((2 * np.arange(side) + 1) * n // (2 * side), axis)
