"""Are classes still given to images as often as expected? A test that may be looked at any time.

Comes in: the confusion matrix of test images and the class frequencies to expect, then the classes
that images are given, one after the other. Goes out: the shares to expect, and wealth against them.
Knows no model and no server.

What is expected. At class frequencies h a model gives class k to the share
q_k = sum_j h_j r_jk of images, r_jk the share of class j's images that it calls k. This is not h_k:
a decision for the highest mean recall calls rare classes more often than they are there. Test
images tell r_jk with an uncertainty, and so q_k with one: an interval (`expected_shares`).

The null, in words: *given the images before it, each image is given class k with a probability
inside k's interval, for every k*. It does not ask for independent images, nor for the same
probability each time. A bet is laid for each class, on either side of its interval, at several odds
(`sequential.share_at_most`), each as a `Detector` that may begin to pay at any round; their mean is
wealth against the null, whose reciprocal is a p-value at any time.

The false-alarm probability is divided: half is the chance that some interval misses the true share,
half that the bets win although none does. Images that differ, with classes given as often as
before, are not seen by this test.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from everyclass.errors import InputError
from everyclass.stats.sequential import Detectors, share_at_least, share_at_most

Floats = NDArray[np.float64]

FALSE_ALARM = 0.01
"""Chance that it ever alarms although images are classified as on test images."""
ROUND_IMAGES = 50
"""Images between two looks: less often, and money would be put in for fewer moments of change."""
ODDS = (1.25, 2.0, 4.0)
"""Of the alternatives that are bet on: a small change, a clear one, another world."""
RECENT_IMAGES = 500
"""Of which an alarm tells the share, at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExpectedShares:
    """How often each class is to be given.

    Attributes:
        classes: C names.
        low, high: (C,) float64 in [0, 1].
        images: test images behind them.
    """

    classes: tuple[str, ...]
    low: Floats
    high: Floats
    images: int


def expected_shares(
    confusion: ArrayLike,
    prior: ArrayLike,
    *,
    classes: tuple[str, ...],
    level: float = FALSE_ALARM / 2,
) -> ExpectedShares:
    """The share of images that are given each class where classes are as frequent as `prior`.

    Let Y = sum_j h_j r_jk by the counts of the N test images, so that an image of class j carries
    b_j = h_j / n_j, at most b. Y / b is a sum of N independent numbers in [0, 1], and so
    P(Y >= y) <= exp(-N KL(y / (N b), q / (N b))) for y >= q, likewise below, with KL of two coins:
    the interval holds the q for which that bound is at least level / 2C. It is exact about its
    error for any counts; where classes are as frequent among test images as in the prior, N b = 1,
    and it is that of a share of N images. What a class without test images is called is not known:
    its whole frequency is allowed, or none of it.

    Args:
        confusion: (C, C) counts, row = target, column = prediction.
        prior: (C,) frequencies, summing to 1.
        classes: C names.
        level: chance that any of the intervals misses, divided evenly.
    Raises:
        InputError: shapes do not match.
    Source: Hoeffding 1963, "Probability inequalities for sums of bounded random variables",
        theorem 1, (2.1).
    """
    matrix, shares = np.asarray(confusion, dtype=np.float64), np.asarray(prior, dtype=np.float64)
    n_classes = len(classes)
    if matrix.shape != (n_classes, n_classes) or shares.shape != (n_classes,):
        raise InputError(
            f"A confusion matrix of shape {matrix.shape} and {shares.size} frequencies do not fit "
            f"{n_classes} classes."
        )
    support = matrix.sum(axis=1)
    each = np.where(support > 0, shares / np.maximum(support, 1.0), 0.0)
    told = each @ matrix
    scale = max(float(support.sum() * each.max()), 1.0)  # N b; 1 also where no image tells anything
    low, high = _chernoff(told / scale, int(support.sum()), bound=math.log(2 * n_classes / level))
    unknown = np.where(support > 0, 0.0, shares)
    return ExpectedShares(
        classes=classes,
        low=np.clip(scale * low, 0.0, 1.0),
        high=np.clip(scale * high + unknown.sum(), 0.0, 1.0),
        images=int(support.sum()),
    )


def _chernoff(shares: Floats, images: int, *, bound: float) -> tuple[Floats, Floats]:
    """The lowest and highest p with images * KL(share, p) <= bound, by bisection."""

    def inside(p: Floats) -> NDArray[np.bool_]:
        p = np.clip(p, 1e-15, 1 - 1e-15)
        with np.errstate(divide="ignore", invalid="ignore"):
            hits = np.where(shares > 0, shares * np.log(shares / p), 0.0)
            misses = np.where(shares < 1, (1 - shares) * np.log((1 - shares) / (1 - p)), 0.0)
        return np.asarray(images * (hits + misses) <= bound)

    ends = []
    for far in (0.0, 1.0):
        near, beyond = shares.copy(), np.full_like(shares, far)
        for _ in range(50):
            middle = (near + beyond) / 2
            fits = inside(middle)
            near, beyond = np.where(fits, middle, near), np.where(fits, beyond, middle)
        ends.append(beyond)
    return ends[0], ends[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """That classes are no longer given as often as expected.

    Args:
        image: the number of images that had been served when it was seen.
        name: the class that shows it most.
        more: whether it is given more often than expected, or less.
        share: of that class among the `recent` last images then, as many as show it best.
        low, high: what was expected.
        p_value: against the null of the module docstring, valid at any time.
    """

    image: int
    name: str
    more: bool
    share: float
    recent: int
    low: float
    high: float
    p_value: float

    @property
    def sentence(self) -> str:
        """What was seen, in words."""
        return (
            f"'{self.name}' is given {'more' if self.more else 'less'} often than expected: to "
            f"{self.share:.3f} of the last {self.recent:,} images, where {self.low:.3f} to "
            f"{self.high:.3f} was expected (p = {self.p_value:.1g}, seen after {self.image:,} "
            "images)."
        )


class DriftTest:
    """Classes as they are given, against the shares expected of them.

    Memory does not grow with the number of images.

    Args:
        expected: from `expected_shares`.
        level: chance that the bets ever win although every class is given as often as expected.
    """

    def __init__(self, expected: ExpectedShares, *, level: float = FALSE_ALARM / 2) -> None:
        n_classes = len(expected.classes)
        self.expected = expected
        self.served: NDArray[np.int64] = np.zeros(n_classes, dtype=np.int64)
        self.alarm: Drift | None = None
        self._level = level
        self._round: NDArray[np.int64] = np.zeros(n_classes, dtype=np.int64)
        self._recent: deque[int] = deque(maxlen=RECENT_IMAGES)
        self._bets = Detectors((len(ODDS), 2, n_classes))
        self._largest = 0.0

    @property
    def p_value(self) -> float:
        """The smallest so far, in (0, 1]: the chance under the null of ever seeing one as small is
        at most itself."""
        return min(1.0, 1.0 / self._largest) if self._largest > 0 else 1.0

    def add(self, given: int) -> Drift | None:
        """Take one image in.

        Args:
            given: id of the class that it was given.
        Returns:
            The alarm, at the image at which it is first raised; otherwise None.
        """
        self.served[given] += 1
        self._round[given] += 1
        self._recent.append(given)
        n = int(self._round.sum())
        if n < ROUND_IMAGES:
            return None
        odds = np.asarray(ODDS)[:, None]
        above = share_at_most(self._round, n, share=self.expected.high, odds=odds)
        below = share_at_least(self._round, n, share=self.expected.low, odds=odds)
        self._bets.update(np.stack([above, below], axis=1))
        self._round[:] = 0
        self._largest = max(self._largest, float(self._bets.wealth.mean()))
        if self.alarm is not None or self._largest < 1 / self._level:
            return None
        self.alarm = self._seen()
        return self.alarm

    def _seen(self) -> Drift:
        _, side, k = np.unravel_index(self._bets.wealth.argmax(), self._bets.wealth.shape)
        low, high = float(self.expected.low[k]), float(self.expected.high[k])
        hits = np.cumsum(np.fromiter(reversed(self._recent), dtype=np.int64) == k)
        shares = hits / np.arange(1, hits.size + 1)
        # As many of the last images as show it best, whole rounds: the change may be a late one.
        ends = np.arange(ROUND_IMAGES, hits.size + 1, ROUND_IMAGES) - 1
        beyond = shares[ends] - high if side == 0 else low - shares[ends]
        end = int(ends[(beyond * np.sqrt(ends + 1)).argmax()])
        return Drift(
            image=int(self.served.sum()),
            name=self.expected.classes[k],
            more=bool(side == 0),
            share=float(shares[end]),
            recent=end + 1,
            low=low,
            high=high,
            p_value=self.p_value,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: what is expected, what was served, the p-value, the alarm."""
        n = int(self.served.sum())
        expected = self.expected
        return {
            "null": null_of(expected),
            "images": n,
            "p_value": self.p_value,
            "level": self._level,
            "alarm": None if self.alarm is None else self.alarm.sentence,
            "classes": [
                {
                    "name": name,
                    "served": int(self.served[k]),
                    "expected_low": float(expected.low[k]),
                    "expected_high": float(expected.high[k]),
                }
                for k, name in enumerate(expected.classes)
            ],
        }


def null_of(expected: ExpectedShares) -> str:
    """The null of the test, in words for who reads its p-value."""
    return (
        "Given the images before it, each image is given each class with a probability inside the "
        "class's interval: how often the model gives it at the expected class frequencies, as "
        f"{expected.images:,} test images tell. The p-value is valid at any time; where images are "
        f"classified as test images are, an alarm is ever raised with a probability of at most "
        f"{FALSE_ALARM:g}."
    )
