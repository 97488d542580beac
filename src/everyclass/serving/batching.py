"""Requests that arrive together become one forward pass.

Comes in: images, one at a time, from any thread, each with a future. Goes out: answers in these.
Knows no model (a function classifies a batch), no HTTP and no limits but its own.

Workers take turns to gather: the one whose turn it is waits for a first image, then for as long as
the window lasts or until the batch is full, and then classifies while the next one gathers. Under
load images have waited longer than the window by the time a worker is free, and a batch is as large
as what has gathered meanwhile. Each worker computes with one core, as in `workflows.classify`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[Item, Answer]):
    item: Item
    answer: Future[Answer]
    arrived: float


class Batcher(Generic[Item, Answer]):
    """Gathers items into batches.

    Args:
        classify: answers of a batch, in order; called by one worker at a time for each batch.
        workers: threads that gather and classify.
        most: items of a batch.
        window_seconds: how long a batch is open after its first item arrived.
        on_batch: told the size of each batch, before its answers are given out.
    """

    def __init__(
        self,
        classify: Callable[[Sequence[Item]], Sequence[Answer]],
        *,
        workers: int,
        most: int,
        window_seconds: float,
        on_batch: Callable[[int], None],
    ) -> None:
        self._classify = classify
        self._most = most
        self._window_seconds = window_seconds
        self._on_batch = on_batch
        self._items: queue.SimpleQueue[_Waiting[Item, Answer] | None] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._workers = [
            threading.Thread(target=self._work, name=f"classify-{k}", daemon=True)
            for k in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def submit(self, item: Item, answer: Future[Answer]) -> None:
        """Have one item classified; its answer, or the error of its batch, goes to `answer`."""
        self._items.put(_Waiting(item, answer, time.perf_counter()))

    def close(self) -> None:
        """Classify what waits, and end the workers."""
        self._items.put(None)
        for worker in self._workers:
            worker.join()

    def _work(self) -> None:
        while True:
            with self._turn:
                batch, ended = self._gather()
            if batch:
                self._answer(batch)
            if ended:
                self._items.put(None)  # for the next worker
                return

    def _gather(self) -> tuple[list[_Waiting[Item, Answer]], bool]:
        first = self._items.get()
        if first is None:
            return [], True
        batch = [first]
        while len(batch) < self._most:
            left = first.arrived + self._window_seconds - time.perf_counter()
            try:
                found = self._items.get(timeout=left) if left > 0 else self._items.get_nowait()
            except queue.Empty:
                break
            if found is None:
                return batch, True
            batch.append(found)
        return batch, False

    def _answer(self, batch: list[_Waiting[Item, Answer]]) -> None:
        self._on_batch(len(batch))
        try:
            answers = self._classify([one.item for one in batch])
        except Exception as error:  # noqa: BLE001  (it is the answer; the worker must live on)
            for one in batch:
                one.answer.set_exception(error)
            return
        for one, answer in zip(batch, answers, strict=True):
            one.answer.set_result(answer)
