"""What more images would bring, class by class, with its uncertainty.

Comes in: which test images each training got right, for trainings on subsets of several sizes and
for trainings in which one class alone was halved. Goes out: a `LearningCurve`. Trains nothing.

**Two experiments.** On subsets all classes shrink together: the curve says what twice the data
would bring. With one class halved and the others whole, the difference is what the last half of
that class's images brought to it: direct evidence on more images of that class. By the power law
the next doubling brings 2^-c of it, with c from the class's own curve.

**Uncertainty** has two sources, which cross: the test images, and the luck of a training (subset,
first weights, order). Test images are resampled within their class, or by group where there are
groups, the same draw for all trainings, since all are judged on the same images (Efron and
Tibshirani 1993). The luck of a training is the spread of the recall over the repeats, pooled over
the sizes, less what independent errors on the test images explain, which the resampling has already
(two-way random effects; Owen 2007, "The pigeonhole bootstrap", shows what counting it twice
costs); it is drawn from Student's t with the degrees that the pooling has. The law is fitted to
every draw, and the ends are percentiles of what the fits say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everyclass.errors import InputError
from everyclass.stats.power_law import PowerLaw, fit_power_law

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]

DRAWS = 2_000
AT_ONCE = 4_000_000  # counts of a resampling that are held in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A change of the recall, with its 95 % interval.

    Attributes:
        gain: in [-1, 1].
        interval: its ends.
        told: the interval lies on one side of 0; else it cannot be told whether there is any.
    """

    gain: float
    interval: tuple[float, float]

    @property
    def told(self) -> bool:
        """Whether the sign is known."""
        return self.interval[0] > 0 or self.interval[1] < 0

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.gain:+.2f} ({low:+.2f} to {high:+.2f})"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {"gain": self.gain, "ci95": list(self.interval), "told": self.told}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Recall of one class, or balanced accuracy, over the number of training images.

    Attributes:
        name: of the class; "balanced accuracy" for the mean of the recalls.
        test_images: that it is judged on.
        images: training images of the class (of all classes) at each size, rising.
        recalls: mean over the repeats, at each size; `intervals` their 95 % intervals.
        law: (a, b, c) of error = a + b images^-c.
        c_interval: 95 % interval of the exponent.
        doubling: expected from twice the images of *every* class.
        fitted: (images, recall, low, high) along the fit, up to twice the images.
    """

    name: str
    test_images: int
    images: tuple[int, ...]
    recalls: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    law: tuple[float, float, float]
    c_interval: tuple[float, float]
    doubling: Gain
    fitted: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LastHalf:
    """What the last half of one class's images brought to that class, the others being whole.

    Attributes:
        name: of the class.
        images_half, images: training images of it in the two.
        recall_half, recall: means over the repeats.
        brought: recall - recall_half.
        doubling: what twice its images are expected to bring: 2^-c of it.
        others: change of the mean recall of the other classes by the same images.
    """

    name: str
    images_half: int
    images: int
    recall_half: float
    recall: float
    brought: Gain
    doubling: Gain
    others: Gain


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """All of it.

    Attributes:
        repeats: trainings a size.
        split: on which they were judged.
        by_group: test images were resampled by group.
        balanced: of the mean recall.
        classes: in the order of the classes; without those that have no test images, or no more
            training images at one size than at the one before.
        last_halves: of the classes that were halved alone.
    """

    repeats: int
    split: str
    by_group: bool
    balanced: Curve
    classes: tuple[Curve, ...]
    last_halves: tuple[LastHalf, ...]

    @property
    def ranked(self) -> tuple[tuple[str, Gain, bool], ...]:
        """(class, expected from twice its images, measured on it alone), what can be told first,
        then by the gain. Where a class was not halved alone, it is what twice *all* images bring to
        it."""
        alone = {one.name: one.doubling for one in self.last_halves}
        rows = [
            (one.name, alone.get(one.name, one.doubling), one.name in alone) for one in self.classes
        ]
        return tuple(sorted(rows, key=lambda row: (not row[1].told, -row[1].gain)))

    def to_dict(self) -> dict[str, Any]:
        """The content of `curve.json`."""

        def plain(one: Curve | LastHalf) -> dict[str, Any]:
            gains = ("doubling", "brought", "others")
            return asdict(one) | {
                name: getattr(one, name).to_dict() for name in gains if hasattr(one, name)
            }

        return {
            "repeats": self.repeats,
            "split": self.split,
            "by_group": self.by_group,
            "balanced_accuracy": plain(self.balanced),
            "classes": [plain(one) for one in self.classes],
            "last_halves": [plain(one) for one in self.last_halves],
            "ranked": [
                {"class": name, **gain.to_dict(), "measured_alone": alone}
                for name, gain, alone in self.ranked
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Halved:
    """Trainings in which one class had about half of its images.

    Args:
        label: of the class.
        images: that it had.
        right: (R, N) bool, which test images each of the R trainings got right.
    """

    label: int
    images: int
    right: Bools


def learning_curve(
    right: Bools,
    labels: Ids,
    *,
    counts: Ids,
    classes: Sequence[str],
    split: str,
    halved: Sequence[Halved] = (),
    groups: Ids | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> LearningCurve:
    """Fit every class's curve, and tell what twice its images would bring.

    Args:
        right: (S, R, N) bool: which of N test images are right, at S sizes with R repeats.
        labels: (N,) class ids of the test images.
        counts: (S, C) training images of each class at each size, rising.
        classes: C names.
        split: of the test images.
        halved: trainings in which one class alone was halved, of the last size otherwise; of
            classes with test images and rising counts.
        groups: (N,) ids of groups of test images that are not independent; None = all are.
        seed: of the resampling.
        draws: how many.
    Raises:
        InputError: shapes that do not fit.
    """
    sizes, repeats, n = right.shape
    if labels.shape != (n,) or counts.shape != (sizes, len(classes)) or sizes < 2:
        raise InputError(
            f"right answers {right.shape}, labels {labels.shape} and counts {counts.shape} do not "
            "fit together; two sizes are the least."
        )
    arms = np.concatenate([right, *(one.right[None] for one in halved)])
    sample = _Sample(arms, labels, groups, len(classes), np.random.default_rng(seed), draws)
    present = np.flatnonzero(np.bincount(labels, minlength=len(classes)))
    ids = present.tolist()
    means = np.stack([sample.mean(k) for k in ids], axis=1)  # (arms, K)
    drawn = np.stack([sample.drawn(k) for k in ids], axis=2)  # (draws, arms, K)
    noisy = drawn + np.stack([sample.luck([k]) for k in ids], axis=2)
    whole = drawn.mean(axis=2) + sample.luck(ids)
    curves = []
    for place, label in enumerate(ids):
        if np.any(np.diff(counts[:, label]) <= 0):
            continue  # as many images at one size as at the next
        own = _curve(
            classes[label],
            counts[:, label],
            means[:sizes, place],
            noisy[:, :sizes, place],
            test_images=int((labels == label).sum()),
        )
        curves.append(own)
    balanced = _curve(
        "balanced accuracy",
        counts.sum(axis=1),
        means[:sizes].mean(axis=1),
        whole[:, :sizes],
        test_images=n,
    )
    halves = tuple(
        _last_half(one, sizes + arm, present, means, noisy, counts, classes)
        for arm, one in enumerate(halved)
    )
    return LearningCurve(
        repeats=repeats,
        split=split,
        by_group=groups is not None,
        balanced=balanced,
        classes=tuple(curves),
        last_halves=halves,
    )


def _curve(name: str, images: Ids, recalls: Floats, drawn: Floats, *, test_images: int) -> Curve:
    law, laws = fit_power_law(images, 1 - recalls), fit_power_law(images, 1 - drawn)
    most = int(images.max())
    along = np.geomspace(images.min(), 2 * most, 25)
    band = [(float(1 - law.error(n)), *_ends(1 - laws.error(n))) for n in along.tolist()]
    return Curve(
        name=name,
        test_images=test_images,
        images=tuple(images.tolist()),
        recalls=tuple(recalls.tolist()),
        intervals=tuple(_ends(np.clip(drawn[:, place], 0, 1)) for place in range(drawn.shape[1])),
        law=(float(law.a), float(law.b), float(law.c)),
        c_interval=_ends(laws.c),
        doubling=Gain(gain=float(law.doubling(most)), interval=_ends(laws.doubling(most))),
        fitted=tuple((n, *ends) for n, ends in zip(along.tolist(), band)),
    )


def _last_half(
    one: Halved,
    arm: int,
    present: Ids,
    means: Floats,
    noisy: Floats,
    counts: Ids,
    classes: Sequence[str],
) -> LastHalf:
    full, place = len(counts) - 1, int(np.searchsorted(present, one.label))
    laws: list[PowerLaw] = [
        fit_power_law(counts[:, one.label], 1 - means[: full + 1, place]),
        fit_power_law(counts[:, one.label], 1 - noisy[:, : full + 1, place]),
    ]
    brought = float(means[full, place] - means[arm, place])
    drawn = noisy[:, full, place] - noisy[:, arm, place]
    rest = np.arange(present.size) != place
    others = noisy[:, full, rest].mean(axis=1) - noisy[:, arm, rest].mean(axis=1)
    return LastHalf(
        name=classes[one.label],
        images_half=one.images,
        images=int(counts[full, one.label]),
        recall_half=float(means[arm, place]),
        recall=float(means[full, place]),
        brought=Gain(gain=brought, interval=_ends(drawn)),
        doubling=Gain(
            gain=brought * float(2 ** -laws[0].c), interval=_ends(drawn * 2 ** -laws[1].c)
        ),
        others=Gain(
            gain=float(means[full, rest].mean() - means[arm, rest].mean()), interval=_ends(others)
        ),
    )


def _ends(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975)).tolist()
    return low, high


class _Sample:
    """Recalls of each class in every arm (a size, or a class halved), and draws of them.

    Args:
        right: (A, R, N) bool.
        labels: (N,).
        groups: (N,) ids, None where images are independent.
    """

    def __init__(
        self,
        right: Bools,
        labels: Ids,
        groups: Ids | None,
        n_classes: int,
        rng: np.random.Generator,
        draws: int,
    ) -> None:
        self._right, self._labels = right, labels
        self._rng, self._draws = rng, draws
        self._rows = [np.flatnonzero(labels == k) for k in range(n_classes)]
        self._codes: Ids | None = None
        if groups is not None:
            found, codes = np.unique(groups, return_inverse=True)
            self._codes = codes.reshape(-1)
            shares = np.full(found.size, 1 / found.size)
            self._of_group = rng.multinomial(found.size, shares, size=draws).astype(np.float32)

    def mean(self, label: int) -> Floats:
        """(A,) recall, over the repeats."""
        return np.asarray(self._right[:, :, self._rows[label]].mean(axis=(1, 2)))

    def drawn(self, label: int) -> Floats:
        """(draws, A) recalls with the test images resampled."""
        rows = self._rows[label]
        shares = self._right[:, :, rows].mean(axis=1).T  # (n, A)
        if self._codes is not None:
            weights = self._of_group[:, self._codes[rows]]
            total = weights.sum(axis=1, keepdims=True)
            found = (weights @ shares) / np.maximum(total, 1)
            # A draw without any group of the class says nothing new of it.
            return np.asarray(np.where(total > 0, found, shares.mean(axis=0)))
        parts, at_once = list[Floats](), max(1, AT_ONCE // rows.size)
        for start in range(0, self._draws, at_once):
            some = min(at_once, self._draws - start)
            times = self._rng.multinomial(rows.size, np.full(rows.size, 1 / rows.size), size=some)
            parts.append(times @ shares / rows.size)
        return np.concatenate(parts)

    def luck(self, labels: Sequence[int]) -> Floats:
        """(draws, A): what another training would have changed in the mean recall of these classes.

        At least half an image: where all trainings agree, their spread is not known to be 0.
        """
        arms, repeats, _ = self._right.shape
        size = np.array([self._rows[k].size for k in labels])
        least = float(np.sum((0.5 / size) ** 2)) / size.size**2
        if repeats < 2:
            return self._rng.normal(0, np.sqrt(least), (self._draws, arms))
        own = [self._right[:, :, self._rows[k]] for k in labels]
        recalls = np.mean([one.mean(axis=2) for one in own], axis=0)  # (A, R)
        between = float(recalls.var(axis=1, ddof=1).mean())
        within = [float(one.var(axis=1, ddof=1).mean()) for one in own]
        explained = float(np.sum(np.array(within) / size)) / size.size**2
        spread = np.sqrt(max((between - explained) / repeats, least))
        degrees = arms * (repeats - 1)
        scale = np.sqrt(degrees / self._rng.chisquare(degrees, (self._draws, 1)))
        return np.asarray(self._rng.normal(0, spread, (self._draws, arms)) * scale)
