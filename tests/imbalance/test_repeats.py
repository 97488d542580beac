"""Repeat-factor and progressive orders: exact shares, every image, pure, divided among ranks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from everyclass.errors import InputError
from everyclass.imbalance.repeats import (
    repeat_factor_order,
    repeat_factor_prior,
    repeat_factors,
)
from everyclass.imbalance.sampling import (
    epoch_order,
    progressive_order,
    progressive_power,
    rank_share,
    sampled_prior,
)

class_sizes = st.lists(st.integers(0, 30), min_size=1, max_size=7).filter(lambda s: sum(s) > 0)


def shuffled_labels(sizes: list[int]) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))


def test_factors_by_hand() -> None:
    # The table of a set with 7 classes: t = 1/7, N = 5,984; sqrt(5984/(7 x 60)) = 3.77.
    counts = torch.tensor([4323, 583, 491, 264, 183, 80, 60])
    expected = torch.tensor([1, 1.21, 1.32, 1.80, 2.16, 3.27, 3.77])
    torch.testing.assert_close(repeat_factors(counts), expected, rtol=0, atol=0.005)
    low = torch.tensor([1, 1, 1, 1.06, 1.28, 1.93, 2.23])
    torch.testing.assert_close(repeat_factors(counts, threshold=0.05), low, rtol=0, atol=0.005)
    mass = counts * repeat_factors(counts)
    torch.testing.assert_close(repeat_factor_prior(counts), mass / mass.sum())
    torch.testing.assert_close(repeat_factors(torch.tensor([5, 0, 5])), torch.ones(3))


@settings(max_examples=80, deadline=None)
@given(class_sizes, st.integers(0, 4), st.integers(-5, 2**70))
def test_every_image_comes_in_every_epoch_and_classes_have_their_shares(
    sizes: list[int], epochs: int, seed: int
) -> None:
    labels = shuffled_labels(sizes)
    factors = repeat_factors(torch.tensor(sizes)).double().numpy()
    visits: Counter[int] = Counter()
    for epoch in range(epochs + 1):
        order = repeat_factor_order(labels, seed=seed, epoch=epoch)
        visits.update(order.tolist())
        drawn = np.bincount(labels[order], minlength=len(sizes))
        assert np.all(np.abs(drawn - sizes * factors) < 1 + 1e-3)
    for c, size in enumerate(sizes):
        each = [visits[row] for row in np.flatnonzero(labels == c)]
        assert not each or max(each) - min(each) <= 1
        assert abs(sum(each) - (epochs + 1) * size * factors[c]) <= 1 + 1e-3
    assert np.array_equal(order, repeat_factor_order(labels, seed=seed, epoch=epochs))


def test_a_class_that_is_not_repeated_comes_once_an_epoch() -> None:
    labels = shuffled_labels([200, 120, 4])
    for epoch in range(6):
        order = repeat_factor_order(labels, seed=3, epoch=epoch)
        for c in (0, 1):
            drawn = sorted(row for row in order if labels[row] == c)
            assert drawn == np.flatnonzero(labels == c).tolist()


def test_an_epoch_of_n_draws_keeps_the_shares() -> None:
    sizes = [200, 30, 4]
    labels = shuffled_labels(sizes)
    prior = repeat_factor_prior(torch.tensor(sizes)).double().numpy()
    drawn = np.zeros(3)
    for epoch in range(5):
        order = repeat_factor_order(labels, seed=0, epoch=epoch, draws=234)
        assert order.size == 234
        drawn += np.bincount(labels[order])
    assert np.all(np.abs(drawn - 5 * 234 * prior) <= 1 + 1e-3)
    with pytest.raises(InputError, match=r"2 draws leave 0\.13"):
        repeat_factor_order(labels, seed=0, epoch=0, draws=2)


@settings(max_examples=60, deadline=None)
@given(class_sizes, st.integers(1, 6))
def test_progressive_epochs_have_the_prior_of_their_power(sizes: list[int], epochs: int) -> None:
    labels, total = shuffled_labels(sizes), np.zeros(len(sizes))
    visits: Counter[int] = Counter()
    wished = np.zeros(len(sizes))
    for epoch in range(epochs):
        order = progressive_order(labels, epochs=epochs, seed=1, epoch=epoch)
        assert order.size == labels.size
        power = progressive_power(epoch, epochs=epochs)
        prior = sampled_prior(torch.tensor(sizes), power=power).double().numpy()
        drawn = np.bincount(labels[order], minlength=len(sizes))
        assert np.all(np.abs(drawn - labels.size * prior) < 2 + 1e-3)
        total += drawn
        wished += labels.size * prior
        visits.update(order.tolist())
    assert np.all(np.abs(total - wished) <= 1 + 1e-3)
    for c in range(len(sizes)):  # rounds went on while the power changed
        each = [visits[row] for row in np.flatnonzero(labels == c)]
        assert not each or max(each) - min(each) <= 1


def test_progressive_goes_from_natural_to_balanced() -> None:
    labels = shuffled_labels([60, 30, 10])
    assert [progressive_power(e, epochs=5) for e in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert progressive_power(0, epochs=1) == 0
    first = progressive_order(labels, epochs=5, seed=0, epoch=0)
    assert np.array_equal(first, epoch_order(labels, power=1.0, seed=0, epoch=0))
    last = np.bincount(labels[progressive_order(labels, epochs=5, seed=0, epoch=4)])
    assert np.all(np.abs(last - 100 / 3) < 2)
    with pytest.raises(InputError, match="outside 0 to 4"):
        progressive_order(labels, epochs=5, seed=0, epoch=5)


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_union_over_ranks_is_the_epoch(world_size: int) -> None:
    labels = shuffled_labels([60, 30, 10])
    for order in (
        repeat_factor_order(labels, seed=0, epoch=2),
        progressive_order(labels, epochs=5, seed=0, epoch=2),
    ):
        parts = [rank_share(order, rank=r, world_size=world_size) for r in range(world_size)]
        assert Counter(np.concatenate(parts).tolist()) == Counter(order.tolist())


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match="threshold is 0"):
        repeat_factors(torch.tensor([1, 2]), threshold=0)
    with pytest.raises(InputError, match="not all 0"):
        repeat_factor_prior(torch.tensor([0, 0]))
    with pytest.raises(InputError, match="epoch is -1"):
        repeat_factor_order([0, 1], seed=0, epoch=-1)
    with pytest.raises(InputError, match="row 1 has label -1"):
        repeat_factor_order([0, -1], seed=0, epoch=0)
