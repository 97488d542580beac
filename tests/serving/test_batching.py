"""The batcher alone: what comes together is one pass, errors stay in their batch, none is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from everyclass.serving.batching import Batcher


def running(classify, **options) -> tuple[Batcher[int, int], list[int]]:
    sizes: list[int] = []
    defaults = {"workers": 1, "most": 4, "window_seconds": 0.2}
    return Batcher(classify, on_batch=sizes.append, **{**defaults, **options}), sizes


def submit(batcher: Batcher[int, int], items: Sequence[int]) -> list[Future[int]]:
    futures: list[Future[int]] = [Future() for _ in items]
    for item, future in zip(items, futures):
        future.set_running_or_notify_cancel()
        batcher.submit(item, future)
    return futures


def double(items: Sequence[int]) -> list[int]:
    return [2 * item for item in items]


def test_what_arrives_within_the_window_is_one_batch_and_answers_keep_their_order() -> None:
    batcher, sizes = running(double, most=10, window_seconds=0.5)
    futures = submit(batcher, [5, 1, 7])
    assert [one.result(30) for one in futures] == [10, 2, 14]
    assert sizes == [3]
    batcher.close()


def test_a_full_batch_does_not_wait_for_the_window() -> None:
    batcher, sizes = running(double, most=4, window_seconds=3_600)
    futures = submit(batcher, range(8))
    assert [one.result(30) for one in futures] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert sizes == [4, 4]
    batcher.close()


def test_an_item_alone_waits_for_the_window_and_no_longer() -> None:
    batcher, sizes = running(double, window_seconds=0.05)
    (future,) = submit(batcher, [3])
    assert future.result(30) == 6
    assert sizes == [1]
    batcher.close()


def test_what_gathered_during_a_pass_is_the_next_batch_at_once() -> None:
    free, begun = threading.Event(), threading.Event()

    def slow(items: Sequence[int]) -> list[int]:
        begun.set()
        assert free.wait(30)
        return double(items)

    batcher, sizes = running(slow, most=10, window_seconds=0.01)
    first = submit(batcher, [1])
    assert begun.wait(30)
    others = submit(batcher, [2, 3, 4])
    time.sleep(0.05)  # longer than the window
    free.set()
    assert [one.result(30) for one in first + others] == [2, 4, 6, 8]
    assert sizes == [1, 3]
    batcher.close()


def test_an_error_is_the_answer_of_its_batch_alone() -> None:
    def picky(items: Sequence[int]) -> list[int]:
        if 13 in items:
            raise MemoryError("too much")
        return double(items)

    batcher, _ = running(picky, most=2)
    unlucky, fine = submit(batcher, [13, 1]), submit(batcher, [2, 3])
    for one in unlucky:
        with pytest.raises(MemoryError):
            one.result(30)
    assert [one.result(30) for one in fine] == [4, 6]
    batcher.close()


def test_closing_answers_what_waits_and_ends_every_thread() -> None:
    batcher, sizes = running(double, workers=3, most=5, window_seconds=0.0)
    futures = submit(batcher, range(50))
    batcher.close()
    assert [one.result(0) for one in futures] == [2 * k for k in range(50)]
    assert sum(sizes) == 50
    assert not [one for one in threading.enumerate() if one.name.startswith("classify-")]
