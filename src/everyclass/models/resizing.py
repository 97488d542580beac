"""The steps of `everyclass.images.resizing` on tensors: a classifier resizes as its training did.

Comes in: values 0 to 255. Goes out: whole values. A test holds the two within one level of each
other: OpenCV's fixed point rounds a tenth of the values otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from everyclass.images.resizing import UNIT, smoothing_weight


def resized(values: Tensor, side: int) -> Tensor:
    """Stretch to squares.

    Args:
        values: (B, C, H, W) float32 of whole values in [0, 255]; not touched when H = W = side.
        side: pixels.
    Returns:
        (B, C, side, side) float32.
    """
    high, wide = values.shape[-2:]
    if high == wide == side:
        return values
    if max(high, wide) > 2 * side:
        down, across = (_areas(n, min(n, 2 * side), values) for n in (high, wide))
        values = _whole(down @ values @ across.T)
    if max(high, wide) > side:
        values = functional.pad(values, (1, 1, 1, 1), mode="replicate")
        values = _smoothed(values, smoothing_weight(high, side), dim=-2)
        values = _whole(_smoothed(values, smoothing_weight(wide, side), dim=-1))
    if values.shape[-2:] != (side, side):
        values = functional.interpolate(
            values, size=(side, side), mode="bilinear", align_corners=False
        )
    return _whole(values)


def _areas(n: int, m: int, like: Tensor) -> Tensor:
    """(m, n): the share of each of n pixels in the mean of each of m that cover them."""
    ends = torch.arange(m + 1, device=like.device, dtype=torch.float64) * n / m
    places = torch.arange(n, device=like.device, dtype=torch.float64)
    inside = torch.minimum(ends[1:, None], places + 1) - torch.maximum(ends[:-1, None], places)
    return (inside.clamp(min=0) * m / n).to(like.dtype)


def _smoothed(values: Tensor, weight: int, *, dim: int) -> Tensor:
    """[weight, 256 - 2 weight, weight] / 256 along an axis, of which two pixels are used up."""
    n = values.shape[dim] - 2
    before, own, after = (values.narrow(dim, start, n) for start in range(3))
    return own + (before + after - 2 * own) * (weight / UNIT)


def _whole(values: Tensor) -> Tensor:
    return (values + 0.5).floor()
