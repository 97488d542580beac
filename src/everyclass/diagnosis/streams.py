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
from everyclass.diagnosis.causes.stream import stream_is_mixed
from everyclass.diagnosis.lab import Lab, ids_of
from everyclass.diagnosis.material import pick_rows, rows_of
from everyclass.diagnosis.nested import map_tensors
from everyclass.diagnosis.scores import score
from everyclass.diagnosis.trainee import Trainee


def reshuffle(lab: Lab, trainee: Trainee) -> None:
    """The images of all captured batches, dealt anew into batches of the same sizes."""
    if "stream-sorted" not in lab.accused and stream_is_mixed(lab.material):
        raise NotApplicable("The batches are as mixed as those of a shuffled stream.")
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


def neighbouring_labels(by: int) -> Callable[[Lab, Trainee], None]:
    """Each label with the image so many places further on in its batch, in the order they came."""

    def apply(_: Lab, trainee: Trainee) -> None:
        def rolled(batch: CapturedBatch) -> CapturedBatch:
            n_rows = rows_of(batch)

            def roll(one: Tensor) -> Tensor:
                rows = one.ndim > 0 and one.shape[0] == n_rows
                return one.roll(-by, 0) if rows else one

            return replace(
                batch,
                args=map_tensors(batch.args, roll),
                keywords=map_tensors(dict(batch.keywords), roll),
            )

        trainee.alter_batch.append(rolled)

    return apply


def evaluation_images(lab: Lab, trainee: Trainee) -> None:
    """Images as evaluations get them: without augmentation, and with the labels that these have."""
    if not lab.evaluation:
        raise NotApplicable("Too few evaluation images were captured.")
    generator = torch.Generator().manual_seed(lab.seed + 4)
    # Evaluations seldom shuffle, and their batches may be larger than training's.
    size = max(2, min(rows_of(one) or 2 for one in trainee.batches))
    mixed = redealt(lab.evaluation, lambda n: torch.randperm(n, generator=generator))
    trainee.batches = tuple(part for one in mixed for part in _parts(one, size))


def _parts(batch: CapturedBatch, size: int) -> list[CapturedBatch]:
    n_rows = rows_of(batch) or 0
    return [
        pick_rows(batch, rows, n_rows=n_rows)
        for rows in torch.split(torch.arange(n_rows), size)
        if len(rows) > 1
    ]


def training_images_known(lab: Lab, trainee: Trainee) -> bool:
    """Whether a copy that learned from evaluation images knows the training images as well, by
    their own labels: then neither looks nor labels were the matter."""
    own = score(trainee, _some(lab.evaluation)).advantage
    return score(trainee, _some(lab.parts.training)).advantage >= 0.5 * own


def _some(batches: Sequence[CapturedBatch]) -> Sequence[CapturedBatch]:
    return batches[:: max(1, len(batches) // 16)]


def longer(_: Lab, __: Trainee) -> None:
    """Nothing but time: see `Change.stretch`."""


def rows_alone(lab: Lab, trainee: Trainee) -> None:
    """Each image goes through the model by itself."""
    lab.need("batch-mixed", "No output depends on another row of the batch.")
    trainee.rows_alone = True
