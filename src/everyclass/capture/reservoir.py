"""A bounded store of raw batches: the first ones in order, a sample of the later ones.

Comes in: batches one by one. Goes out: those that are kept. Which later batch is kept is decided
by a hash of its number, never by a random generator: the script's stay untouched. Knows no model.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

DEFAULT_BYTES = 256 * 2**20
FIRST_SHARE, LATER_SHARE, EVALUATION_SHARE = 0.5, 0.25, 0.25
MOST_FIRST = 256
MOST_OTHERS = 128
"""Batches of a kind, however small they are."""

MOST_TRIED = 64
"""Copies for which nothing was ever added, because no loss of classes took the answer."""

_MASK = 2**64 - 1


@dataclass(slots=True)
class KeptBatch:
    """A batch as model and loss got it, on the CPU.

    Args:
        args, keywords: of the model's call; None when the call was not seen.
        targets: as the loss got them.
        outputs: what the loss got as its first argument.
        model_outputs: tensors of the model's answer.
        model_training: its mode.
        loss: a scalar that may still be on the device.
        step: optimizer steps done before it.
        number: of the model's call among those of its kind, from 0, as `Reservoir.ticket` said.
    """

    args: tuple[Any, ...] | None
    keywords: dict[str, Any]
    targets: Tensor
    outputs: Tensor
    model_outputs: tuple[Tensor, ...] = ()
    model_training: bool | None = None
    loss: Tensor | None = None
    step: int = 0
    number: int = 0


@dataclass(slots=True)
class _Sample:
    """The batches with the smallest hashes within a budget: a uniform sample of a stream."""

    budget: float
    kept: list[tuple[int, int, int, KeptBatch]] = field(default_factory=list)
    size: int = 0
    added: int = 0

    def wants(self, number: int, expected: int) -> bool:
        if len(self.kept) < MOST_OTHERS and self.size + expected <= self.budget:
            return True
        return bool(self.kept) and counter_hash(number) < -self.kept[0][0]

    def add(self, batch: KeptBatch, size: int) -> None:
        heapq.heappush(self.kept, (-counter_hash(batch.number), self.added, size, batch))
        self.added += 1
        self.size += size
        while self.kept and (self.size > self.budget or len(self.kept) > MOST_OTHERS):
            self.size -= heapq.heappop(self.kept)[2]

    def batches(self) -> tuple[KeptBatch, ...]:
        return tuple(one[3] for one in sorted(self.kept, key=lambda one: one[1]))


class Reservoir:
    """Training batches and evaluation batches, apart, within one bound in bytes.

    Args:
        limit_bytes: of all copies together.
    """

    def __init__(self, *, limit_bytes: int = DEFAULT_BYTES) -> None:
        self._first: list[KeptBatch] = []
        self._first_size = 0
        self._first_budget = FIRST_SHARE * limit_bytes
        self._later = _Sample(LATER_SHARE * limit_bytes)
        self._evaluation = _Sample(EVALUATION_SHARE * limit_bytes)
        self._expected = 0
        self._numbers = {True: 0, False: 0}
        self._added = {True: False, False: False}

    def ticket(self, *, training: bool) -> int | None:
        """The number of the next batch of this kind if it is worth a copy, else None."""
        number = self._numbers[training]
        self._numbers[training] += 1
        if not self._added[training] and number >= MOST_TRIED:
            return None
        if training:
            wanted = self._first_has_room(self._expected) or self._later.wants(
                number, self._expected
            )
        else:
            wanted = self._evaluation.wants(number, self._expected)
        return number if wanted else None

    def pass_over(self) -> None:
        """The next training batch is not looked at; it has its number nevertheless."""
        self._numbers[True] += 1

    def add(self, batch: KeptBatch, *, training: bool) -> None:
        """Keep a batch that was wanted; one that turns out too large is dropped."""
        size = _size((batch.args, batch.keywords, batch.targets, batch.outputs))
        size += _size(batch.model_outputs)
        self._expected = size
        self._added[training] = True
        if not training:
            self._evaluation.add(batch, size)
        elif self._first_has_room(size):
            self._first.append(batch)
            self._first_size += size
        else:
            self._later.add(batch, size)

    def training(self) -> tuple[KeptBatch, ...]:
        """In the order they came."""
        return (*self._first, *self._later.batches())

    def evaluation(self) -> tuple[KeptBatch, ...]:
        """In the order they came."""
        return self._evaluation.batches()

    @property
    def size_bytes(self) -> int:
        """Of all that is kept."""
        return self._first_size + self._later.size + self._evaluation.size

    def _first_has_room(self, size: int) -> bool:
        return len(self._first) < MOST_FIRST and self._first_size + size <= self._first_budget


def counter_hash(number: int) -> int:
    """64 well mixed bits of a counter.

    Source: the finaliser of splitmix64, Steele, Lea and Flood 2014.
    """
    z = (number * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _size(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(_size(one) for one in value.values())
    return sum(_size(one) for one in value) if isinstance(value, (tuple, list)) else 0
