"""How an image looks: tones, edges, colour. Numbers by which odd ones are found.

Comes in: grey images of any size. Goes out: two histograms an image, and from many of them the
`LOOK` numbers. Knows no file, no table and no threshold.

All is measured at 64 x 64 px, or below where images come smaller: at full size the camera's noise
counts as sharpness. What is enlarged has no edges of its own, and a few hundred pixels have few
tones: nothing is said of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

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
    """What is counted of one image.

    Args:
        greys: (256,) pixels of each grey level.
        edges: (256,) pixels of each level after the edge filter.
    """

    greys: Histogram
    edges: Histogram


def tones_of(grey: Image.Image) -> Tones:
    """Counts of a grey image (mode L) of any size."""
    small = grey
    if max(grey.size) > SIDE:
        small = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
    width, height = small.size
    # The filter leaves the border as it is.
    edges = small.filter(ImageFilter.FIND_EDGES).crop((1, 1, width - 1, height - 1))
    return Tones(np.array(small.histogram()), np.array(edges.histogram()))


def looks_of(
    greys: Histogram, edges: Histogram, channels: Histogram, sizes: npt.NDArray[np.int64]
) -> npt.NDArray[np.void]:
    """The `LOOK` of some images.

    Args:
        greys, edges: (B, 256) of `tones_of`.
        channels: (B, 3, 256) pixel values of each channel.
        sizes: (B, 2) width and height.
    Returns:
        (B,) of `LOOK`.
    """
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
    tones = np.maximum(1, found["bright_end"].astype(int) - found["dark_end"])
    found["sharpest"] = np.where(few | enlarged, np.inf, strong / tones)
    found["grey"] = (channels == channels[:, :1]).all(axis=(1, 2))
    return found
