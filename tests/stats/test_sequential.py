"""Sequential tests: hand-computed factors, the wealth's arithmetic, and the level by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everyclass.stats.sequential import Detector, Detectors, at_least, at_most, spending


def test_factors_by_hand() -> None:
    # l = 0.9 / (1 - 0.1) = 1: 1 + (0.1 - 0) = 1.1 and 1 + (0.1 - 0.5) = 0.6; cut at 1: 0.1.
    assert at_least([0.0, 0.5, 7.0], mean=0.1, low=0, high=1) == pytest.approx([1.1, 0.6, 0.1])
    # The mirror: l = 0.9 / 0.1 = 9: 1 + 9 (0 - 0.1) = 0.1 and 1 + 9 (0.5 - 0.1) = 4.6.
    assert at_most([0.0, 0.5], mean=0.1, low=0, high=1) == pytest.approx([0.1, 4.6])


@given(
    st.lists(st.floats(-3, 3), min_size=1, max_size=20),
    st.floats(-0.9, 0.9),
)
def test_factors_are_never_negative_and_fair(scores: list[float], mean: float) -> None:
    for make in (at_least, at_most):
        assert (make(scores, mean=mean, low=-1, high=1) > 0).all()
        # Two points at the ends with the null's mean: the expectation is exactly 1.
        p = (mean + 1) / 2
        low, high = make([-1.0, 1.0], mean=mean, low=-1, high=1)
        assert (1 - p) * low + p * high == pytest.approx(1)


def test_spending_sums_to_what_is_laid_out() -> None:
    assert spending(np.arange(1, 100_000)).sum() == pytest.approx(0.8, abs=1e-4)


def test_wealth_by_hand() -> None:
    detector = Detector()
    detector.update(2.0)  # 2 (0 + 0.8 / 2) = 0.8
    assert detector.wealth == pytest.approx(0.8)
    detector.update(3.0)  # 3 (0.8 + 0.8 / 6) = 2.8
    assert detector.wealth == pytest.approx(2.8)
    detector.update(0.0)
    assert detector.wealth == 0
    assert detector.largest == pytest.approx(2.8)
    assert detector.crossed(1 / 2.79)
    assert not detector.crossed(1 / 2.81)


def test_tests_that_do_not_take_part_stay() -> None:
    detector = Detectors((2,))
    detector.update([2.0, 2.0], where=[True, False])
    assert detector.wealth.tolist() == [0.8, 0.0]
    detector.update([2.0, 2.0])
    # The second takes its first step now, and puts in 0.4 as the first did before.
    assert detector.wealth == pytest.approx([2 * (0.8 + 0.8 / 6), 0.8])


def test_restart_forgets_the_wealth_and_keeps_the_time() -> None:
    detector = Detectors((2,))
    detector.update([5.0, 5.0])
    detector.restart(where=[True, False])
    assert detector.crossed(0.5).tolist() == [False, True]
    detector.update([1.0, 1.0])
    assert detector.wealth == pytest.approx([0.8 / 6, 2 + 0.8 / 6])


@pytest.mark.parametrize("mean", [0.05, 0.1, 0.5])
def test_level_holds_over_a_long_run(mean: float) -> None:
    """2,000 null runs of 2,000 steps at level 5 %: far fewer than 5 % + 4 sd may alarm."""
    rng = np.random.default_rng(0)
    detector = Detectors((2000,))
    for _ in range(2000):
        detector.update(at_least(rng.random(2000) < mean, mean=mean, low=0, high=1))
    share = detector.crossed(0.05).mean()
    assert share <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 2000)


def test_a_late_change_is_found() -> None:
    rng = np.random.default_rng(1)
    detector = Detectors((200,))
    for _ in range(500):
        detector.update(at_least(rng.random(200) < 0.4, mean=0.1, low=0, high=1))
    assert not detector.crossed(0.004).any()
    # ln(250 * 501 * 502 / 0.8) / ln(1.1) = 191 steps without a single hit.
    for _ in range(192):
        detector.update(at_least(np.zeros(200), mean=0.1, low=0, high=1))
    assert detector.crossed(0.004).all()


def test_one_number_and_an_array_of_one_are_the_same() -> None:
    one, array = Detector(), Detectors((1,))
    for score in np.random.default_rng(0).normal(size=500):
        one.update(at_most(float(score), mean=0.1, low=-1.0, high=1.0))
        array.update(at_most([score], mean=0.1, low=-1.0, high=1.0))
        assert (one.wealth, one.largest, one.steps) == (
            array.wealth[0],
            array.largest[0],
            array.steps[0],
        )
