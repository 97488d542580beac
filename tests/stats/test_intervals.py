"""Intervals: known values, exact coverage by summation, coverage by simulation, edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everyclass.errors import InputError
from everyclass.stats import confusion as figures
from everyclass.stats.intervals import (
    accuracy_interval,
    balanced_accuracy_interval,
    f1_intervals,
    mean_interval,
    paired_balanced_accuracy_gain,
    precision_intervals,
    recall_intervals,
    wilson_interval,
)

Z = 1.959963984540054


def test_wilson_by_hand() -> None:
    # 0 of 10: low 0, high z^2/(n + z^2) = 3.8415/13.8415 = 0.27753.
    np.testing.assert_allclose(wilson_interval(0, 10), [0, Z**2 / (10 + Z**2)])
    # 5 of 10: 0.5 -+ (z/2) / sqrt(n + z^2) = 0.5 -+ 0.98/3.7204 = 0.23659, 0.76341.
    np.testing.assert_allclose(wilson_interval(5, 10), [0.23659, 0.76341], atol=1e-5)
    # 81 of 263: Newcombe 1998 (Two-sided confidence intervals for the single proportion), table I
    # method 3, prints 0.2553 to 0.3662.
    np.testing.assert_allclose(wilson_interval(81, 263), [0.2553, 0.3662], atol=5e-5)


def test_wilson_ends_do_not_reject_the_share() -> None:
    # Oracle: each end p solves |k/n - p| = z sqrt(p(1 - p)/n), the score test.
    for k, n in [(1, 7), (3, 20), (19, 20), (400, 1000)]:
        for end in wilson_interval(k, n):
            assert abs(k / n - end) == pytest.approx(Z * math.sqrt(end * (1 - end) / n))


@given(st.integers(0, 500), st.integers(0, 500), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_wilson_contains_the_share_and_stays_inside(a: int, b: int, level: float) -> None:
    k, n = min(a, b), max(a, b)
    low, high = wilson_interval(k, n, level=level)
    assert 0 <= low <= high <= 1
    if n:
        assert low <= k / n <= high
    assert (low == 0) == (k == 0)
    assert (high == 1) == (k == n)


def test_nothing_seen_is_nothing_known() -> None:
    np.testing.assert_array_equal(wilson_interval([0, 1], [0, 1])[0], [0, 1])
    empty = np.zeros((2, 2), dtype=np.int64)
    assert accuracy_interval(empty) == (0, 1)
    assert balanced_accuracy_interval(empty) == (0, 1)
    np.testing.assert_array_equal(recall_intervals(empty), [[0, 1], [0, 1]])


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 2)])
def test_impossible_counts_are_refused(k: int, n: int) -> None:
    with pytest.raises(InputError, match="0 <= successes <= trials"):
        wilson_interval(k, n)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_an_impossible_level_is_refused(level: float) -> None:
    with pytest.raises(InputError, match="level is"):
        wilson_interval(1, 2, level=level)


def test_wilson_coverage_is_95_percent_on_average() -> None:
    # Exact, by summing the binomial over k for 199 true shares: the mean coverage over shares is
    # within a percent of the level at each n, and no share gets less than 0.83 (near p = 0.02 at
    # small n, where the interval is known to dip).
    shares = np.arange(1, 200) / 200
    for n in (5, 10, 20, 50, 200):
        ends = wilson_interval(np.arange(n + 1), np.full(n + 1, n))
        chosen = np.array([math.comb(n, k) for k in range(n + 1)], dtype=np.float64)
        covered = np.array(
            [
                sum(
                    chosen[k] * p**k * (1 - p) ** (n - k)
                    for k in range(n + 1)
                    if ends[k, 0] <= p <= ends[k, 1]
                )
                for p in shares
            ]
        )
        assert 0.94 < covered.mean() < 0.97, n
        assert covered.min() > 0.83, n


def test_coverage_of_recall_precision_f1_and_balanced_accuracy() -> None:
    # Simulation: 1,500 test sets of 400 images from one joint distribution of four classes at
    # 10/20/30/40 %. A coverage of 0.95 has a standard error of 0.0056; the bounds are five away.
    prior = np.array([0.1, 0.2, 0.3, 0.4])
    answers = np.array(
        [
            [0.90, 0.02, 0.03, 0.05],
            [0.1, 0.6, 0.2, 0.1],
            [0.1, 0.1, 0.7, 0.1],
            [0.02, 0.03, 0.05, 0.9],
        ]
    )
    joint = prior[:, None] * answers
    recall = answers.diagonal()
    precision = joint.diagonal() / joint.sum(axis=0)
    f1 = 2 * joint.diagonal() / (joint.sum(axis=0) + joint.sum(axis=1))
    rng = np.random.default_rng(0)
    hits = {"recall": np.zeros(4), "precision": np.zeros(4), "f1": np.zeros(4), "balanced": 0.0}
    repeats = 1500
    for _ in range(repeats):
        matrix = rng.multinomial(400, joint.ravel()).reshape(4, 4)
        for name, truth, ends in (
            ("recall", recall, recall_intervals(matrix)),
            ("precision", precision, precision_intervals(matrix)),
            ("f1", f1, f1_intervals(matrix)),
        ):
            hits[name] += (ends[:, 0] <= truth) & (truth <= ends[:, 1])
        low, high = balanced_accuracy_interval(matrix)
        hits["balanced"] += low <= recall.mean() <= high
    for name, count in hits.items():
        coverage = np.asarray(count) / repeats
        assert np.all(coverage > 0.92), (name, coverage)
        assert np.all(coverage < 0.98), (name, coverage)


def test_balanced_accuracy_coverage_with_few_images_and_high_recall() -> None:
    # Simulation, the case that matters: rare classes of 5 and 8 images, recalls near 1. A normal
    # interval with the estimated variance has width 0 whenever all are right, which happens in a
    # fifth of these sets. 2,000 sets, standard error 0.005.
    rng = np.random.default_rng(1)
    counts, recalls = np.array([5, 8, 60]), np.array([0.95, 0.9, 0.99])
    hits, normal_hits, repeats = 0, 0, 2000
    for _ in range(repeats):
        right = rng.binomial(counts, recalls)
        matrix = np.diag(right)
        matrix[:, 2] += counts - right  # all mistakes go to the large class
        matrix[2, :] = [counts[2] - right[2], 0, right[2]]
        low, high = balanced_accuracy_interval(matrix)
        hits += low <= recalls.mean() <= high
        shares = right / counts
        half = Z * np.sqrt(np.sum(shares * (1 - shares) / counts)) / 3
        normal_hits += abs(shares.mean() - recalls.mean()) <= half
    assert 0.9 < hits / repeats <= 1
    assert normal_hits / repeats < 0.85


def test_f1_interval_is_the_mapped_jaccard_interval() -> None:
    # Class 0: TP 6, FP 3, FN 2: J = 6/11, F1 = 12/17. Wilson for 6 of 11, mapped by 2J/(1 + J).
    matrix = np.array([[6, 1, 1], [3, 1, 0], [0, 0, 0]])
    low, high = wilson_interval(6, 11)
    np.testing.assert_allclose(
        f1_intervals(matrix)[0], [2 * low / (1 + low), 2 * high / (1 + high)]
    )
    f1 = figures.f1(matrix)
    intervals = f1_intervals(matrix)
    assert np.all((intervals[:, 0] <= f1) & (f1 <= intervals[:, 1]))


def test_balanced_accuracy_of_one_class_is_wilson() -> None:
    matrix = np.array([[7, 3], [0, 0]])
    np.testing.assert_allclose(balanced_accuracy_interval(matrix), wilson_interval(7, 10))


def test_balanced_accuracy_by_hand() -> None:
    # Recalls 1 (10 of 10: Wilson 0.72247 to 1) and 0 (0 of 10: 0 to 0.27753): mean 0.5, below
    # 0.27753/2, above 0.27753/2.
    matrix = np.array([[10, 0], [10, 0]])
    np.testing.assert_allclose(
        balanced_accuracy_interval(matrix), [0.5 - 0.27753 / 2, 0.5 + 0.27753 / 2], atol=1e-5
    )


def test_paired_gain_by_hand() -> None:
    # Class 0 (4 images): two better, none worse. Class 1 (2 images): one worse.
    # Gain: (2/4 - 1/2)/2 = 0. Class 0: m = 6, (2 + 1)/6 - (2/6)^2 = 7/18, over 6: 7/108.
    # Class 1: m = 4, (1 + 1)/4 - (1/4)^2 = 7/16, over 4: 7/64. Root of the sum, over 2.
    targets = [0, 0, 0, 0, 1, 1]
    before = [1, 1, 0, 1, 1, 0]
    after = [0, 0, 0, 1, 0, 0]
    gain, error = paired_balanced_accuracy_gain(targets, before, after, n_classes=3)
    assert gain == 0
    assert error == pytest.approx(math.sqrt(7 / 108 + 7 / 64) / 2)


def test_paired_gain_is_the_difference_of_balanced_accuracies() -> None:
    rng = np.random.default_rng(2)
    targets, before, after = rng.integers(0, 4, (3, 200))
    gain, _ = paired_balanced_accuracy_gain(targets, before, after, n_classes=4)
    scores = [
        figures.balanced_accuracy(figures.confusion_matrix(targets, each, n_classes=4))
        for each in (before, after)
    ]
    assert gain == pytest.approx(scores[1] - scores[0])


def test_paired_error_is_the_spread_of_the_gain() -> None:
    # Simulation: two decisions that agree on 80 % of the images. Over 1,500 sets the reported error
    # is within 10 % of the gain's own spread (whose standard error is 2 %). It would be twice as
    # large if the two were taken for independent.
    rng = np.random.default_rng(3)
    targets = np.repeat([0, 1, 2], [200, 80, 40])
    gains, errors = [], []
    for _ in range(1500):
        before = np.where(rng.random(targets.size) < 0.7, targets, (targets + 1) % 3)
        redone = np.where(rng.random(targets.size) < 0.7, targets, (targets + 1) % 3)
        after = np.where(rng.random(targets.size) < 0.2, redone, before)
        gain, error = paired_balanced_accuracy_gain(targets, before, after, n_classes=3)
        gains.append(gain)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(gains), rel=0.1)


def test_no_change_is_not_certain() -> None:
    # 20 images, none decided otherwise: the next image might be. sqrt(1/22/22) for one class.
    gain, error = paired_balanced_accuracy_gain([0] * 20, [0] * 20, [0] * 20, n_classes=1)
    assert (gain, error) == (0, pytest.approx(1 / 22))


def test_no_images_cannot_decide() -> None:
    assert paired_balanced_accuracy_gain([], [], [], n_classes=2) == (0, math.inf)


def test_the_mean_of_repetitions_has_students_interval() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for size in (2, 3, 5, 20, 40, 200):
        values = rng.uniform(0.4, 0.6, size=size)
        error = values.std(ddof=1) / np.sqrt(size)
        oracle = scipy_stats.t.interval(0.95, size - 1, loc=values.mean(), scale=error)
        expected = (max(oracle[0], 0), min(oracle[1], 1))
        np.testing.assert_allclose(mean_interval(values), expected, atol=2e-4)
    assert mean_interval([0.5]) is None
    with pytest.raises(InputError, match=r"level 0\.95"):
        mean_interval([0.5, 0.6], level=0.9)
