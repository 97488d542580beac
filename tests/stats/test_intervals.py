"""Intervals: textbook values, and coverage by simulation with bounds far from flaky."""

from __future__ import annotations

import numpy as np
import pytest

from everyclass.errors import InputError
from everyclass.stats import confusion as figures
from everyclass.stats.intervals import (
    accuracy_interval,
    balanced_accuracy_interval,
    f1_intervals,
    paired_balanced_accuracy_gain,
    precision_intervals,
    recall_intervals,
    wilson_interval,
)

DRAWS = 2000


def test_wilson_by_hand() -> None:
    # k = 0, n = 10: high = z^2 / (n + z^2) = 3.8415 / 13.8415.
    np.testing.assert_allclose(wilson_interval(0, 10), [0.0, 3.841459 / 13.841459], atol=1e-6)
    # Brown, Cai and DasGupta's form for 15 of 20.
    np.testing.assert_allclose(wilson_interval(15, 20), [0.531299, 0.888138], atol=1e-5)


def test_the_borders() -> None:
    assert wilson_interval(0, 0).tolist() == [0.0, 1.0]
    assert wilson_interval(7, 7)[1] == 1.0
    assert wilson_interval(0, 7)[0] == 0.0
    with pytest.raises(InputError):
        wilson_interval(8, 7)
    with pytest.raises(InputError):
        wilson_interval(1, 7, level=1.0)


@pytest.mark.parametrize("n", [5, 12, 40])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.85, 0.97])
def test_wilson_covers_exactly_as_often_as_known(n: int, share: float) -> None:
    """Exact coverage, summed over the binomial: Wilson's stays near 95 % on average over p."""
    k = np.arange(n + 1)
    low, high = wilson_interval(k, np.full(n + 1, n)).T
    from math import comb

    mass = np.array([comb(n, i) * share**i * (1 - share) ** (n - i) for i in k])
    covered = mass[(low <= share) & (share <= high)].sum()
    assert covered > 0.83  # its known dips near 0 and 1 at small n
    shares = np.linspace(0.02, 0.98, 97)
    mean = np.mean(
        [
            sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in k if low[i] <= p <= high[i])
            for p in shares
        ]
    )
    assert 0.94 < mean < 0.97


def simulated(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A true joint distribution of (label, prediction), and draws of confusion matrices from it
    at 120 images: recall .9, .6, .2 and priors .6, .3, .1.
    """
    rows = np.array([[0.9, 0.08, 0.02], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]])
    joint = rows * np.array([[0.6], [0.3], [0.1]])
    draws = np.random.default_rng(seed).multinomial(120, joint.ravel(), size=DRAWS)
    return joint, rows, draws.reshape(DRAWS, 3, 3)


def coverage(lows: np.ndarray, highs: np.ndarray, truth: np.ndarray | float) -> np.ndarray:
    return np.mean((lows <= truth) & (truth <= highs), axis=0)


def test_recall_precision_and_f1_cover() -> None:
    joint, _, draws = simulated(0)
    truth = {
        recall_intervals: figures.recall(np.round(joint * 1e6).astype(int)),
        precision_intervals: figures.precision(np.round(joint * 1e6).astype(int)),
        f1_intervals: figures.f1(np.round(joint * 1e6).astype(int)),
    }
    for intervals, expected in truth.items():
        found = np.array([intervals(confusion) for confusion in draws])
        shares = coverage(found[..., 0], found[..., 1], expected)
        # 95 % nominal; the third class has about 12 images. Standard error of the estimate 0.5 %.
        assert (shares > 0.92).all(), (intervals, shares)
        assert (shares < 0.995).all(), (intervals, shares)


def test_balanced_accuracy_covers() -> None:
    _, rows, draws = simulated(1)
    truth = float(np.mean(np.diagonal(rows)))
    found = np.array([balanced_accuracy_interval(confusion) for confusion in draws])
    share = float(coverage(found[:, 0], found[:, 1], truth))
    assert 0.925 < share < 0.99


def test_balanced_accuracy_is_not_certain_of_five_perfect_images() -> None:
    low, high = balanced_accuracy_interval([[5, 0], [0, 5]])
    assert high == 1.0
    assert low < 0.75


def test_accuracy_is_wilson_of_the_trace() -> None:
    assert accuracy_interval([[3, 1], [2, 4]]) == pytest.approx(tuple(wilson_interval(7, 10)))


def test_f1_interval_holds_the_figure_and_is_monotone_in_hits() -> None:
    before = f1_intervals([[5, 5], [5, 85]])[0]
    after = f1_intervals([[8, 2], [2, 88]])[0]
    assert before[0] < figures.f1([[5, 5], [5, 85]])[0] < before[1]
    assert after[0] > before[0]
    assert after[1] > before[1]


def test_paired_gain_by_hand() -> None:
    # Class 0: 4 images, 2 gained; class 1: 4 images, 1 lost. Gain (2/4 - 1/4) / 2 = 1/8.
    targets = [0, 0, 0, 0, 1, 1, 1, 1]
    before = [0, 0, 1, 1, 1, 1, 1, 0]
    after = [0, 0, 0, 0, 1, 1, 0, 0]
    gain, error = paired_balanced_accuracy_gain(targets, before, after, n_classes=2)
    assert gain == pytest.approx(1 / 8)
    # m = 6: (3/6 - (2/6)^2)/6 + (2/6 - (1/6)^2)/6 = 0.06481 + 0.05093; sqrt / 2.
    assert error == pytest.approx(np.sqrt(0.064815 + 0.050926) / 2, abs=1e-5)


def test_paired_gain_of_equal_decisions_is_zero_but_not_certain() -> None:
    gain, error = paired_balanced_accuracy_gain([0, 1], [0, 1], [0, 1], n_classes=2)
    assert gain == 0
    assert error > 0
