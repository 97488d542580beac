"""The error as a power law of the number of images: error(n) = a + b n^-c, fitted.

Comes in: sizes and errors, many draws at once. Goes out: a, b, c of each. Knows no data set.

A power law with an offset is what learning curves of deep networks follow over a wide range
(Cortes et al. 1993, "Learning curves: asymptotic values and rate of convergence"; Hestness et al.
2017, arXiv:1712.00409, with c from 0.07 to 0.35 in image classification). It is not a law: curves
may have other shapes, and from a few small sizes a, b and c are hardly told apart (Viering and
Loog 2022, "The shape of learning curves: a review"). What is asked of the fit here is one doubling
beyond the largest size, and that is tame: by the law the next doubling takes off 2^-c of what the
last one did, between a half and all of it for any c from 0 to 1. b may be negative, so that errors
that rise by chance give a loss and not a gain of 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from everyclass.errors import InputError

Floats = NDArray[np.float64]

EXPONENTS = np.geomspace(0.05, 1.0, 40)
"""Values of c that are tried: slower cannot be told from a straight line in log n, and n^-1 is the
fastest rate that theory gives where there is anything to learn."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PowerLaw:
    """error(n) = a + b n^-c, of one curve or of many draws; arrays of one shape."""

    a: Floats
    b: Floats
    c: Floats

    def error(self, n: float | NDArray[np.int64]) -> Floats:
        """At n images, inside [0, 1]."""
        images = np.asarray(n, dtype=np.float64)
        return np.asarray(np.clip(self.a + self.b * images**-self.c, 0.0, 1.0))

    def doubling(self, n: float) -> Floats:
        """What twice as many images take off the error."""
        return np.asarray(self.error(n) - self.error(2 * n))


def fit_power_law(sizes: ArrayLike, errors: ArrayLike) -> PowerLaw:
    """The law with the least squares, 0 <= a <= 1 and c among `EXPONENTS`.

    For each c the law is a line in n^-c, whose a and b have a closed form; where a leaves [0, 1] it
    is put to that end and b fitted again.

    Args:
        sizes: (S,) images, all different, each > 0; S at least 2.
        errors: (..., S) in [0, 1] or near it.
    Returns:
        a, b and c of shape (...).
    Raises:
        InputError: fewer than two sizes, two that are equal, or errors of another shape.
    """
    n, e = np.asarray(sizes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if n.ndim != 1 or n.size < 2 or np.unique(n).size < n.size or n.min() <= 0:
        raise InputError(f"a curve needs two different sizes or more, not {n.tolist()}.")
    if e.shape[-1:] != n.shape:
        raise InputError(f"{n.size} sizes and errors of shape {e.shape}; one for each is expected.")
    best = np.full(e.shape[:-1], np.inf)
    a, b, c = (np.zeros(e.shape[:-1]) for _ in range(3))
    for exponent in EXPONENTS.tolist():
        x = (n / n.max()) ** -exponent  # 1 at the largest: sums of like size
        line = x - x.mean()
        slope = (e @ line) / (line @ line)
        offset = e.mean(axis=-1) - slope * x.mean()
        bounded = np.clip(offset, 0.0, 1.0)
        slope = np.where(bounded == offset, slope, ((e - bounded[..., None]) @ x) / (x @ x))
        rest = ((e - bounded[..., None] - slope[..., None] * x) ** 2).sum(axis=-1)
        better = rest < best
        best = np.where(better, rest, best)
        a = np.where(better, bounded, a)
        b = np.where(better, slope * n.max() ** exponent, b)
        c = np.where(better, exponent, c)
    return PowerLaw(a=a, b=b, c=c)
