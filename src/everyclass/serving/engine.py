"""From a file's bytes to an answer, off the event loop: bounded waiting, decoding, batches.

Comes in: bytes, from the thread of the event loop. Goes out: a future of an answer. Knows a model
(`answers.Served`), and no HTTP.

A request holds a slot from before its body is read until the last thread has let go of it, also
where its client was told meanwhile that time was up: a thread cannot be stopped in the middle of a
decoder, and what it holds must count. Memory is bounded by the slots: `max_waiting` files of
`max_bytes`, and as many images being decoded as there are threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from everyclass.serving.answers import Pixels, Served, read_image
from everyclass.serving.batching import Batcher
from everyclass.serving.limits import Limits, Refusal

Answer = dict[str, Any]


class Slot:
    """A place among the requests that are under way."""

    def __init__(self, slots: threading.Semaphore) -> None:
        self._slots = slots
        self._held = True

    def release(self) -> None:
        """Give it back; a second time nothing happens."""
        if self._held:
            self._held = False
            self._slots.release()


class Engine:
    """Threads that decode, and workers that classify.

    Args:
        on_batch: told the size of each batch.
    """

    def __init__(self, served: Served, limits: Limits, *, on_batch: Callable[[int], None]) -> None:
        self._side = served.classifier.preprocessing.side
        self._limits = limits
        self._slots = threading.BoundedSemaphore(limits.max_waiting)
        self._decoders = ThreadPoolExecutor(served.threads, thread_name_prefix="decode")
        self._batcher: Batcher[Pixels, Answer] = Batcher(
            served.answers,
            workers=served.workers,
            most=limits.max_batch,
            window_seconds=limits.window_seconds,
            on_batch=on_batch,
        )

    def admit(self) -> Slot:
        """A slot for a request that is about to be read.

        Raises:
            Refusal: all are taken.
        """
        if not self._slots.acquire(blocking=False):
            raise Refusal(
                "busy", f"{self._limits.max_waiting} requests are under way; try again in a second."
            )
        return Slot(self._slots)

    def submit(self, content: bytes, slot: Slot) -> Future[Answer]:
        """Have an image answered. The slot is the engine's from here on.

        Returns:
            A future that holds the answer or a Refusal; to cancel it is to lose interest.
        """
        answer: Future[Answer] = Future()
        self._decoders.submit(self._decode, content, answer, slot)
        return answer

    def close(self) -> None:
        """Answer what was submitted, and end all threads."""
        self._decoders.shutdown(wait=True)
        self._batcher.close()

    def _decode(self, content: bytes, answer: Future[Answer], slot: Slot) -> None:
        if not answer.set_running_or_notify_cancel():
            slot.release()
            return
        answer.add_done_callback(lambda _: slot.release())
        try:
            pixels = read_image(content, side=self._side, limits=self._limits)
        except BaseException as error:  # noqa: BLE001  (whatever it is, it is the answer)
            answer.set_exception(error)
            return
        self._batcher.submit(pixels, answer)
