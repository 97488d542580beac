"""What more images would bring, class by class, with its uncertainty.

Comes in: which test images each training got right, for trainings on subsets of several sizes and
for trainings in which one class alone was halved. Goes out: a `LearningCurve`. Trains nothing.

**Two experiments.** On subsets all classes shrink together: the curve says what twice the data
would bring. With one class halved and the others whole, the difference is what the last half of
that class's images brought to it: direct evidence on more images of that class. By the power law
the next doubling brings 2^-c of it, with c from the class's own curve.

**Uncertainty** is that of the test images and of the luck of a training (`crossed`). Where the
points lie further from the fitted law than both explain, the rest is added: not every curve is a
power law. The law is fitted to every draw, and the ends are percentiles of what the fits say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everyclass.errors import InputError
from everyclass.stats.crossed import CrossedDraws
from everyclass.stats.power_law import PowerLaw, fit_power_law

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]

DRAWS = 2_000


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

    @property
    def rank(self) -> int:
        """0 for a gain that can be told, 1 for what cannot be told, 2 for a loss that can."""
        return 1 if not self.told else 0 if self.interval[0] > 0 else 2

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
        """(class, expected from twice its images, measured on it alone): gains that can be told,
        what cannot be told, losses that can, each by the gain. Where a class was not halved alone,
        it is what twice *all* images bring to it."""
        alone = {one.name: one.doubling for one in self.last_halves}
        rows = [
            (one.name, alone.get(one.name, one.doubling), one.name in alone) for one in self.classes
        ]
        return tuple(sorted(rows, key=lambda row: (row[1].rank, -row[1].gain)))

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
    rng = np.random.default_rng(seed)
    sample = CrossedDraws(arms, labels, groups, len(classes), rng, draws)
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
            rng,
            test_images=int((labels == label).sum()),
        )
        curves.append(own)
    balanced = _curve(
        "balanced accuracy",
        counts.sum(axis=1),
        means[:sizes].mean(axis=1),
        whole[:, :sizes],
        rng,
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


def _curve(
    name: str,
    images: Ids,
    recalls: Floats,
    drawn: Floats,
    rng: np.random.Generator,
    *,
    test_images: int,
) -> Curve:
    law = fit_power_law(images, 1 - recalls)
    drawn = _with_misfit(drawn, 1 - recalls - law.error(images), rng)
    laws = fit_power_law(images, 1 - drawn)
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


def _with_misfit(drawn: Floats, rest: Floats, rng: np.random.Generator) -> Floats:
    """The draws with what the law leaves over and the draws do not explain.

    Args:
        drawn: (draws, S) recalls.
        rest: (S,) errors less those of the fitted law. The line through a chosen n^-c takes two
            degrees, so S - 2 are left; c is within bounds and takes hardly one.
    """
    sizes = rest.size
    if sizes < 3:
        return drawn
    # What all sizes have in common moves the curve and bends it nowhere.
    apart = drawn - drawn.mean(axis=1, keepdims=True)
    explained = float(apart.var(axis=0).mean()) * sizes / (sizes - 1)
    misfit = float(np.sum(rest**2)) / (sizes - 2) - explained
    return drawn + rng.normal(0, np.sqrt(max(misfit, 0.0)), drawn.shape)


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
