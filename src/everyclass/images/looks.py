"""How an image looks: tones, edges, colour. Numbers by which odd ones are found.

Comes in: grey images. Goes out: two histograms an image, and from them the `LOOK` numbers.
Knows no file, no table and no threshold.

All is measured at 64 x 64 px, or below where images come smaller: at full size the camera's noise
counts as sharpness. What is enlarged has no edges of its own, and a few hundred pixels have few
tones: nothing is said of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from everyclass.images.greys import Pixels, box_reduced

SIDE = 64
LEVELS = 256
LEAST_PIXELS = 32 * 32

LOOK = np.dtype(
    [
        ("width", "<u4"),
        ("height", "<u4"),
        ("bright_end", "u1"),
        ("dark_end", "u1"),
        ("bits", "<f2"),
        ("sharpest", "<f2"),
        ("grey", "?"),
    ]
)
"""Of an image: its size as stored; the grey level that 99 % of the pixels do not exceed, and the
one that 5 % do not, 0 to 255; entropy of the grey levels, bits; its sharpest edges (the response
that 1 % of the pixels exceed) over the range of its tones; whether the three channels are one. Bits
and sharpest are infinite where nothing can be said.

The response is eight times a pixel less its neighbours: about 3 times the step of a sharp edge, and
0.7 / s^2 times that of one blurred by s pixels."""

Histogram = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Tones:
    """What is counted of some images.

    Args:
        greys: (B, 256) pixels of each grey level.
        edges: (B, 256) pixels of each level after the edge filter; none on the border.
    """

    greys: Histogram
    edges: Histogram


def tones_of(greys: Pixels) -> Tones:
    """Counts of (B, H, W) uint8 grey images."""
    small = greys
    if max(greys.shape[1:]) > SIDE:
        small = box_reduced(greys, side=SIDE)
    return Tones(_counts(small), _counts(_edges(small)))


def _edges(greys: Pixels) -> npt.NDArray[np.int16]:
    """Eight times a pixel less its neighbours, cut to 0..255; (B, H - 2, W - 2)."""
    levels = greys.astype(np.int16)
    # Sums of three by three as three by one and one by three: half the additions.
    rows = levels[:, :-2] + levels[:, 1:-1]
    rows += levels[:, 2:]
    sums = rows[:, :, :-2] + rows[:, :, 1:-1]
    sums += rows[:, :, 2:]
    edges = levels[:, 1:-1, 1:-1] * np.int16(9)
    edges -= sums
    return np.clip(edges, 0, 255, out=edges)


def _counts(values: npt.NDArray[np.integer[Any]]) -> Histogram:
    """(B, 256): how often each level occurs in each image."""
    n = len(values)
    places = values.reshape(n, -1) + LEVELS * np.arange(n)[:, None]
    counts: Histogram = np.bincount(places.reshape(-1), minlength=n * LEVELS)
    return counts.reshape(n, LEVELS)


def looks_of(
    tones: Tones, *, grey: npt.NDArray[np.bool_], sizes: npt.NDArray[np.int64]
) -> npt.NDArray[np.void]:
    """The `LOOK` of some images.

    Args:
        tones: of B images.
        grey: (B,) whether the three channels are one.
        sizes: (B, 2) width and height as stored.
    Returns:
        (B,) of `LOOK`.
    """
    greys, edges = tones.greys, tones.edges
    found = np.zeros(len(greys), dtype=LOOK)
    found["width"], found["height"] = sizes[:, 0], sizes[:, 1]
    pixels = greys.sum(axis=1)
    shares = greys / pixels[:, None]
    reached = shares.cumsum(axis=1)
    found["bright_end"] = (reached < 0.99 - 1e-9).sum(axis=1)
    found["dark_end"] = (reached < 0.05 - 1e-9).sum(axis=1)
    bits = -(shares * np.log2(np.maximum(shares, 1e-12))).sum(axis=1)
    few = pixels < LEAST_PIXELS
    enlarged = sizes.min(axis=1) ** 2 < pixels
    found["bits"] = np.where(few, np.inf, bits)
    strong = (edges.cumsum(axis=1) < 0.99 * edges.sum(axis=1, keepdims=True)).sum(axis=1)
    span = np.maximum(1, found["bright_end"].astype(int) - found["dark_end"])
    found["sharpest"] = np.where(few | enlarged, np.inf, strong / span)
    found["grey"] = grey
    return found
