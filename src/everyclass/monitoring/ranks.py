"""Sums over the ranks of a distributed training, so that every rank sees the whole batch.

Comes in: the sums of a block of passes (`measures.measure`) of this rank. Goes out: those of all
ranks together, the same numbers on each, so that an alarm is raised on all ranks or on none. Knows
nothing about what the sums mean beyond which of them are means.

Every call is a collective: all ranks make it, in the same order. They travel over a gloo group of
their own, from the host and between two forward passes, so they neither wait in the queue of the
gradients' collectives nor stand inside a backward pass.
"""

from __future__ import annotations

from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from everyclass.errors import InputError
from everyclass.monitoring.measures import COUNTS, SCALARS

MEANS = ("own_score", "shuffled_score", "square_score", "common_score", "given_loss")
"""Columns of a block that are means over a pass's images; all others are sums over them."""

TIMEOUT_SECONDS = 600.0


class RankSums:
    """Adds numbers over the ranks of the default process group.

    The gloo group is made by the first sum, which all ranks must reach.

    Args:
        timeout_seconds: how long a rank waits for the others before torch raises.
    """

    def __init__(self, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._timeout = timedelta(seconds=timeout_seconds)
        self._group: dist.ProcessGroup | None = None
        self._blocks = 0

    @property
    def size(self) -> int:
        """Ranks."""
        return dist.get_world_size()

    def largest(self, number: int) -> int:
        """The largest of the ranks' numbers."""
        (largest,) = torch.stack(self._gather(torch.tensor([number]))).amax(dim=0).tolist()
        return int(largest)

    def sum_block(self, packed: Tensor, *, n_passes: int, n_classes: int) -> Tensor:
        """The block of all ranks together: pass i is the sum of every rank's pass i.

        Means are weighted with the images they were taken over. The score of shuffled labels is
        then that of shuffles within each rank: as under one rank, its expectation is that of the
        own score when labels carry nothing.

        Args:
            packed: what `measures.measure` gave for this rank's passes.
            n_passes, n_classes: its sizes.
        Returns:
            The same shape, float32, on the CPU.
        Raises:
            InputError: the ranks come with different numbers of passes or classes.
        """
        self._agree((self._blocks, n_passes, n_classes))
        self._blocks += 1
        sums = packed.detach().cpu().float().clone()
        width = len(COUNTS) * n_classes + len(SCALARS)
        table = sums[: n_passes * width].view(n_passes, width)
        images = table[:, _column("images", n_classes)].clone()
        for name in MEANS:
            table[:, _column(name, n_classes)] *= images
        dist.all_reduce(sums, group=self._made_group())
        total = table[:, _column("images", n_classes)].clamp(min=1)
        for name in MEANS:
            table[:, _column(name, n_classes)] /= total
        return sums

    def sum_counts(self, counts: Tensor) -> Tensor:
        """The element-wise sum over ranks of whole numbers, int64, on the CPU."""
        self._agree(tuple(counts.shape))
        sums = counts.detach().cpu().long().clone()
        dist.all_reduce(sums, group=self._made_group())
        return sums

    def _agree(self, sizes: tuple[int, ...]) -> None:
        """Gloo would wait for ever, or add what does not belong together."""
        of_rank = [tuple(one.tolist()) for one in self._gather(torch.tensor(sizes))]
        other = next((i for i, one in enumerate(of_rank) if one != of_rank[0]), None)
        if other is not None:
            raise InputError(
                f"The ranks do not watch the same steps: rank 0 comes with {of_rank[0]} and rank "
                f"{other} with {of_rank[other]} (blocks so far, passes, classes).",
                remedy="Feed the monitor on every rank, with the same number of forward passes.",
            )

    def _gather(self, numbers: Tensor) -> list[Tensor]:
        group = self._made_group()
        of_rank = [torch.zeros_like(numbers) for _ in range(dist.get_world_size(group))]
        dist.all_gather(of_rank, numbers, group=group)
        return of_rank

    def _made_group(self) -> dist.ProcessGroup:
        if self._group is None:
            made = dist.new_group(backend="gloo", timeout=self._timeout)
            assert isinstance(made, dist.ProcessGroup)  # every rank is a member
            self._group = made
        return self._group


def rank_sums_if_distributed() -> RankSums | None:
    """Sums over the default process group; None in a training of one process."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return RankSums()
    return None


def _column(name: str, n_classes: int) -> int:
    return len(COUNTS) * n_classes + SCALARS.index(name)
