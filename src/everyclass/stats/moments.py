"""Channel mean and standard deviation of many images, exact and in pieces.

Comes in: uint8 pixels, image by image. Goes out: integer sums that add up in any order, and the
mean and deviation *pooled over pixels*: every pixel of every image counts once, so images of one
size count alike. (The mean of the images' own deviations, which many tutorials compute, leaves
out how much images differ from one another, and is always smaller.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
import numpy.typing as npt

Triple = tuple[int, int, int]

_VALUES = np.arange(256, dtype=np.int64)
_SQUARES = _VALUES**2
_POWERS = np.stack([_VALUES, _SQUARES], axis=1).astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelMoments:
    """Sums over the pixels of one or many RGB images.

    Python integers, which do not overflow and do not round: two sets of images merged in any order
    and by any number of workers give equal values, not close ones.

    Args:
        n_pixels: pixels of one channel.
        sums: of the values 0..255, by channel.
        squares: of the squared values, by channel.
    """

    n_pixels: int
    sums: Triple
    squares: Triple

    @classmethod
    def of(cls, histogram: npt.NDArray[np.int64]) -> ChannelMoments:
        """Moments of pixels counted by value.

        Args:
            histogram: (3, 256), as `channel_histogram` gives it.
        """
        red, green, blue = (int(total) for total in histogram @ _VALUES)
        red2, green2, blue2 = (int(total) for total in histogram @ _SQUARES)
        return cls(
            n_pixels=int(histogram[0].sum()),
            sums=(red, green, blue),
            squares=(red2, green2, blue2),
        )

    def __add__(self, other: ChannelMoments) -> ChannelMoments:
        """The moments of both sets of pixels together."""
        return ChannelMoments(
            n_pixels=self.n_pixels + other.n_pixels,
            sums=_add(self.sums, other.sums),
            squares=_add(self.squares, other.squares),
        )

    @property
    def mean(self) -> tuple[float, float, float]:
        """By channel, in [0, 1] (the values divided by 255).

        Raises:
            ValueError: no pixels.
        """
        self._check()
        red, green, blue = (total / (255 * self.n_pixels) for total in self.sums)
        return red, green, blue

    @property
    def std(self) -> tuple[float, float, float]:
        """By channel, in the units of `mean`: the root of the mean squared distance from it.

        sqrt(n * sum(x**2) - sum(x)**2) / (255 n), with the difference formed in integers, where
        nothing cancels.

        Raises:
            ValueError: no pixels.
        """
        self._check()
        red, green, blue = (
            _integer_root_ratio(self.n_pixels * square - total**2, 255 * self.n_pixels)
            for total, square in zip(self.sums, self.squares)
        )
        return red, green, blue

    def _check(self) -> None:
        if self.n_pixels == 0:
            raise ValueError("moments of no pixels")


NO_PIXELS = ChannelMoments(n_pixels=0, sums=(0, 0, 0), squares=(0, 0, 0))


def channel_histogram(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How often each value occurs in each channel.

    Args:
        images: (..., 3) uint8, an image or a batch.
    Returns:
        (3, 256) int64.
    """
    # Counting costs a quarter of summing squares in a wider type, and yields the extremes too.
    # One addition and one count for the three channels: each numpy operation on an image is a
    # change of turns between threads.
    values = np.add(images.reshape(-1), _channel_offsets(images.size // 3))
    return np.bincount(values, minlength=3 * 256).reshape(3, 256).astype(np.int64, copy=False)


@lru_cache(maxsize=4)
def _channel_offsets(n_pixels: int) -> npt.NDArray[np.intp]:
    return np.tile(np.array([0, 256, 512], dtype=np.intp), n_pixels)


def channel_sums(
    histograms: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sums of the values and of their squares, (..., 3) int64 each.

    Args:
        histograms: (..., 3, 256).
    """
    return histograms @ _VALUES, histograms @ _SQUARES


def largest_deviation(histograms: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The standard deviation of the channel that varies most, in 0..255, for each image.

    In float64; `ChannelMoments` is exact, and slower.

    Args:
        histograms: (..., 3, 256), each of at least one pixel.
    Returns:
        (...) float64.
    """
    sums = histograms @ _POWERS
    mean, square = np.moveaxis(sums / histograms.sum(axis=-1, keepdims=True), -1, 0)
    deviation: npt.NDArray[np.float64] = np.sqrt(np.maximum(square - mean**2, 0)).max(axis=-1)
    return deviation


def pooled(parts: tuple[ChannelMoments, ...]) -> ChannelMoments:
    """All parts together; NO_PIXELS of none."""
    return reduce(ChannelMoments.__add__, parts, NO_PIXELS)


def _add(a: Triple, b: Triple) -> Triple:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _integer_root_ratio(radicand: int, divisor: int) -> float:
    """sqrt(radicand) / divisor for integers beyond the range of a float.

    The integer root of radicand * 2**128 is exact to 64 bits below the binary point.
    """
    return math.isqrt(radicand << 128) / (divisor << 64)
