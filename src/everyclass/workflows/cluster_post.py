"""What lies between the processes of a training on a Ray cluster and the one that asked for it.

An actor, so that it outlives the processes of a training, which Ray Train starts anew when one is
lost. It passes on bytes and opens none of them: never torch, and little memory.
"""

from __future__ import annotations


class Post:
    """Events and ends of a training in one direction, a wish to stop in the other."""

    def __init__(self) -> None:
        self._starts = 0
        self._stop = False
        self._told: list[bytes] = []
        self._ends: list[bytes] = []

    def begun(self) -> int:
        """How often the training has begun with this; said by its first process."""
        self._starts += 1
        return self._starts

    def tell(self, event: bytes) -> None:
        """An event of the training, pickled."""
        self._told.append(event)

    def end(self, how: bytes) -> None:
        """How it ended: an outcome or an error, pickled."""
        self._ends.append(how)

    def ask_to_stop(self) -> None:
        """The training is to stop between two steps."""
        self._stop = True

    def stop_asked(self) -> bool:
        """Whether it is."""
        return self._stop

    def taken(self) -> tuple[int, list[bytes], list[bytes]]:
        """Starts so far, the events since this was asked last, and all ends."""
        told, self._told = self._told, []
        return self._starts, told, self._ends
