"""What a data loader of somebody's script says about the classes.

Comes in: a loader. Goes out: names, counts, length, transforms, a description. Reads what the data
set holds in its own fields; calls none of its methods but `len`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

DEEPEST = 4
"""Data sets within data sets that are looked into."""


def class_names(loader: object | None) -> tuple[str, ...] | None:
    """`classes` of an image folder, also below a subset; None without."""
    for fields in _layers(loader):
        names = fields.get("classes")
        if isinstance(names, (list, tuple)) and all(isinstance(one, str) for one in names):
            return tuple(names) if len(names) > 1 else None
    return None


def passes_an_epoch(loader: object | None) -> int | None:
    """Batches of the loader; None when it cannot be known without asking the data set."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return None  # the length of a stream is a promise that torch checks once somebody asked
    return len(loader)


def class_counts(loader: object | None, *, n_classes: int) -> tuple[int, ...] | None:
    """Images a class in the data set behind the loader, where it keeps its targets in a list."""
    chosen: Any = None
    for fields in _layers(loader):
        targets = _targets_of(fields)
        if targets is not None:
            if chosen is not None:
                targets = targets[chosen]
            if len(targets) == 0 or targets.min() < 0 or targets.max() >= n_classes:
                return None
            return tuple(int(one) for one in np.bincount(targets, minlength=n_classes))
        indices = fields.get("indices")
        if indices is not None and chosen is None:
            chosen = np.asarray(indices)
        elif "dataset" not in fields or indices is not None:
            return None
    return None


def describe_loader(loader: object | None) -> str:
    """Batch size, order and length in words; "" when there is none."""
    if not isinstance(loader, DataLoader):
        return ""
    own = (
        loader.batch_sampler
    )  # with `batch_sampler=` the loader's own size and sampler say nothing
    n_images = getattr(own, "batch_size", loader.batch_size)
    size = f"batches of {n_images}" if isinstance(n_images, int) else "batches of its own"
    order = {
        "SequentialSampler": "in the order of the data set",
        "RandomSampler": "shuffled",
        "_InfiniteConstantSampler": "as a stream",
    }
    sampler = type(getattr(own, "sampler", loader.sampler)).__name__
    passes = passes_an_epoch(loader)
    length = "" if passes is None else f", {passes:,} an epoch"
    return f"{size} {order.get(sampler, 'by ' + sampler)}{length}"


def transforms_of(loader: object | None) -> Iterator[object]:
    """The single transforms of the data set behind the loader, in their order, as far as it keeps
    them in a field `transform` or `transforms`."""
    for fields in _layers(loader):
        for name in ("transform", "transforms"):
            yield from _flat(fields.get(name), DEEPEST)


def _flat(transform: object, depth: int) -> Iterator[object]:
    fields = getattr(transform, "__dict__", {})
    inner = fields.get("transforms") or fields.get("transform")
    if inner is None or depth == 0:
        yield from () if transform is None else (transform,)
        return
    for one in inner if isinstance(inner, (list, tuple)) else (inner,):
        yield from _flat(one, depth - 1)


def _layers(loader: object | None) -> Sequence[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    dataset = getattr(loader, "dataset", None)
    while dataset is not None and len(found) < DEEPEST:
        fields = getattr(dataset, "__dict__", {})
        found.append(fields)
        dataset = fields.get("dataset")
    return found


def _targets_of(fields: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    tensors = fields.get("tensors")
    known = fields.get("targets", tensors[-1] if isinstance(tensors, tuple) and tensors else None)
    if isinstance(known, Tensor):
        if known.dim() != 1 or known.is_floating_point() or known.dtype is torch.bool:
            return None
        return known.detach().cpu().numpy().astype(np.int64)
    if not isinstance(known, (list, tuple, np.ndarray)) or len(known) == 0:
        return None
    values = np.asarray(known)
    return values.astype(np.int64) if values.ndim == 1 and values.dtype.kind in "iu" else None
