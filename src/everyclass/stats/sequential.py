"""Tests that may be looked at after every step: wealth of a bet against a null.

A null says what is true of a number at every step. Betting on it at its own odds, a player's
wealth has, given the past, an expectation of at most what it was; by Ville's inequality it then
reaches 1/a with probability at most a, however long one looks and whenever one stops. Wealth
above 1/a is therefore evidence against the null at level a, at any time (Ville 1939; Ramdas,
Grünwald, Vovk and Shafer 2023, arXiv:2210.01948).

Comes in: numbers, one a step, and what the null says of them. Goes out: factors and wealth. Every
function works elementwise, so that 10,000 runs are simulated as one array.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

MOST_WEALTH = 1e100
"""Wealth is not counted further: no level is that small, and products must stay finite."""

MONEY = 0.8
"""Of the money that the level allows. The bound is nearly reached under the null (0.42 % of 10,000
simulated runs at a level of 0.40 %), so a fifth is kept back for the level to be seen to hold."""

BOLDNESS = 0.9
"""Share of the largest bet that is laid. At 1 a single contrary step would lose everything."""


@overload
def at_least(scores: float, *, mean: float, low: float, high: float) -> float: ...
@overload
def at_least(scores: ArrayLike, *, mean: float, low: float, high: float) -> Floats: ...
def at_least(scores: ArrayLike | float, *, mean: float, low: float, high: float) -> Floats | float:
    """Factors against the null "given the past, the score's mean is at least `mean`".

    The score X is first cut to [low, high], and the null is about the cut score. The factor is
    1 + l (mean - X) with l = BOLDNESS / (high - mean): never negative, as X <= high, and of
    expectation at most 1 under the null, as l > 0 (Waudby-Smith and Ramdas 2024,
    arXiv:2010.09686, section 4).

    Args:
        scores: any shape; of a plain number the factor is one too.
        mean: of the null, inside (low, high).
        low, high: where the score is cut.
    Returns:
        Factors of the shape of `scores`, at most 1 + BOLDNESS (mean - low) / (high - mean).

    Example:
        >>> at_least([0.0, 0.5], mean=0.1, low=0.0, high=1.0)
        array([1.1, 0.6])
    """
    assert low < mean < high, (low, mean, high)
    if isinstance(scores, float):  # a monitor's round: arrays of one number cost ten times as much
        return 1 + BOLDNESS / (high - mean) * (mean - min(max(scores, low), high))
    cut = np.minimum(np.maximum(np.asarray(scores, dtype=np.float64), low), high)
    return np.asarray(1 + BOLDNESS / (high - mean) * (mean - cut))


@overload
def at_most(scores: float, *, mean: float, low: float, high: float) -> float: ...
@overload
def at_most(scores: ArrayLike, *, mean: float, low: float, high: float) -> Floats: ...
def at_most(scores: ArrayLike | float, *, mean: float, low: float, high: float) -> Floats | float:
    """Factors against the null "given the past, the score's mean is at most `mean`".

    The mirror image of `at_least`: 1 + l (X - mean) with l = BOLDNESS / (mean - low).
    """
    mirrored = -scores if isinstance(scores, float) else -np.asarray(scores, dtype=np.float64)
    return at_least(mirrored, mean=-mean, low=-high, high=-low)


def share_at_most(hits: ArrayLike, images: int, *, share: ArrayLike, odds: ArrayLike) -> Floats:
    """Factors against the null "given those before it, each image is a hit with probability at
    most `share`".

    The likelihood ratio of p against q = share, with p's odds `odds` times those of q:
    (p/q)^hits ((1 - p)/(1 - q))^(images - hits). For one image it is 1 + l (X - q) with
    l = (p - q) / (q (1 - q)) > 0: of expectation at most 1 under the null, and so is a product over
    images. It grows fastest where p is the truth (Kelly 1956).

    Args:
        hits: among `images` consecutive ones; broadcast with `share` and `odds`.
        images: how many.
        share: in [0, 1]. At 0 or 1 nothing can be bet: the factor is 1.
        odds: > 1, of the alternative.

    Example:
        >>> share_at_most([0, 2], 2, share=0.2, odds=4.0)  # p = 0.5
        array([0.390625, 6.25    ])
    """
    k, q, r = np.broadcast_arrays(
        *(np.asarray(one, dtype=np.float64) for one in (hits, share, odds))
    )
    # p = r q / (1 - q + r q): p/q = r / (1 - q + r q), (1 - p)/(1 - q) = 1 / (1 - q + r q).
    log_factor = k * np.log(r) - images * np.log1p((r - 1) * q)
    return np.where((q > 0) & (q < 1), np.exp(log_factor), 1.0)


def share_at_least(hits: ArrayLike, images: int, *, share: ArrayLike, odds: ArrayLike) -> Floats:
    """Factors against the null "given those before it, each image is a hit with probability at
    least `share`": the mirror image of `share_at_most`, about the images that are no hits."""
    misses = images - np.asarray(hits, dtype=np.float64)
    return share_at_most(misses, images, share=1 - np.asarray(share), odds=odds)


def spending(step: ArrayLike) -> Floats:
    """w_t = MONEY / (t (t + 1)) for t = 1, 2, ...: what is put in at each step. Sums to MONEY.

    Example:
        >>> spending([1, 2, 4])
        array([0.4       , 0.13333333, 0.04      ])
    """
    t = np.asarray(step, dtype=np.float64)
    return MONEY / (t * (t + 1))


@dataclass(slots=True)
class Detector:
    """Wealth of a bet that may begin to pay at any step: M_t = e_t (M_{t-1} + w_t).

    Money w_t is put in before each step, sum w_t <= 1 (`spending`). Let N_t be the money not yet
    put in; then M_t + N_t has, under the null, an expectation given the past of at most
    M_{t-1} + w_t + N_t = M_{t-1} + N_{t-1}: a supermartingale that starts at 1 or below. So M
    reaches 1/a with probability at most a over the *whole* run. This is what tells it from the
    e-detector of Shin, Ramdas and Rinaldo (2203.03532), which puts in 1 at each step and bounds
    the mean time between false alarms: such a detector fires sooner or later in every run.

    A change at step s is found about ln(s (s + 1)) / g steps later than one at the start, where g
    is the mean of ln e_t after it.

    Args:
        wealth: M_t.
        largest: the largest M so far since a restart.
        steps: t.
    """

    wealth: float = 0.0
    largest: float = 0.0
    steps: int = 0

    def update(self, factor: float) -> None:
        """Take one step in, with the factor e_t."""
        self.steps += 1
        money = MONEY / (self.steps * (self.steps + 1))
        self.wealth = min(factor * (self.wealth + money), MOST_WEALTH)
        self.largest = max(self.largest, self.wealth)

    def crossed(self, level: float) -> bool:
        """Whether the wealth ever reached 1 / level."""
        return self.largest >= 1 / level

    def restart(self) -> None:
        """Forget the wealth, not the steps: money put in later stays as little as it was.

        Losing wealth keeps the supermartingale one, so the level holds for all alarms together.
        """
        self.wealth = self.largest = 0.0


@dataclass(slots=True)
class Detectors:
    """Many of `Detector` as arrays: one for each class, or for each simulated run.

    Args:
        shape: of the wealth.
    """

    shape: tuple[int, ...]
    wealth: Floats = field(init=False)
    largest: Floats = field(init=False)
    steps: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.wealth = np.zeros(self.shape)
        self.largest = np.zeros(self.shape)
        self.steps = np.zeros(self.shape, dtype=np.int64)

    def update(self, factors: ArrayLike, *, where: ArrayLike = True) -> None:
        """Take one step in.

        Args:
            factors: e_t, of `shape`.
            where: which of the tests take a step. What decides this must be known before the
                step; the others stay as they are.
        """
        mask = np.asarray(where, dtype=bool)
        self.steps = self.steps + mask
        grown = np.asarray(factors) * (self.wealth + spending(np.maximum(self.steps, 1)))
        self.wealth = np.where(mask, np.minimum(grown, MOST_WEALTH), self.wealth)
        self.largest = np.maximum(self.largest, self.wealth)

    def crossed(self, level: float) -> NDArray[np.bool_]:
        """Whether the wealth ever reached 1 / level, for each test."""
        return self.largest >= 1 / level

    def restart(self, *, where: ArrayLike) -> None:
        """Forget the wealth of some tests, see `Detector.restart`."""
        mask = np.asarray(where, dtype=bool)
        self.wealth = np.where(mask, 0.0, self.wealth)
        self.largest = np.where(mask, 0.0, self.largest)
