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
        channels = np.ascontiguousarray(images.reshape(-1, 3).T)
        (red, green, blue), (red2, green2, blue2) = (one.tolist() for one in channel_sums(channels))
        return cls(
            n_pixels=channels.shape[1],
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


def channel_sums(
    channels: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Sums of the values and of their squares, (..., 3) uint64 each.

    Args:
        channels: (..., 3, P) uint8, C-contiguous: the P pixels of an image, channel by channel.
    """
    # Squares fit into 16 bits, and those of up to 66,051 pixels into 32: half the time of 64.
    total = np.uint32 if channels.shape[-1] * 255**2 < 1 << 32 else np.uint64
    squares = channels.astype(np.uint16)
    squares *= squares
    return (
        channels.sum(axis=-1, dtype=total).astype(np.uint64),
        squares.sum(axis=-1, dtype=total).astype(np.uint64),
    )


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
