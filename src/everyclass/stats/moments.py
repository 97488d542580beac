"""Channel mean and standard deviation of many images, exact and in pieces.

Comes in: uint8 pixels, image by image. Goes out: integer sums that add up in any order, and the
mean and deviation *pooled over pixels*: every pixel of every image counts once, so images of one
size count alike. (The mean of the images' own deviations, which many tutorials compute, leaves
out how much images differ from one another, and is always smaller.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

Triple = tuple[int, int, int]


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
    def of(cls, images: npt.NDArray[np.uint8]) -> ChannelMoments:
        """Moments of pixels.

        Args:
            images: (..., 3) uint8, an image or a batch.
        """
        pixels = images.reshape(1, -1, 3)
        (red, green, blue), (red2, green2, blue2) = (
            one[0].tolist() for one in channel_sums(pixels)
        )
        return cls(
            n_pixels=pixels.shape[1],
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


_ROW = 256  # squares of so many bytes add up to less than 2**24: exact in float32
_ONES = np.ones(_ROW, dtype=np.float32)
_SCRATCH = 1 << 16  # values that are brought to float32 at a time


def channel_sums(
    images: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Sums of the values and of their squares, (B, 3) uint64 each; exact.

    Args:
        images: (B, P, 3) uint8: the P pixels of each image.
    """
    sums, squares = (np.empty((len(images), 3), dtype=np.uint64) for _ in range(2))
    # Matrix products over short rows: half the time of sums over integers. A few images at a time,
    # in one place: fresh memory would cost as much as the sums.
    step = max(1, _SCRATCH // max(1, images[:1].size))
    scratch = np.empty((min(step, len(images)), *images.shape[1:]), dtype=np.float32)
    for start in range(0, len(images), step):
        part = images[start : start + step]
        values = scratch[: len(part)]
        np.copyto(values, part)
        sums[start : start + step] = _summed(values)
        np.multiply(values, values, out=values)
        squares[start : start + step] = _summed(values)
    return sums, squares


def _summed(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    n, pixels, _ = values.shape
    rows, rest = divmod(pixels, _ROW)
    whole = values[:, : rows * _ROW].reshape(n, _ROW, 3 * rows)
    total = (_ONES @ whole).reshape(n, rows, 3).sum(axis=1, dtype=np.float64)
    if rest:
        total += _ONES[:rest] @ values[:, rows * _ROW :]
    return np.asarray(total, dtype=np.uint64)


def largest_deviation(
    sums: npt.NDArray[np.uint64], squares: npt.NDArray[np.uint64], n_pixels: int
) -> npt.NDArray[np.float64]:
    """The standard deviation of the channel that varies most, in 0..255, for each image.

    In float64; `ChannelMoments` is exact, and slower.

    Args:
        sums, squares: (..., 3) of `channel_sums`.
        n_pixels: of one channel, at least one.
    Returns:
        (...) float64.
    """
    mean, square = sums / n_pixels, squares / n_pixels
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
