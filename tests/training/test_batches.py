from __future__ import annotations

import threading
from collections.abc import Generator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from everyclass.seeding import stream_seed
from everyclass.training.batches import Batch, Rows, steps_per_epoch, training_batches


def read(rows: Rows) -> np.ndarray:
    """A 1x1 image whose red value is its row: what was read can be recognised."""
    pixels = np.zeros((len(rows), 1, 1, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0] = rows
    return pixels


def order(epoch: int) -> Rows:
    return np.random.default_rng(epoch).permutation(10).astype(np.int64)


def batches(first_step: int, n_steps: int, batch_size: int = 4) -> list[Batch]:
    return list(
        training_batches(
            read,
            np.arange(10) % 3,
            order,
            n_images=10,
            batch_size=batch_size,
            first_step=first_step,
            n_steps=n_steps,
        )
    )


def test_an_epoch_holds_each_row_of_its_order_once() -> None:
    found = np.concatenate([batch.rows for batch in batches(3, 6)])
    assert found.tolist() == order(1).tolist()


def test_images_and_targets_belong_to_the_rows() -> None:
    for batch in batches(0, 9):
        assert batch.images.shape == (len(batch.rows), 3, 1, 1)
        assert batch.images[:, 0, 0, 0].tolist() == batch.rows.tolist()
        assert batch.targets.tolist() == (batch.rows % 3).tolist()
        assert batch.targets.dtype == torch.int64


@pytest.mark.parametrize("start", range(9))
def test_starting_anywhere_gives_the_same_batches(start: int) -> None:
    whole, rest = batches(0, 9)[start:], batches(start, 9)
    assert [b.step for b in rest] == list(range(start, 9))
    assert [b.rows.tolist() for b in rest] == [b.rows.tolist() for b in whole]


@given(st.integers(1, 500), st.integers(1, 64))
def test_only_a_single_left_over_image_is_left_out(n_images: int, batch_size: int) -> None:
    steps = steps_per_epoch(n_images, batch_size)
    assert steps >= 1
    covered = min(n_images, steps * batch_size)
    assert n_images - covered in ({0, 1} if batch_size > 1 else {0})
    last = covered - (steps - 1) * batch_size
    assert last >= min(2, n_images, batch_size)


def test_an_unreadable_batch_raises_in_its_turn() -> None:
    def broken(rows: Rows) -> np.ndarray:
        if 7 in rows:
            raise OSError("disk gone")
        return read(rows)

    stream = training_batches(
        broken,
        np.zeros(10, dtype=np.int64),
        lambda _: np.arange(10),
        n_images=10,
        batch_size=2,
        first_step=0,
        n_steps=5,
    )
    assert next(stream).rows.tolist() == [0, 1]
    with pytest.raises(OSError, match="disk gone"):
        list(stream)


def loading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


@pytest.mark.parametrize("end", ["exhausted", "left early", "failed"])
def test_no_thread_is_left_behind(end: str) -> None:
    def broken(rows: Rows) -> np.ndarray:
        raise OSError("disk gone")

    stream = training_batches(
        broken if end == "failed" else read,
        np.zeros(10, dtype=np.int64),
        order,
        n_images=10,
        batch_size=2,
        first_step=0,
        n_steps=5,
    )
    if end == "failed":
        with pytest.raises(OSError, match="disk gone"):
            next(stream)
    else:
        next(stream)
        assert len(loading_threads()) == 1
        if end == "exhausted":
            list(stream)
        else:
            assert isinstance(stream, Generator)
            stream.close()
    assert loading_threads() == []


def test_the_next_batches_are_read_while_one_is_used() -> None:
    """Without a look at the clock: the third batch is read before it is asked for."""
    third = threading.Event()

    def told(rows: Rows) -> np.ndarray:
        if 4 in rows:
            third.set()
        return read(rows)

    stream = training_batches(
        told,
        np.zeros(10, dtype=np.int64),
        lambda _: np.arange(10),
        n_images=10,
        batch_size=2,
        first_step=0,
        n_steps=5,
    )
    assert next(stream).step == 0
    assert third.wait(timeout=60)
    list(stream)


def test_seeds_of_streams_fit_torch() -> None:
    seed = stream_seed(2**62, "augment", 10**9)
    assert torch.Generator().manual_seed(seed).initial_seed() == seed
