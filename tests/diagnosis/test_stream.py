"""The test of the stream's order: its level by simulation, its power, and what it leaves alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad

from everyclass.diagnosis.causes.stream import LEVEL, bet_on_small, stream_test

SHARES = np.array([0.6, 0.25, 0.1, 0.05])


def counts_of(labels: NDArray[np.int64], batch_size: int = 16) -> list[list[int]]:
    n_classes = int(labels.max()) + 1
    rows = labels[: len(labels) // batch_size * batch_size].reshape(-1, batch_size)
    return [np.bincount(row, minlength=n_classes).tolist() for row in rows]


def drawn(seed: int, n: int = 320) -> NDArray[np.int64]:
    return np.random.default_rng(seed).choice(len(SHARES), size=n, p=SHARES)


def test_the_bet_has_mean_one_under_uniform_p() -> None:
    # f diverges at 0 as 1 / (p ln(p)^2), whose integral to e is -1/ln e; the rest by quadrature.
    low = 1e-8
    body, _ = quad(bet_on_small, low, 1, limit=400, points=[1e-6, 1e-4, 1e-2])
    tail, _ = quad(lambda k: low**k, 0, 1)  # the integral of k p^(k-1) over p < low is low^k
    assert body + tail == pytest.approx(1.0, abs=1e-4)


def test_shuffled_streams_reach_the_level_no_more_often_than_stated() -> None:
    runs, level = 600, 0.05
    reached = 0
    for seed in range(runs):
        labels = np.repeat(np.arange(4), [120, 60, 30, 14])  # without replacement: an epoch
        labels = np.random.default_rng(seed).permutation(labels)
        reached += stream_test(counts_of(labels), draws=49, seed=seed).wealth >= 1 / level
    # A binomial of mean 30 and deviation 5.3 at the stated level.
    assert reached <= runs * level + 3 * math.sqrt(runs * level * (1 - level))


def test_a_drawn_stream_is_not_accused() -> None:
    tests = [stream_test(counts_of(drawn(seed))) for seed in range(40)]
    assert not any(test.is_sorted for test in tests)
    assert abs(np.mean([test.excess for test in tests])) < 0.02


@pytest.mark.parametrize("per_class", [40, 200, 1500])
def test_a_sorted_file_is_found(per_class: int) -> None:
    test = stream_test(counts_of(np.repeat(np.arange(6), per_class)))
    assert test.is_sorted
    assert test.wealth > 1e6
    assert test.excess > 0.7


def test_a_buffer_too_small_to_mix_is_found() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 100)
    buffered = np.concatenate([rng.permutation(part) for part in np.split(labels, 20)])
    assert stream_test(counts_of(buffered)).is_sorted


def test_sorted_batches_in_shuffled_order_are_found() -> None:
    rows = np.array(counts_of(np.repeat(np.arange(4), 160)))
    assert stream_test(np.random.default_rng(0).permutation(rows).tolist()).is_sorted


def test_evened_out_batches_pass() -> None:
    test = stream_test([[4, 4, 4, 4]] * 100)
    assert not test.is_sorted
    assert test.excess < 0


def test_repeated_augmentation_is_left_alone() -> None:
    # Each image three times in its batch: not exchangeable, and no fault.
    labels = np.repeat(np.random.default_rng(0).integers(0, 10, size=1600), 3)
    test = stream_test(counts_of(labels, batch_size=48))
    assert test.wealth > 1 / LEVEL
    assert not test.is_sorted


def test_single_images_are_joined_into_windows() -> None:
    sorted_rows = counts_of(np.repeat(np.arange(4), 100), batch_size=1)
    shuffled = np.random.default_rng(1).permutation(np.array(sorted_rows)).tolist()
    assert stream_test(sorted_rows).is_sorted
    assert stream_test(sorted_rows).windows == 50
    assert not stream_test(shuffled).is_sorted


def test_the_answer_does_not_depend_on_the_classes_names() -> None:
    rows = counts_of(np.repeat(np.arange(4), 100))
    renamed = [[row[c] for c in (2, 0, 3, 1)] for row in rows]
    one, other = stream_test(rows), stream_test(renamed)
    assert one.excess == pytest.approx(other.excess)
    assert one.is_sorted == other.is_sorted
