"""Offsets of the classes: brute force as the oracle, and luck that must not count."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from everyclass.errors import InputError
from everyclass.imbalance.offsets import best_offsets, find_offsets
from everyclass.stats.confusion import balanced_accuracy, confusion_matrix


def score(values: np.ndarray, rows: np.ndarray, offsets: np.ndarray) -> float:
    decided = (values + offsets).argmax(axis=1)
    return balanced_accuracy(confusion_matrix(rows, decided, n_classes=values.shape[1]))


def shifted(sizes: list[int], shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that know the class somewhat, with the first class raised."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    values = rng.normal(size=(rows.size, len(sizes)))
    values[np.arange(rows.size), rows] += 2.0
    values[:, 0] += shift
    return values, rows


@pytest.mark.parametrize("seed", range(8))
def test_two_classes_get_the_best_there_is(seed: int) -> None:
    values, rows = shifted([12, 7], 2.0, seed)
    found = best_offsets(values, rows)
    grid = (score(values, rows, np.array([0.0, b])) for b in np.linspace(-9, 9, 3601))
    assert score(values, rows, found) == pytest.approx(max(grid))
    assert found.sum() == pytest.approx(0)


@pytest.mark.parametrize("seed", range(4))
def test_three_classes_come_near_the_best_of_a_grid(seed: int) -> None:
    values, rows = shifted([20, 10, 8], 2.0, seed)
    found = best_offsets(values, rows)
    axis = np.linspace(-5, 5, 41)
    best = max(score(values, rows, np.array([0, a, b])) for a, b in itertools.product(axis, axis))
    assert score(values, rows, found) >= best - 0.04
    for c in range(3):  # no single change improves it
        for b in np.linspace(-5, 5, 201):
            moved = found.copy()
            moved[c] += b
            assert score(values, rows, moved) <= score(values, rows, found) + 1e-9


def test_a_real_shift_is_found_and_kept() -> None:
    values, rows = shifted([300, 300, 300], 3.0)
    found = find_offsets(torch.from_numpy(values), torch.from_numpy(rows))
    assert found.values == found.found
    assert found.gain > 0.1
    relative = np.array(found.values) - found.values[0]
    np.testing.assert_allclose(relative, [0, 3, 3], atol=0.6)
    assert "so they are kept" in found.sentence


def test_the_luck_of_a_few_images_is_not_kept() -> None:
    # No shift to find: on the same images offsets look better, on others they are not.
    kept = 0
    for seed in range(20):
        values, rows = shifted([60, 6, 6, 6], 0.0, seed)
        found = find_offsets(torch.from_numpy(values), torch.from_numpy(rows))
        assert score(values, rows, np.array(found.found)) >= score(values, rows, np.zeros(4))
        kept += found.values == found.found and any(found.found)
    assert kept <= 3


def test_a_right_decision_and_nothing_at_all() -> None:
    rows = torch.arange(3).repeat(10)
    sure = 5.0 * torch.eye(3)[rows]
    assert find_offsets(sure, rows).found == (0.0, 0.0, 0.0)
    nothing = find_offsets(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert nothing.values == (0.0, 0.0, 0.0)
    with pytest.raises(InputError, match=r"\(N, C\) logits"):
        find_offsets(sure, rows[:3])
    with pytest.raises(InputError, match="NaN"):
        find_offsets(sure / 0, rows)
