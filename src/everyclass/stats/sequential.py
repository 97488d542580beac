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


def at_least(scores: ArrayLike | float, *, mean: float, low: float, high: float) -> Floats:
    """Factors against the null "given the past, the score's mean is at least `mean`".

    The score X is first cut to [low, high], and the null is about the cut score. The factor is
    1 + l (mean - X) with l = BOLDNESS / (high - mean): never negative, as X <= high, and of
    expectation at most 1 under the null, as l > 0 (Waudby-Smith and Ramdas 2024,
    arXiv:2010.09686, section 4).

    Args:
        scores: any shape.
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
        cut_one = min(max(scores, low), high)
        return np.asarray(1 + BOLDNESS / (high - mean) * (mean - cut_one))
    cut = np.clip(np.asarray(scores, dtype=np.float64), low, high)
    return 1 + BOLDNESS / (high - mean) * (mean - cut)


def at_most(scores: ArrayLike | float, *, mean: float, low: float, high: float) -> Floats:
    """Factors against the null "given the past, the score's mean is at most `mean`".

    The mirror image of `at_least`: 1 + l (X - mean) with l = BOLDNESS / (mean - low).
    """
    mirrored = -scores if isinstance(scores, float) else -np.asarray(scores, dtype=np.float64)
    return at_least(mirrored, mean=-mean, low=-high, high=-low)


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
        shape: of the wealth: () for one test, (C,) for one a class, (runs,) in simulations.
    """

    shape: tuple[int, ...] = ()
    wealth: Floats = field(init=False)
    largest: Floats = field(init=False)
    steps: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.wealth = np.zeros(self.shape)
        self.largest = np.zeros(self.shape)
        self.steps = np.zeros(self.shape, dtype=np.int64)

    def update(self, factors: ArrayLike, *, where: ArrayLike | None = None) -> None:
        """Take one step in.

        Args:
            factors: e_t, of the detector's shape.
            where: which of the tests take a step, all when left out. What decides this must be
                known before the step; the others stay as they are.
        """
        if not self.shape and where is None:
            self._update_one(float(np.asarray(factors)))
            return
        chosen = True if where is None else where
        mask = np.broadcast_to(np.asarray(chosen, dtype=bool), self.shape)
        steps = self.steps + mask
        grown = np.asarray(factors) * (self.wealth + spending(np.maximum(steps, 1)))
        self.steps = steps
        self.wealth = np.where(mask, np.minimum(grown, MOST_WEALTH), self.wealth)
        self.largest = np.maximum(self.largest, self.wealth)

    def _update_one(self, factor: float) -> None:
        """The same in plain numbers: a monitor has five such tests a round."""
        step = int(self.steps) + 1
        wealth = min(factor * (float(self.wealth) + MONEY / (step * (step + 1))), MOST_WEALTH)
        self.steps = np.asarray(step)
        self.wealth = np.asarray(wealth)
        self.largest = np.asarray(max(float(self.largest), wealth))

    def crossed(self, level: ArrayLike) -> NDArray[np.bool_]:
        """Whether the wealth ever reached 1 / level, for each test."""
        return np.asarray(self.largest >= 1 / np.asarray(level, dtype=np.float64))

    def restart(self, *, where: ArrayLike = True) -> None:
        """Forget the wealth, not the steps: money put in later stays as little as it was.

        Losing wealth keeps the supermartingale one, so the level holds for all alarms together.
        """
        mask = np.broadcast_to(np.asarray(where, dtype=bool), self.shape)
        self.wealth = np.where(mask, 0.0, self.wealth)
        self.largest = np.where(mask, 0.0, self.largest)
