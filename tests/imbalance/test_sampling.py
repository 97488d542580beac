from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from everyclass.errors import InputError
from everyclass.imbalance.sampling import epoch_order, rank_share, sampled_prior

label_lists = st.lists(st.integers(0, 4), min_size=1, max_size=60)
powers = st.sampled_from([0.0, 0.5, 0.8, 1.0])


@given(label_lists, st.integers(0, 3), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_natural_sampling_is_a_permutation(labels: list[int], seed: int, epoch: int) -> None:
    order = epoch_order(labels, power=1.0, seed=seed, epoch=epoch)
    assert sorted(order.tolist()) == list(range(len(labels)))


@given(label_lists, powers, st.integers(0, 3), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_draws_of_each_class_follow_the_prior(
    labels: list[int], power: float, seed: int, epochs: int
) -> None:
    ids = np.array(labels)
    counts = np.bincount(ids)
    mass = np.where(counts > 0, counts.astype(float) ** power, 0.0)
    expected = mass / mass.sum() * len(ids) * epochs
    drawn = np.zeros(counts.size)
    for epoch in range(epochs):
        order = epoch_order(labels, power=power, seed=seed, epoch=epoch)
        assert len(order) == len(labels)
        drawn += np.bincount(ids[order], minlength=counts.size)
    assert np.abs(drawn - expected).max() <= 1 + 1e-9
    torch.testing.assert_close(
        sampled_prior(torch.from_numpy(counts), power=power).double(),
        torch.from_numpy(mass / mass.sum()),
        rtol=1e-6,
        atol=1e-7,
    )


@given(label_lists, powers, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_no_image_comes_twice_before_every_one_of_its_class_came_once(
    labels: list[int], power: float, seed: int
) -> None:
    ids = np.array(labels)
    seen = np.zeros(len(ids), dtype=int)
    for epoch in range(4):
        for row in epoch_order(labels, power=power, seed=seed, epoch=epoch):
            seen[row] += 1
            own = seen[ids == ids[row]]
            assert own.max() - own.min() <= 1


@given(label_lists, powers, st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_ranks_together_are_the_epoch(labels: list[int], power: float, world: int) -> None:
    order = epoch_order(labels, power=power, seed=0, epoch=1)
    shares = [rank_share(order, rank=rank, world_size=world) for rank in range(world)]
    assert sorted(np.concatenate(shares).tolist()) == sorted(order.tolist())
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_an_epoch_depends_on_nothing_before_it() -> None:
    labels = np.arange(100) % 3
    alone = epoch_order(labels, power=0.0, seed=7, epoch=5)
    for epoch in range(5):
        epoch_order(labels, power=0.0, seed=7, epoch=epoch)
    np.random.default_rng(0).random(10)
    assert np.array_equal(alone, epoch_order(labels, power=0.0, seed=7, epoch=5))
    assert not np.array_equal(alone, epoch_order(labels, power=0.0, seed=8, epoch=5))
    assert not np.array_equal(alone, epoch_order(labels, power=0.0, seed=7, epoch=6))


def test_the_order_is_the_same_on_every_machine() -> None:
    # Golden: another order here would make runs of older versions impossible to resume exactly.
    labels = [0, 0, 0, 0, 0, 0, 1, 1, 2]
    assert epoch_order(labels, power=0.0, seed=0, epoch=0).tolist() == [6, 8, 0, 8, 2, 7, 8, 7, 1]


def test_classes_are_mixed_not_in_blocks() -> None:
    labels = np.repeat([0, 1], 500)
    order = epoch_order(labels, power=0.0, seed=0, epoch=0)
    changes = int(np.count_nonzero(np.diff(labels[order])))
    # A fair mixture of 1000 changes sides about 500 times (standard deviation 16).
    assert 420 < changes < 580


def test_sampled_prior_by_hand() -> None:
    counts = torch.tensor([900, 100])
    # sqrt: 30 and 10.
    torch.testing.assert_close(sampled_prior(counts, power=0.5), torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(sampled_prior(counts, power=0.0), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(sampled_prior(counts, power=1.0), torch.tensor([0.9, 0.1]))


@pytest.mark.parametrize(
    ("labels", "power", "words"),
    [
        ([], 1.0, "N > 0"),
        ([0, -1], 1.0, "row 1 has label -1"),
        ([0.5, 1.0], 1.0, "whole numbers"),
        ([0, 1], 1.5, "outside \\[0, 1\\]"),
    ],
)
def test_what_cannot_be_sampled(labels: list[float], power: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        epoch_order(labels, power=power, seed=0, epoch=0)
