"""How an image looks: tones, edges, colour. Numbers by which odd ones are found.

Comes in: grey images. Goes out: two histograms an image, and from them the `LOOK` numbers.
Knows no file, no table and no threshold.

All is measured at 64 x 64 px, or below where images come smaller: at full size the camera's noise
counts as sharpness. What is enlarged has no edges of its own, and a few hundred pixels have few
tones: nothing is said of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
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
    edges, (_, height, width) = _counts(_edges(small)), small.shape
    edges[:, 0] -= height * width - max(height - 2, 0) * max(width - 2, 0)
    return Tones(_counts(small), edges)


def _edges(greys: Pixels) -> Pixels:
    """Eight times a pixel less its neighbours, cut to 0..255; 0 on the border."""
    n, height, width = greys.shape
    column = np.ascontiguousarray(greys).reshape(n * height, width)
    edges: Pixels = cv2.filter2D(column, -1, _EDGES).reshape(n, height, width)
    edges[:, [0, -1]] = 0  # in these rows two images meet
    edges[:, :, [0, -1]] = 0
    return edges


_EDGES = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], dtype=np.float32)


def _counts(values: Pixels) -> Histogram:
    """(B, 256): how often each level occurs in each image."""
    if not values.size:
        return np.zeros((len(values), LEVELS), dtype=np.int64)
    counts = [cv2.calcHist([one], [0], None, [LEVELS], [0, LEVELS]) for one in values]
    return np.array(counts).reshape(len(values), LEVELS).astype(np.int64)


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
    reached = greys.cumsum(axis=1)
    found["bright_end"] = _first(reached, 0.99 * pixels)
    found["dark_end"] = _first(reached, 0.05 * pixels)
    bits = np.log2(pixels) - _times_log(int(pixels.max()))[greys].sum(axis=1) / pixels
    few = pixels < LEAST_PIXELS
    enlarged = sizes.min(axis=1) ** 2 < pixels
    found["bits"] = np.where(few, np.inf, np.maximum(bits, 0))
    reached = edges.cumsum(axis=1)
    strong = _first(reached, 0.99 * reached[:, -1])
    span = np.maximum(1, found["bright_end"].astype(int) - found["dark_end"])
    found["sharpest"] = np.where(few | enlarged, np.inf, strong / span)
    found["grey"] = grey
    return found


def _first(
    reached: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """(B,) the first level at which so many pixels are reached."""
    return np.asarray((reached >= shares[:, None] - 1e-6).argmax(axis=1), dtype=np.int64)


@lru_cache(maxsize=8)
def _times_log(most: int) -> npt.NDArray[np.float64]:
    """n log2(n) of 0 to `most`."""
    counts = np.arange(most + 1, dtype=np.float64)
    return counts * np.log2(np.maximum(counts, 1))
