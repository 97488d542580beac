"""Are images of one set less often right than others of their classes? Exact p-values.

Comes in: counts by class. Goes out: p-values, alone and corrected for their number. Knows neither
what the set is nor what an image is.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

MOST_EXACT = 4_000
"""Images of the set beyond which the sum is taken as normal: exact sums cost the square of it."""


def fewer_right_p(
    right_in: ArrayLike, images_in: ArrayLike, right: ArrayLike, images: ArrayLike
) -> float:
    """Chance that as few images of a set are right, or fewer, if the set made no difference.

    Within a class, given how many of its images are right, the number of right ones among those
    of the set is hypergeometric when right and wrong are distributed over the images at random.
    Classes are independent, so their sum has the convolution of these distributions. A set is not
    accused of the classes in it: each image is compared with images of its own class.

    Args:
        right_in, images_in: (C,) right images and images of the set, by class.
        right, images: (C,) the same of all images, the set's included.
    Returns:
        P(sum <= observed), in (0, 1]. 1 where no class has images on both sides.
    Source: Mantel and Haenszel 1959, "Statistical aspects of the analysis of data from
        retrospective studies of disease"; the exact distribution: Gart 1970, "Point and interval
        estimation of the common odds ratio in the combination of 2 x 2 tables with fixed
        marginals".
    Example:
        >>> round(fewer_right_p([0], [3], [3], [6]), 4)  # 1 of the 20 ways to choose 3 of 6
        0.05
    """
    k, n, r, m = (np.asarray(one, dtype=np.int64) for one in (right_in, images_in, right, images))
    told = (n > 0) & (n < m) & (r > 0) & (r < m)  # elsewhere the sum cannot vary
    k, n, r, m = k[told], n[told], r[told], m[told]
    if not told.any():
        return 1.0
    if n.sum() > MOST_EXACT:
        return _normal_p(k, n, r, m)
    table = _log_factorials(1 << int(m.max()).bit_length())
    sums, lowest = np.ones(1), 0
    for in_set, right_c, images_c in zip(n.tolist(), r.tolist(), m.tolist()):
        pmf, least = _hypergeometric(in_set, right_c, images_c, table)
        sums, lowest = np.convolve(sums, pmf), lowest + least
    return float(min(sums[: int(k.sum()) - lowest + 1].sum(), 1.0))


def _hypergeometric(n: int, right: int, images: int, table: Floats) -> tuple[Floats, int]:
    """Probabilities of k = least, least + 1, ... right ones among n, and `least`."""
    least, most = max(0, n - (images - right)), min(n, right)
    k = np.arange(least, most + 1)

    def ways(of: int | Counts, choose: int | Counts) -> Floats:
        return np.asarray(table[of] - table[choose] - table[of - choose])

    return np.exp(ways(right, k) + ways(images - right, n - k) - ways(images, n)), least


def _normal_p(k: Counts, n: Counts, right: Counts, images: Counts) -> float:
    share = right / images
    expected = (n * share).sum()
    variance = (n * share * (1 - share) * (images - n) / np.maximum(images - 1, 1)).sum()
    # Half a count: the sum moves in whole ones.
    return NormalDist().cdf(float((k.sum() + 0.5 - expected) / np.sqrt(variance)))


@lru_cache(maxsize=4)
def _log_factorials(n: int) -> Floats:
    """log 0!, ..., log n!."""
    table: Floats = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    return table


def clustered_p(scores: ArrayLike, clusters: ArrayLike) -> float:
    """Chance of a sum as low, if scores of mean 0 are alike within a cluster and only there.

    The scores are added up by cluster, U_g; t = sum U_g / sqrt(G/(G - 1) sum U_g^2) is compared
    with Student's t of G - 1 degrees: whatever the dependence within a cluster is.

    Args:
        scores: (N,) of mean 0 by construction of the null hypothesis.
        clusters: (N,) ids >= 0.
    Returns:
        In [0, 1]; 1 with fewer than two clusters, or where nothing varies.
    Source: Liang and Zeger 1986, "Longitudinal data analysis using generalized linear models";
        the small-sample factor and degrees as in Cameron and Miller 2015, "A practitioner's guide
        to cluster-robust inference".
    """
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(codes.reshape(-1), weights=np.asarray(scores, dtype=np.float64))
    count = sums.size
    spread = float(np.sum(sums**2)) * count / max(count - 1, 1)
    if count < 2 or spread <= 0:
        return 1.0
    return student_cdf(float(sums.sum()) / math.sqrt(spread), degrees=count - 1)


def student_cdf(t: float, *, degrees: int) -> float:
    """P(T <= t) of Student's t, to about six digits.

    With t = sqrt(degrees) tan(x) the density is cos(x)^(degrees - 1) over B(1/2, degrees/2): a
    smooth function on a finite stretch, summed by Simpson's rule.
    """
    if degrees > 1_000:
        return NormalDist().cdf(t)
    if t > 0:
        return 1.0 - student_cdf(-t, degrees=degrees)
    end = math.atan(t / math.sqrt(degrees))
    x = np.linspace(-math.pi / 2, end, 4_001)
    values = np.cos(x) ** (degrees - 1)
    weights = np.full(x.size, 2.0)
    weights[1::2], weights[[0, -1]] = 4.0, 1.0
    area = float(values @ weights) * (end + math.pi / 2) / (3 * (x.size - 1))
    log_beta = math.lgamma(0.5) + math.lgamma(degrees / 2) - math.lgamma((degrees + 1) / 2)
    return min(area / math.exp(log_beta), 1.0)


def holm_adjusted(p: ArrayLike) -> Floats:
    """p-values adjusted for their number: reject those at most a, and the chance of rejecting any
    true hypothesis is at most a, however the tests depend on one another.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is adjusted to less
    than one before it.

    Args:
        p: (m,) in [0, 1].
    Returns:
        (m,) in [0, 1].
    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    Example:
        >>> holm_adjusted([0.01, 0.04, 0.03]).round(2).tolist()
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted
