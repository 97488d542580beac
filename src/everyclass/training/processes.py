"""Processes that train one model together, each on its share of every batch.

Comes in: who this process is. Goes out: which images of a batch are its own, and what the processes
tell each other. The batch stays what it is on one process: its size, its images and their order do
not depend on how many share it. Knows no model, no recipe and no files.

There are two roads. Numbers of a step travel in the default group (NCCL on graphics cards), in the
queue of the device, and nobody waits for them. Words travel from host to host over gloo, where
waiting has no limit: the first process may audit images for hours, or try out a cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from everyclass.imbalance.sampling import Order, rank_share

PATIENCE = timedelta(days=30)
"""That hosts wait for a word. One that ends closes its connections, and is noticed at once."""

LAST_WORD = timedelta(seconds=5)
"""That the first process waits for the others to hear how it ended."""


def parts_of(size: int, accumulation: int) -> list[tuple[int, int]]:
    """A batch cut into forward passes: (first, last + 1) of each, none of them empty."""
    cuts = torch.arange(size).tensor_split(min(accumulation, size))
    return [(int(part[0]), int(part[-1]) + 1) for part in cuts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Images of one forward pass that a process computes.

    Args:
        places: of them in the pass.
        n: how many.
        counted: False where the pass has fewer images than there are processes, and none is left
            for this one: it computes the first one again, for nothing, because the others wait for
            it in every exchange.
    """

    places: slice
    n: int
    counted: bool = True

    @property
    def n_counted(self) -> int:
        """Images that count: each image of a pass does once, in one of the processes."""
        return self.n if self.counted else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Who this process is among those of a training.

    Args:
        rank: in [0, size). The first one, 0, decides, writes and tells.
        size: processes.
        local_rank, local_size: the same among those on this machine.
        hosts: for words; None where there is one process alone.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    hosts: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the one that decides, writes and tells."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.size > 1

    def share(self, size: int, rank: int | None = None) -> Share:
        """Of a forward pass over so many images: every `self.size`-th, from the rank on.

        Args:
            rank: whose; this process's when left out.
        """
        rank = self.rank if rank is None else rank
        if rank >= size:
            return Share(places=slice(0, 1), n=1, counted=False)
        return Share(places=slice(rank, size, self.size), n=len(range(rank, size, self.size)))

    def share_of_rows(self, rows: Order) -> Order:
        """Rows that this process evaluates: every one is some process's."""
        return rank_share(rows, rank=self.rank, world_size=self.size)

    def places(self, size: int, accumulation: int) -> Order:
        """(n,) places in a batch of `size` of the images that this process computes, pass by
        pass."""
        parts = parts_of(size, accumulation)
        found = [
            np.arange(low, high, dtype=np.int64)[self.share(high - low).places]
            for low, high in parts
        ]
        return np.concatenate(found)

    # -- numbers of a step ---------------------------------------------------------------------

    def whole_step(
        self, logits: Tensor, loss: Tensor, parts: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """Logits and loss of the whole batch, on the first process; what came in on the others.

        Args:
            logits: (n, C) float32, of the images of this process that count, in their order.
            loss: () float32, its part of the mean over the batch.
            parts: `parts_of` the batch.
        Returns:
            (B, C) in the order of the batch, and () the sum of all parts.
        """
        n_classes = logits.shape[1]
        longest = sum(-(-(high - low) // self.size) for low, high in parts)
        sent = logits.new_zeros(longest * n_classes + 1)
        sent[: logits.numel()] = logits.flatten()
        sent[-1] = loss
        received = [torch.empty_like(sent) for _ in range(self.size)] if self.first else None
        dist.gather(sent, received, dst=0)
        if received is None:
            return logits, loss
        whole = logits.new_empty(parts[-1][1], n_classes)
        for rank, one in enumerate(received):
            done = 0
            for low, high in parts:
                share = self.share(high - low, rank)
                if share.counted:
                    own = one[done * n_classes : (done + share.n) * n_classes]
                    whole[low:high][share.places] = own.view(share.n, n_classes)
                    done += share.n
        return whole, torch.stack([one[-1] for one in received]).sum()

    # -- words -----------------------------------------------------------------------------------

    def tell(self, *numbers: int, length: int = 3) -> tuple[int, ...]:
        """What the first process says, on each of them.

        Args:
            numbers: of the first process, as many as `length` at most; others say nothing.
            length: numbers in all, filled up with zeros.
        """
        said = torch.zeros(length, dtype=torch.int64)
        said[: len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
        dist.broadcast(said, src=0, group=self.hosts)
        return tuple(int(one) for one in said)

    def end(self, *numbers: int, length: int = 3) -> None:
        """As `tell`, from the first process and as its last word: one that waits elsewhere, for an
        exchange that does not come, hears nothing, and sees it end."""
        said = torch.zeros(length, dtype=torch.int64)
        said[: len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
        with suppress(RuntimeError):
            told = dist.broadcast(said, src=0, group=self.hosts, async_op=True)
            if told is not None:
                told.wait(LAST_WORD)

    def meet(self) -> None:
        """Wait until all are here."""
        dist.all_reduce(torch.zeros(1), group=self.hosts)

    def collected(self, value: Any) -> list[Any]:
        """The values of all processes in their order, on the first one; an empty list elsewhere."""
        found: list[Any] | None = [None] * self.size if self.first else None
        dist.gather_object(value, found, dst=0, group=self.hosts)
        return found or []


ALONE = Processes()
"""One process: nothing is divided, nobody is told."""
