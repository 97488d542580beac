"""Changes of what a copied training is fed: the order, the labels, the images.

Comes in: a `Lab`, a `Trainee`. Goes out: the trainee with other batches, or `NotApplicable` with
the reason. Trains nothing, judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import CapturedBatch
from everyclass.diagnosis.lab import Lab, ids_of
from everyclass.diagnosis.material import rows_of
from everyclass.diagnosis.trainee import Trainee


def reshuffle(lab: Lab, trainee: Trainee) -> None:
    """The images of all captured batches, dealt anew into batches of the same sizes."""
    generator = torch.Generator().manual_seed(lab.seed + 1)
    trainee.batches = redealt(trainee.batches, lambda n: torch.randperm(n, generator=generator))


def balanced_batches(lab: Lab, trainee: Trainee) -> None:
    """Each class equally often in expectation, its images drawn again as needed."""
    _ = lab.prior  # only where classes are uneven
    ids = torch.cat([ids_of(one) for one in trainee.batches])
    counts = torch.bincount(ids, minlength=len(lab.class_counts)).clamp(min=1)
    generator = torch.Generator().manual_seed(lab.seed + 2)

    def draw(n: int) -> Tensor:
        return torch.multinomial(1 / counts[ids].double(), n, True, generator=generator)

    trainee.batches = redealt(trainee.batches, draw)


def redealt(
    batches: Sequence[CapturedBatch], draw: Callable[[int], Tensor]
) -> tuple[CapturedBatch, ...]:
    """Images of several batches in another order, in batches of the same sizes.

    Args:
        draw: number of images -> (n,) int64, which image stands where.
    Raises:
        NotApplicable: the batches are not of one form.
    """
    flat = [pytree.tree_flatten((one.args, dict(one.keywords), one.targets)) for one in batches]
    sizes = [rows_of(one) or 0 for one in batches]
    spec = flat[0][1]
    if any(other != spec for _, other in flat):
        raise NotApplicable("The captured batches are not of one form.")
    order = draw(sum(sizes))
    starts = np.cumsum([0, *sizes])
    columns = []
    for k in range(len(flat[0][0])):
        parts = [leaves[k] for leaves, _ in flat]
        rows = all(
            isinstance(one, Tensor) and one.ndim > 0 and one.shape[0] == size
            for one, size in zip(parts, sizes)
        )
        if not rows:
            columns.append(parts)
            continue
        if len({one.shape[1:] for one in parts}) > 1:
            raise NotApplicable("The captured images have several sizes.")
        mixed = torch.cat(parts)[order.to(parts[0].device)]
        columns.append([mixed[a:b] for a, b in pairwise(starts)])
    found = []
    for i, batch in enumerate(batches):
        args, keywords, targets = pytree.tree_unflatten([one[i] for one in columns], spec)
        found.append(replace(batch, args=args, keywords=keywords, targets=targets, outputs=None))
    return tuple(found)


def permute_labels(lab: Lab, trainee: Trainee) -> None:
    """Every image keeps another image's label, the same one in each pass."""
    generator = torch.Generator().manual_seed(lab.seed + 3)
    targets = [one.targets for one in trainee.batches]
    joined = torch.cat([one for one in targets if one is not None])
    mixed = joined[torch.randperm(len(joined), generator=generator).to(joined.device)]
    starts = np.cumsum([0, *(one.shape[0] for one in targets if one is not None)])
    trainee.batches = tuple(
        replace(batch, targets=mixed[a:b])
        for batch, (a, b) in zip(trainee.batches, pairwise(starts))
    )


def rows_alone(lab: Lab, trainee: Trainee) -> None:
    """Each image goes through the model by itself."""
    lab.need("batch-mixed", "No output depends on another row of the batch.")
    trainee.rows_alone = True
