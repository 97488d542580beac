"""Batches as a pure function of the step, prepared one ahead.

Comes in: a reader of image rows and an order for each epoch. Goes out: uint8 batches. Because the
batch of a step depends on the step alone, a resumed run starts anywhere without replaying, and
skipping costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

AHEAD = 2  # batches being prepared while one computes: one reading, one ready

Rows = npt.NDArray[np.int64]
ReadImages = Callable[[Rows], npt.NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch on the CPU.

    Args:
        step: the optimizer step it belongs to.
        rows: (B,) int64, rows of the table.
        images: (B, 3, S, S) uint8; (n, 3, S, S) where `places` says of which.
        targets: (B,) int64.
        places: (n,) int64, in the batch, of the images that this process has; None = all.
    """

    step: int
    rows: Rows
    images: Tensor
    targets: Tensor
    places: Rows | None = None


def steps_per_epoch(n_images: int, batch_size: int) -> int:
    """Batches of one epoch. The last one may be smaller, but a single image is left out (it
    has another turn in the next epoch): batch normalisation cannot train on one image.
    """
    full, rest = divmod(n_images, batch_size)
    return full + (1 if rest > 1 or full == 0 or (rest == 1 and batch_size == 1) else 0)


def training_batches(
    read: ReadImages,
    labels: Rows,
    epoch_order: Callable[[int], Rows],
    *,
    n_images: int,
    batch_size: int,
    first_step: int,
    n_steps: int,
    pinned: bool = False,
    places: Callable[[int], Rows] | None = None,
) -> Iterator[Batch]:
    """Batches of the steps first_step to n_steps - 1.

    A thread of its own reads them, `AHEAD` ahead of whoever computes; it ends with the iteration,
    however that ends.

    Args:
        read: rows -> (B, S, S, 3) uint8.
        labels: (N,) int64 of the whole table.
        epoch_order: epoch -> (n_images,) rows in the order of that epoch.
        n_images: draws an epoch.
        batch_size: images a batch.
        pinned: in page-locked memory, from where a graphics card copies while it computes.
        places: size of a batch -> places of the images that are read of it; None = all.
    """
    per_epoch = steps_per_epoch(n_images, batch_size)
    orders: dict[int, Rows] = {}

    def rows_of(step: int) -> Rows:
        epoch, position = divmod(step, per_epoch)
        if epoch not in orders:
            orders.clear()
            orders[epoch] = epoch_order(epoch)
        return orders[epoch][position * batch_size : (position + 1) * batch_size]

    def load(step: int, rows: Rows) -> Batch:
        own = None if places is None else places(len(rows))
        images = to_images(read(rows if own is None else rows[own]))
        targets = torch.from_numpy(labels[rows])
        if pinned:
            images, targets = images.pin_memory(), targets.pin_memory()
        return Batch(step=step, rows=rows, images=images, targets=targets, places=own)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
        waiting: deque[Future[Batch]] = deque()
        for step in range(first_step, n_steps):
            waiting.append(pool.submit(load, step, rows_of(step)))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def to_images(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """(B, S, S, 3) uint8 array -> (B, 3, S, S) uint8 tensor sharing its memory (channels-last)."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)
