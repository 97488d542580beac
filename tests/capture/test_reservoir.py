"""Bounded, ordered, sampled without a random generator."""

from __future__ import annotations

import random

import torch

from everyclass.capture.reservoir import MOST_TRIED, KeptBatch, Reservoir, counter_hash

BATCH_BYTES = 4 * 250 + 8 + 8


def batch(number: int) -> KeptBatch:
    return KeptBatch(
        args=(torch.full((250,), float(number)),),
        keywords={},
        targets=torch.tensor([number]),
        outputs=torch.zeros(2),
        number=number,
    )


def filled(count: int, *, limit_bytes: int, training: bool = True) -> Reservoir:
    reservoir = Reservoir(limit_bytes=limit_bytes)
    for _ in range(count):
        number = reservoir.ticket(training=training)
        if number is not None:
            reservoir.add(batch(number), training=training)
    return reservoir


def test_the_first_batches_stay_in_order_and_later_ones_are_sampled() -> None:
    reservoir = filled(2_000, limit_bytes=40 * BATCH_BYTES)
    numbers = [one.number for one in reservoir.training()]
    assert numbers[:20] == list(range(20))
    later = numbers[20:]
    assert later == sorted(later)
    # The ten smallest hashes of 1,980: evenly spread, so their mean is near the middle.
    assert sorted(later, key=counter_hash)[-1] == max(later, key=counter_hash)
    expected = sorted(range(20, 2_000), key=counter_hash)[:10]
    assert later == sorted(expected)
    assert reservoir.size_bytes <= 40 * BATCH_BYTES


def test_evaluation_batches_are_apart() -> None:
    reservoir = filled(100, limit_bytes=40 * BATCH_BYTES, training=False)
    assert reservoir.training() == ()
    assert len(reservoir.evaluation()) == 10


def test_a_batch_larger_than_its_share_is_dropped() -> None:
    reservoir = filled(5, limit_bytes=BATCH_BYTES)
    assert reservoir.training() == ()
    assert reservoir.size_bytes == 0


def test_copies_end_when_none_was_ever_taken() -> None:
    reservoir = Reservoir(limit_bytes=10**6)
    tickets = [reservoir.ticket(training=True) for _ in range(MOST_TRIED + 10)]
    assert tickets == [*range(MOST_TRIED), *([None] * 10)]


def test_no_random_generator_is_touched() -> None:
    torch.manual_seed(0)
    random.seed(0)
    before = torch.get_rng_state(), random.getstate()
    filled(100, limit_bytes=40 * BATCH_BYTES)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def test_hashes_are_spread() -> None:
    low = sum(counter_hash(number) < 2**63 for number in range(10_000))
    assert 4_800 < low < 5_200  # 4 standard deviations of a fair coin
