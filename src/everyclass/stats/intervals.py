"""95 % intervals for shares, recall, precision, F1 and balanced accuracy.

Comes in: counts. Goes out: (..., 2) float64, low and high, always inside [0, 1] and always
containing the observed figure. No interval has width zero because a class happened to be all right
or all wrong, which is what the textbook interval (normal, with estimated variance) does.

Images are taken to be independent draws. Several images of one patient are not, and then each
interval here is too narrow.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from everyclass.errors import InputError
from everyclass.stats import confusion as figures

Floats = NDArray[np.float64]

METHODS = (
    ("accuracy", "Wilson score"),
    ("recall", "Wilson score"),
    ("precision", "Wilson score, given the number of predictions"),
    ("f1", "Wilson score of TP/(TP+FP+FN), mapped to F1"),
    ("balanced_accuracy", "square-and-add (MOVER) of the Wilson intervals of the recalls"),
)
"""(figure, method) pairs: what the functions below compute, in words."""


def wilson_interval(successes: ArrayLike, trials: ArrayLike, *, level: float = 0.95) -> Floats:
    """Wilson score interval of a share: the p that a score test at 1 - level does not reject.

    With p = k/n and the normal quantile z:
    (p + z^2/2n -+ z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n).

    Args:
        successes: k, whole numbers in [0, n], any shape.
        trials: n, whole numbers >= 0, same shape. 0 gives (0, 1): nothing is known.
        level: in (0, 1).
    Returns:
        (..., 2) float64, low and high; exactly 0 at k = 0 and exactly 1 at k = n.
    Raises:
        InputError: k outside [0, n], or level outside (0, 1).
    Source: Wilson 1927, "Probable inference"; recommended for small n by Brown, Cai and DasGupta
        2001, "Interval estimation for a binomial proportion".
    Example:
        >>> wilson_interval(0, 10).round(4)
        array([0.    , 0.2775])
    """
    if not 0 < level < 1:
        raise InputError(f"level is {level}, outside (0, 1).")
    k, n = np.broadcast_arrays(
        np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    )
    if np.any((k < 0) | (k > n)):
        raise InputError("an interval needs 0 <= successes <= trials.")
    z2 = NormalDist().inv_cdf(0.5 + level / 2) ** 2
    known = np.maximum(n, 1.0)  # n = 0 is set apart below; here it must only not divide by zero
    share = k / known
    half = np.sqrt(z2 * (share * (1 - share) / known + z2 / (4 * known**2)))
    middle = share + z2 / (2 * known)
    ends: Floats = np.stack([middle - half, middle + half], axis=-1) / (1 + z2 / known)[..., None]
    # The ends are exact at the borders; rounding would leave 1e-17 or 1 - 1e-16 there.
    ends[..., 0] = np.where(k == 0, 0.0, ends[..., 0])
    ends[..., 1] = np.where(k == n, 1.0, ends[..., 1])
    return ends


def widest_interval(trials: int, *, level: float = 0.95) -> float:
    """Width of the Wilson interval of a share at one half, where it is widest: z / sqrt(n + z^2).

    Before an evaluation, this is how much it may leave open.

    Example:
        >>> round(widest_interval(20), 3)
        0.401
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    return z / float(np.sqrt(trials + z * z))


def images_for_width(width: float, *, level: float = 0.95) -> int:
    """The fewest images whose Wilson interval is never wider: n >= z^2 (1/width^2 - 1).

    Args:
        width: in (0, 1).
    Example:
        >>> images_for_width(0.4)
        21
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    return int(np.ceil(z * z * (1 / width**2 - 1)))


def recall_intervals(confusion: ArrayLike, *, level: float = 0.95) -> Floats:
    """(C, 2) Wilson intervals of the recalls; (0, 1) for a class without images."""
    matrix = np.asarray(confusion)
    return wilson_interval(matrix.diagonal(), figures.support(matrix), level=level)


def precision_intervals(confusion: ArrayLike, *, level: float = 0.95) -> Floats:
    """(C, 2) Wilson intervals of the precisions; (0, 1) for a class never predicted.

    How often a class is predicted is random, but given that number each of those predictions is
    right with one probability, the precision: binomial, as Wilson needs.
    """
    matrix = np.asarray(confusion)
    return wilson_interval(matrix.diagonal(), figures.predicted_counts(matrix), level=level)


def f1_intervals(confusion: ArrayLike, *, level: float = 0.95) -> Floats:
    """(C, 2) intervals of the F1 scores; (0, 1) for a class neither present nor predicted.

    F1 is no share of anything, but an increasing function of one: with the Jaccard index
    J = TP/(TP + FP + FN), F1 = 2 TP/(2 TP + FP + FN) = 2J/(1 + J). Of the images that are of the
    class or were given it, each is both with probability J, so that TP is binomial given their
    number, and Wilson's interval for J, its ends mapped by 2J/(1 + J), is one for F1 with the same
    coverage: the map is increasing, so F1 lies inside exactly when J does.
    """
    matrix = np.asarray(confusion)
    both = matrix.diagonal()
    either = figures.support(matrix) + figures.predicted_counts(matrix) - both
    jaccard = wilson_interval(both, either, level=level)
    return 2 * jaccard / (1 + jaccard)


def accuracy_interval(confusion: ArrayLike, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson interval of the accuracy."""
    matrix = np.asarray(confusion)
    low, high = wilson_interval(matrix.trace(), matrix.sum(), level=level)
    return float(low), float(high)


def balanced_accuracy_interval(confusion: ArrayLike, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean recall over the classes with support; (0, 1) without any.

    Recalls of different classes are independent, so variances add. What to take for each variance
    is the point: p(1 - p)/n is 0 for a class that is all right or all wrong, and a mean of few
    images would look certain. Each class's own Wilson interval (l, u) carries a better one:
    (p - l)^2 / z^2 is its variance if the truth lay at the lower end, (u - p)^2 / z^2 at the upper.
    Adding these, z cancels:
    low = mean(p) - sqrt(sum (p - l)^2) / K and high = mean(p) + sqrt(sum (u - p)^2) / K.

    The ends stay in [0, 1], because sqrt(sum (p - l)^2) <= sum (p - l) <= sum p.

    Source: Newcombe 1998, "Interval estimation for the difference between independent
        proportions", method 10; as MOVER for any linear combination in Zou and Donner 2008.
    """
    counts = figures.support(confusion)
    present = counts > 0
    if not present.any():
        return 0.0, 1.0
    shares = figures.recall(confusion)[present]
    low, high = recall_intervals(confusion, level=level)[present].T
    below = float(np.sqrt(np.sum((shares - low) ** 2))) / shares.size
    above = float(np.sqrt(np.sum((high - shares) ** 2))) / shares.size
    mean = float(shares.mean())
    return max(mean - below, 0.0), min(mean + above, 1.0)


def paired_balanced_accuracy_gain(
    targets: ArrayLike, before: ArrayLike, after: ArrayLike, *, n_classes: int
) -> tuple[float, float]:
    """Gain in balanced accuracy from one set of decisions to another, with its standard error.

    Both decide on the same images, so what is compared are images: d = 1 where only `after` is
    right, -1 where only `before` is, 0 where they agree on right or wrong. The gain is the mean
    over classes of the mean d of the class; classes are independent, so its variance is
    (1/K^2) sum_c Var(d in c) / n_c. Two decisions that mostly agree have a small error here,
    however uncertain each one's balanced accuracy is: images that both get right say nothing.

    The plain estimate of Var(d) is 0 in a class where nothing changed, and one lucky image of a
    small class would count as certain. So, as Agresti and Min do for the difference of paired
    shares, half an image is added to each of the four cells (both right, both wrong, only one):
    with b and w images better and worse out of n, each plus 1/2, and m = n + 2,
    Var(mean d) = ((b + w)/m - ((b - w)/m)^2) / m.

    Args:
        targets: (N,) class ids.
        before, after: (N,) class ids, two decisions on the same images.
        n_classes: C.
    Returns:
        (gain in [-1, 1], standard error >= 0); (0, inf) without images.
    Raises:
        InputError: lengths differ or ids lie outside [0, C).
    Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched
        proportions".
    """
    matrices = [figures.confusion_matrix(targets, d, n_classes=n_classes) for d in (before, after)]
    counts = figures.support(matrices[0])
    present = counts > 0
    if not present.any():
        return 0.0, float("inf")
    rows = np.asarray(targets)
    right_before, right_after = np.asarray(before) == rows, np.asarray(after) == rows
    better = np.bincount(rows[right_after & ~right_before], minlength=n_classes)[present]
    worse = np.bincount(rows[right_before & ~right_after], minlength=n_classes)[present]
    gain = float(np.mean((better - worse) / counts[present]))
    size = counts[present] + 2.0
    variances = ((better + worse + 1) / size - ((better - worse) / size) ** 2) / size
    return gain, float(np.sqrt(variances.sum())) / int(present.sum())


def mean_interval(values: ArrayLike, *, level: float = 0.95) -> tuple[float, float] | None:
    """Interval of the mean of a few repetitions: mean -+ t s / sqrt(k), t of k - 1 degrees.

    Values are figures in [0, 1], and so are the ends. With two or three repetitions it is wide
    (t = 12.7 and 4.3), as it should be: their spread is hardly known.

    Args:
        values: (k,) one figure a repetition.
        level: 0.95, the one that is tabulated.
    Returns:
        (low, high); None for fewer than two values, which say nothing of their spread.
    Raises:
        InputError: another level, or values that are not (k,).
    Source: Student 1908, "The probable error of a mean".
    Example:
        >>> tuple(round(end, 3) for end in mean_interval([0.7, 0.72, 0.74]))
        (0.67, 0.77)
    """
    figures_given = np.asarray(values, dtype=np.float64)
    if level != 0.95 or figures_given.ndim != 1:
        raise InputError(
            f"(k,) values and the level 0.95 are expected; got {figures_given.shape} and {level}."
        )
    if figures_given.size < 2:
        return None
    mean = float(figures_given.mean())
    error = float(figures_given.std(ddof=1)) / float(np.sqrt(figures_given.size))
    half = _student_quantile(figures_given.size - 1) * error
    return max(mean - half, 0.0), min(mean + half, 1.0)


_STUDENT_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)


def _student_quantile(degrees: int) -> float:
    """97.5 % quantile of Student's t."""
    if degrees <= len(_STUDENT_975):
        return _STUDENT_975[degrees - 1]
    z = NormalDist().inv_cdf(0.975)
    # Cornish and Fisher's expansion: right to four digits from 20 degrees on.
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
