"""Prediction sets that hold the right class for a promised share of *each class's* images.

Comes in: probabilities of calibration images with their labels, then probabilities of new images.
Goes out: the classes that cannot be ruled out for each. Knows no model and no files.

Class-conditional (Mondrian) split conformal prediction: the score of class y for image x is
1 - p(y | x), and y is in the set when its score is at most q_y, the ceil((n_y + 1) coverage)-th
smallest score among the n_y calibration images of class y. Here it is written with probabilities:
y is in the set when p(y | x) >= t_y = 1 - q_y. An image of class y drawn as the calibration images
of y were has y in its set with a probability of at least `coverage` (and, without ties, of at most
coverage + 1/(n_y + 1)), whatever the network and however wrong its probabilities: its score is
as likely to take any rank among theirs. That is a promise for the whole procedure: over many draws
of calibration images. One such draw gives class y a coverage that is Beta(k, n_y + 1 - k)
distributed, k the rank above (`likely_coverage`): with few images it can be lower by much.

With fewer images than `images_needed` the rank is above n_y, q_y is infinite (t_y is 0), and the
class is in every set: the promise holds, and tells nothing.

Prior shift. The promise is about images of one class, so it does not ask how frequent the classes
are: it holds under any class frequencies, as long as each class's own images look as they did.
What it does ask is that calibration and prediction use the same function of the image. That is why
our scores are probabilities at one fixed prior, also where probabilities are reported for a
deployment prior, and why sets do not change with it. Only classes that cannot occur (frequency 0)
are left out of them. The fixed prior is the even one: it makes sets smallest in the mean over the
classes, and costs nothing in the mean over images as they come. Measured at coverage 0.9 over 200
divisions of held-out images (blood cells trained at ratio 20; waste photos), mean size over classes
and, in brackets, over images at natural frequencies:

    this score, even prior            1.23 (1.16)   1.85 (1.86)
    this score, natural prior         1.32 (1.15)   1.96 (1.87)
    adaptive sets (APS), randomised   1.69 (1.37)   2.35 (2.25)
    adaptive sets (APS)               3.40 (2.65)   3.05 (2.97)

A set in which nothing is left gets the most probable class. It can only gain by that.

Calibration images should not have been used for anything else. Ours, the validation images, chose
the epoch and the temperature too, so coverage is a little lower than promised; how much, images
that no choice was made on tell (`evaluate_sets`).

Sources: Vovk 2012, "Conditional validity of inductive conformal predictors" (class-conditional
sets, the beta distribution); Sadinle, Lei and Wasserman 2019, "Least ambiguous set-valued
classifiers with bounded error levels", arXiv:1609.00451 (this score gives the smallest sets where
the probabilities are right); APS is Romano, Sesia and Candès 2020, arXiv:2006.02544.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from everyclass.calibrations import ClassCoverage, SetEvaluation
from everyclass.errors import InputError
from everyclass.stats.calibration import probs_and_targets
from everyclass.stats.intervals import wilson_interval

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def check_coverage(coverage: float) -> None:
    """Refuse what is no share strictly between 0 and 1.

    Raises:
        InputError: it is 0 or less, 1 or more, or NaN.
    """
    if 0 < coverage < 1:
        return
    remedy = "Give a share above 0 and below 1, as 0.9."
    if 1 < coverage < 100:
        remedy = f"Give a share above 0 and below 1: {coverage / 100:g} for {coverage:g} %."
    raise InputError(f"A coverage of {coverage:g} is not between 0 and 1.", remedy=remedy)


def images_needed(coverage: float) -> int:
    """The fewest calibration images of a class with which its threshold is finite.

    The smallest n with ceil((n + 1) coverage) <= n: 9 for 0.9, 19 for 0.95, 99 for 0.99.
    """
    check_coverage(coverage)
    share = _exact(coverage)
    return math.ceil(share / (1 - share))


def likely_coverage(n: int, coverage: float, *, level: float = 0.95) -> float:
    """The coverage that a share `level` of calibration sets with n images of a class reach.

    The (1 - level) quantile x of Beta(k, n + 1 - k), k = ceil((n + 1) coverage): the x with
    P(Binomial(n, x) >= k) = 1 - level. 1 where n is too small for a finite threshold.

    Source: Vovk 2012, proposition 2.
    """
    check_coverage(coverage)
    rank = _rank(n, coverage)
    if rank > n:
        return 1.0
    hits = np.arange(n, rank - 1, -1, dtype=np.float64)  # n down to k
    # log C(n, j) from log C(n, n) = 0 by C(n, j - 1) = C(n, j) j / (n - j + 1).
    steps = np.log(hits[:-1]) - np.log(n - hits[:-1] + 1)
    choices = np.concatenate([[0.0], np.cumsum(steps)])
    low, high = 0.0, 1.0
    for _ in range(60):
        x = (low + high) / 2
        tail = np.exp(choices + hits * math.log(x) + (n - hits) * math.log1p(-x)).sum()
        low, high = (x, high) if tail < 1 - level else (low, x)
    return low


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationScores:
    """What calibration images say, kept so that any coverage can be asked for later.

    Attributes:
        classes: C names, in the order of the ids.
        probs: C arrays, ascending: the probability that each calibration image of the class was
            given for it.
    """

    classes: tuple[str, ...]
    probs: tuple[Floats, ...]

    def to_dict(self) -> dict[str, Any]:
        """The content of `conformal.json`; floats in full, so that reading it back is exact."""
        return {
            "format": 1,
            "score": "probability of the true class, calibrated, at even class frequencies",
            "images": "validation images as they are, none left out or drawn twice",
            "classes": [
                {"name": name, "n": int(own.size), "probabilities": own.tolist()}
                for name, own in zip(self.classes, self.probs)
            ],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str) -> CalibrationScores:
        """The value of a parsed `conformal.json`.

        Raises:
            InputError: another format, or probabilities that are none.
        """
        try:
            if values["format"] != 1:
                raise ValueError(f"format {values['format']!r}; this version reads format 1")
            names = tuple(str(one["name"]) for one in values["classes"])
            probs = tuple(
                np.sort(np.asarray(one["probabilities"], dtype=np.float64))
                for one in values["classes"]
            )
            if not all(own.ndim == 1 and np.all((own >= 0) & (own <= 1)) for own in probs):
                raise ValueError("probabilities outside 0 to 1")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the calibration scores are damaged ({error}).",
                where=where,
                remedy="Restore the file, or train again.",
            ) from error
        return cls(classes=names, probs=probs)


def calibration_scores(
    probs: ArrayLike, targets: ArrayLike, *, classes: Sequence[str]
) -> CalibrationScores:
    """The probability that each calibration image was given for its own class, class by class.

    Args:
        probs: (N, C), rows sum to 1, N > 0; of images that are drawn as new ones will be, neither
            trained on nor resampled within a class.
        targets: (N,) class ids.
        classes: C names, in the order of the ids.
    Raises:
        InputError: shapes do not match, or rows do not sum to 1 (logits were passed).
    """
    values, rows = probs_and_targets(probs, targets)
    if values.shape[1] != len(classes):
        raise InputError(
            f"{values.shape[1]} probabilities an image for {len(classes)} classes; "
            "one for each is expected."
        )
    own = np.minimum(values[np.arange(rows.size), rows], 1.0)  # a rounding above 1 is 1
    return CalibrationScores(
        classes=tuple(classes),
        probs=tuple(np.sort(own[rows == c]) for c in range(len(classes))),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConformalThresholds:
    """What turns probabilities into sets; from `conformal_thresholds`.

    Attributes:
        coverage: promised for the images of each class, in (0, 1).
        classes: C names.
        counts: (C,) int64, calibration images of each class.
        thresholds: (C,) float64: a class is in the set of an image that gives it at least this
            probability; 0 puts it into every set.
    """

    coverage: float
    classes: tuple[str, ...]
    counts: NDArray[np.int64]
    thresholds: Floats

    @property
    def guaranteed(self) -> Flags:
        """(C,) whether a class had enough calibration images for a finite threshold."""
        enough: Flags = self.counts >= images_needed(self.coverage)
        return enough

    def sets(self, probs: ArrayLike, *, possible: ArrayLike | None = None) -> Flags:
        """Which classes are in the set of each image.

        Args:
            probs: (N, C), the same probabilities of new images that the calibration scores were:
                at the same prior and temperature.
            possible: (C,) booleans, False for a class that cannot occur where the sets are used;
                all can when left out. At least one must be.
        Returns:
            (N, C) booleans, at least one True a row.
        Raises:
            InputError: another number of classes, or none possible.
        """
        values = np.asarray(probs, dtype=np.float64)
        able = np.full(len(self.classes), True) if possible is None else np.asarray(possible, bool)
        if values.ndim != 2 or not values.shape[1] == len(self.classes) == able.size:
            raise InputError(
                f"(N, {len(self.classes)}) probabilities are expected; shape is {values.shape}."
            )
        if not able.any():
            raise InputError("no class is possible, so no set can hold one.")
        inside: Flags = (values >= self.thresholds) & able
        empty = np.flatnonzero(~inside.any(axis=1))
        inside[empty, np.where(able, values[empty], -1.0).argmax(axis=1)] = True
        return inside

    def sentence(self) -> str:
        """What is promised for which classes, in words."""
        needed, enough = images_needed(self.coverage), self.guaranteed
        asked = f"{100 * self.coverage:g} %"
        lacking = [
            f"'{name}' ({n:,})"
            for name, n, fine in zip(self.classes, self.counts.tolist(), enough.tolist())
            if not fine
        ]
        told = ""
        if enough.any():
            n = int(self.counts[enough].min())
            name = self.classes[int(np.where(enough, self.counts, np.inf).argmin())]
            told = (
                f"For images like those of validation the set holds the right class for at least "
                f"{asked} of the images of each class (mean over draws of validation images; with "
                f"the {n:,} of '{name}' one draw in 20 gives less than "
                f"{100 * likely_coverage(n, self.coverage):.0f} %)."
            )
        if lacking:
            shown = ", ".join(lacking[:_MOST_NAMES])
            more = f" and {len(lacking) - _MOST_NAMES:,} more" if lacking[_MOST_NAMES:] else ""
            told += f"{' ' if told else ''}In every set, because {asked} needs at least " + (
                f"{needed:,} validation images of a class: {shown}{more}."
            )
        return told


_MOST_NAMES = 10


def conformal_thresholds(scores: CalibrationScores, *, coverage: float) -> ConformalThresholds:
    """The threshold of each class for a coverage of its images.

    t_c is the (n_c + 1 - ceil((n_c + 1) coverage))-th smallest of the n_c probabilities; 0 where
    that is the 0th (module docstring).

    Args:
        coverage: in (0, 1), the share of each class's images whose set is to hold the class.
    Raises:
        InputError: a coverage outside (0, 1).
    Example:
        >>> probs = [[p, 1 - p] for p in (0.9, 0.8, 0.3, 0.7)]
        >>> scores = calibration_scores(probs, [0, 0, 0, 0], classes=("cat", "dog"))
        >>> conformal_thresholds(scores, coverage=0.6).thresholds  # 'dog' has no images
        array([0.7, 0. ])
    """
    check_coverage(coverage)
    places = [own.size - _rank(own.size, coverage) for own in scores.probs]
    return ConformalThresholds(
        coverage=coverage,
        classes=scores.classes,
        counts=np.array([own.size for own in scores.probs], dtype=np.int64),
        thresholds=np.array(
            [own[place] if place >= 0 else 0.0 for own, place in zip(scores.probs, places)]
        ),
    )


def evaluate_sets(
    thresholds: ConformalThresholds,
    probs: ArrayLike,
    targets: ArrayLike,
    *,
    same_images: bool = False,
) -> SetEvaluation:
    """The coverage that sets reach on images with labels, class by class, and their sizes.

    Args:
        probs: (N, C), N > 0, as `ConformalThresholds.sets` takes them.
        targets: (N,) class ids.
        same_images: whether calibration images are among these.
    Raises:
        InputError: shapes do not match, or rows do not sum to 1.
    """
    values, rows = probs_and_targets(probs, targets)
    inside = thresholds.sets(values)
    n_classes = len(thresholds.classes)
    n = np.bincount(rows, minlength=n_classes)
    covered = np.bincount(rows[inside[np.arange(rows.size), rows]], minlength=n_classes)
    intervals, enough = wilson_interval(covered, n), thresholds.guaranteed
    sizes = np.bincount(inside.sum(axis=1))
    return SetEvaluation(
        coverage=thresholds.coverage,
        images_needed=images_needed(thresholds.coverage),
        same_images=same_images,
        sizes=tuple((size, int(sizes[size])) for size in np.flatnonzero(sizes).tolist()),
        classes=tuple(
            ClassCoverage(
                name=name,
                calibration_n=int(thresholds.counts[c]),
                threshold=float(thresholds.thresholds[c]),
                guaranteed=bool(enough[c]),
                n=int(n[c]),
                covered=int(covered[c]),
                coverage=float(covered[c] / n[c]) if n[c] else None,
                coverage_ci95=(float(intervals[c, 0]), float(intervals[c, 1])) if n[c] else None,
            )
            for c, name in enumerate(thresholds.classes)
        ),
    )


def _exact(coverage: float) -> Fraction:
    # The decimal as it was written: in floating point 20 x 0.55 is above 11, which costs an image.
    return Fraction(str(float(coverage)))


def _rank(n: int, coverage: float) -> int:
    return math.ceil((n + 1) * _exact(coverage))
