"""The order of an epoch: pure, exact in its shares, without replacement first."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from everyclass.errors import InputError
from everyclass.imbalance.sampling import (
    SAMPLING_POWERS,
    epoch_order,
    rank_share,
    sampled_prior,
)

# Class sizes, some of them 0 (a class in the names that has no images here).
class_sizes = st.lists(st.integers(0, 30), min_size=1, max_size=7).filter(lambda s: sum(s) > 0)
powers = st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])


def shuffled_labels(sizes: list[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


@settings(max_examples=80, deadline=None)
@given(class_sizes, powers, st.integers(0, 5), st.integers(-5, 2**70))
def test_an_epoch_is_n_draws_of_the_promised_shares(
    sizes: list[int], power: float, epoch: int, seed: int
) -> None:
    labels = shuffled_labels(sizes)
    order = epoch_order(labels, power=power, seed=seed, epoch=epoch)
    assert order.dtype == np.int64
    assert order.shape == labels.shape
    assert order.min() >= 0
    assert order.max() < labels.size
    drawn = np.bincount(labels[order], minlength=len(sizes))
    expected = labels.size * sampled_prior(torch.tensor(sizes), power=power).double().numpy()
    assert np.all(np.abs(drawn - expected) < 2 + 1e-4)


@settings(max_examples=60, deadline=None)
@given(class_sizes, powers, st.integers(1, 8))
def test_shares_do_not_drift_over_epochs(sizes: list[int], power: float, epochs: int) -> None:
    labels = shuffled_labels(sizes)
    drawn = np.zeros(len(sizes))
    for epoch in range(epochs):
        order = epoch_order(labels, power=power, seed=1, epoch=epoch)
        drawn += np.bincount(labels[order], minlength=len(sizes))
    expected = epochs * labels.size * sampled_prior(torch.tensor(sizes), power=power).double()
    assert np.all(np.abs(drawn - expected.numpy()) <= 1 + 1e-3)


@settings(max_examples=60, deadline=None)
@given(class_sizes, powers, st.integers(1, 5))
def test_no_image_comes_again_before_each_of_its_class_came(
    sizes: list[int], power: float, epochs: int
) -> None:
    labels = shuffled_labels(sizes)
    visits: Counter[int] = Counter()
    lowest = dict.fromkeys(range(len(sizes)), 0)  # visits of the least visited row of a class
    rows_of = {c: np.flatnonzero(labels == c) for c in range(len(sizes))}
    for epoch in range(epochs):
        for row in epoch_order(labels, power=power, seed=2, epoch=epoch):
            label = int(labels[row])
            assert visits[row] == lowest[label]  # within an epoch and across its border
            visits[row] += 1
            lowest[label] = min(visits[other] for other in rows_of[label])


@settings(max_examples=40, deadline=None)
@given(class_sizes, st.integers(0, 3), st.integers(0, 100))
def test_natural_is_a_permutation(sizes: list[int], epoch: int, seed: int) -> None:
    labels = shuffled_labels(sizes)
    order = epoch_order(labels, power=1.0, seed=seed, epoch=epoch)
    np.testing.assert_array_equal(np.sort(order), np.arange(labels.size))


@settings(max_examples=40, deadline=None)
@given(class_sizes, powers, st.integers(1, 6))
def test_ranks_share_the_epoch(sizes: list[int], power: float, world_size: int) -> None:
    order = epoch_order(shuffled_labels(sizes), power=power, seed=3, epoch=1)
    parts = [rank_share(order, rank=r, world_size=world_size) for r in range(world_size)]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.sort(order))
    assert max(len(part) for part in parts) - min(len(part) for part in parts) <= 1


def test_resuming_at_any_draw_is_slicing() -> None:
    labels = shuffled_labels([90, 25, 5])
    uninterrupted = np.concatenate(
        [epoch_order(labels, power=0.0, seed=4, epoch=epoch) for epoch in range(4)]
    )
    # Stopped after 2 epochs and 37 draws; a new process asks for epoch 2 alone, never for 0 and 1.
    resumed = np.concatenate(
        [
            epoch_order(labels, power=0.0, seed=4, epoch=2)[37:],
            epoch_order(labels, power=0.0, seed=4, epoch=3),
        ]
    )
    np.testing.assert_array_equal(resumed, uninterrupted[2 * 120 + 37 :])


def test_the_order_is_the_same_on_every_machine() -> None:
    # Golden: a resumed run on another machine or a newer numpy must see the same batches. Raw
    # Philox bits and stable sorts are what makes this hold.
    labels = np.arange(1000) % 7 % 4
    digest = hashlib.sha256()
    for power in (0.0, 0.5, 1.0):
        for epoch in (0, 3):
            order = epoch_order(labels, power=power, seed=5, epoch=epoch)
            digest.update(order.astype("<i8").tobytes())
    assert digest.hexdigest()[:16] == "f4e610315b4681c3"


def test_seeds_and_epochs_give_other_orders() -> None:
    labels = shuffled_labels([60, 30, 10])
    orders = [
        tuple(epoch_order(labels, power=power, seed=seed, epoch=epoch))
        for power in (0.0, 1.0)
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len(set(orders)) == len(orders)


def test_a_balanced_epoch_covers_the_head_over_epochs() -> None:
    # 500 and 20 images: 260 draws each. Drawn one by one with replacement, 500 (1 - 1/500)^260 =
    # 297 of the large class stay unseen in the first epoch and 176 in the first two; here 240 and
    # none.
    labels = np.repeat([0, 1], [500, 20])
    first = epoch_order(labels, power=0.0, seed=0, epoch=0)
    second = epoch_order(labels, power=0.0, seed=0, epoch=1)
    head = first[labels[first] == 0]
    assert len(set(head.tolist())) == 260
    assert set(range(500)) <= set(first.tolist()) | set(second.tolist())
    # Each of the 20 comes 13 times.
    np.testing.assert_array_equal(np.bincount(first)[500:], 13)


def test_classes_are_mixed_and_places_are_even() -> None:
    # Simulation: over 300 epochs each image of a natural order stands in the middle on average. The
    # mean place of 100 is 49.5 with standard error 28.9/sqrt(300) = 1.67; four of them are 6.7.
    labels = np.repeat([0, 1], [80, 20])
    places = np.zeros(100)
    for epoch in range(300):
        places[epoch_order(labels, power=1.0, seed=6, epoch=epoch)] += np.arange(100)
    assert np.all(np.abs(places / 300 - 49.5) < 7.5)
    # And batches of 20 of a balanced order hold about ten of each class: variance 5 when mixed at
    # random (hypergeometric: 20 x 1/4 x 80/99 = 4.04), 100 when sorted.
    order = epoch_order(labels, power=0.0, seed=6, epoch=0)
    assert labels[order].reshape(5, 20).sum(axis=1).var() < 25


def test_prior_by_hand() -> None:
    counts = torch.tensor([900, 100, 0])
    torch.testing.assert_close(sampled_prior(counts, power=1.0), torch.tensor([0.9, 0.1, 0.0]))
    torch.testing.assert_close(sampled_prior(counts, power=0.5), torch.tensor([0.75, 0.25, 0.0]))
    # A class without images is never drawn, though 0^0 = 1.
    torch.testing.assert_close(sampled_prior(counts, power=0.0), torch.tensor([0.5, 0.5, 0.0]))
    assert SAMPLING_POWERS == {"natural": 1.0, "square-root": 0.5, "class-balanced": 0.0}


def test_a_tensor_of_labels_will_do() -> None:
    labels = shuffled_labels([9, 3])
    np.testing.assert_array_equal(
        epoch_order(torch.from_numpy(labels), power=0.5, seed=0, epoch=0),
        epoch_order(labels, power=0.5, seed=0, epoch=0),
    )


@pytest.mark.parametrize(
    ("labels", "power", "epoch", "message"),
    [
        ([], 1.0, 0, r"\(N,\) with N > 0"),
        ([0, -1], 1.0, 0, "row 1 has label -1"),
        ([0.0, 1.0], 1.0, 0, "labels are float64"),
        ([0, 1], 1.5, 0, r"the sampling power is 1\.5"),
        ([0, 1], -0.5, 0, "the sampling power is -0.5"),
        ([0, 1], 1.0, -1, "epoch is -1"),
    ],
)
def test_bad_input_is_refused(labels: list, power: float, epoch: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        epoch_order(labels, power=power, seed=0, epoch=epoch)


def test_bad_ranks_and_counts_are_refused() -> None:
    with pytest.raises(InputError, match="rank is 2, outside 0 to 1"):
        rank_share(np.arange(4), rank=2, world_size=2)
    with pytest.raises(InputError, match="nothing to draw from"):
        sampled_prior(torch.tensor([0, 0]), power=1.0)
    with pytest.raises(InputError, match=r"\(C,\) with C > 0"):
        sampled_prior(torch.zeros(2, 2, dtype=torch.int64), power=1.0)
