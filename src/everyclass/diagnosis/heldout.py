"""Which captured batches a trial trains on, and which it is judged by.

Comes in: captured batches. Goes out: the two parts, of which no image is in both as far as its
pixels tell. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import CapturedBatch
from everyclass.diagnosis.material import class_ids, pick_rows, rows_of
from everyclass.diagnosis.nested import row_prints

HELD_OUT_SHARE = 0.25
LEAST_BATCHES = 4
LEAST_HELD_OUT = 32
"""Images that a score needs to say anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Captured batches in two parts, each in the order they came.

    Args:
        training: a trial trains on these.
        held_out: it is judged by these; never trained on.
        images, held_out_images: rows in either part.
    """

    training: tuple[CapturedBatch, ...]
    held_out: tuple[CapturedBatch, ...]
    images: int
    held_out_images: int


@dataclass(slots=True)
class _Batch:
    """With a fingerprint of each row's pixels."""

    batch: CapturedBatch
    rows: tuple[int, ...]
    images: frozenset[int]
    classes: frozenset[int]


def divide(batches: Sequence[CapturedBatch], *, epoch: int | None = None) -> Parts:
    """Every fourth batch is held out, more where a class would be missing otherwise; where images
    come in many batches (drawn with replacement, many epochs), every fourth image.

    Images of a later epoch come again, often augmented anew, so that pixels do not tell: where the
    length of an epoch is known and holds batches enough, the first one alone is used.

    Args:
        batches: training batches, in their order.
        epoch: batches an epoch, None when not known.
    Raises:
        NotApplicable: too few batches or images.
    """
    usable = [one for one in batches if one.targets is not None and (one.args or one.keywords)]
    first_epoch = [
        one
        for i, one in enumerate(usable)
        if epoch is None or (i if one.number is None else one.number) < epoch
    ]
    if len(usable) < LEAST_BATCHES:
        raise NotApplicable(f"{len(usable)} batches were captured; trials need {LEAST_BATCHES}.")
    found = _divided(first_epoch) if len(first_epoch) >= LEAST_BATCHES else None
    if found is None and len(first_epoch) < len(usable):
        found = _divided(usable)
    if found is None:
        raise NotApplicable(
            f"Too few of the captured images could be held out; a score needs {LEAST_HELD_OUT}."
        )
    return found


def _divided(batches: Sequence[CapturedBatch]) -> Parts | None:
    known = [_looked_at(one) for one in batches]
    found = _by_batches(known)
    return _by_images(known) if found is None else found


def divide_evaluation(batches: Sequence[CapturedBatch]) -> Parts | None:
    """Evaluation images, every other one to train on; None where they are too few.

    Loaders of evaluations seldom shuffle: whole batches would leave classes out on either side.
    """
    usable = [one for one in batches if one.targets is not None and (one.args or one.keywords)]
    known = [_looked_at(one) for one in usable]
    images = dict.fromkeys(image for one in known for image in one.rows)
    held = frozenset(list(images)[::2])
    training, held_out, seen = [], [], set[int]()
    for one in known:
        again = frozenset(one.images & seen)
        seen |= one.images
        training.append(_without(one, held | again))
        held_out.append(_without(one, frozenset(one.rows) - held | again))
    parts = _parts(
        [one for one in training if one is not None], [one for one in held_out if one is not None]
    )
    return parts if min(parts.images, parts.held_out_images) >= LEAST_HELD_OUT else None


def _by_batches(known: Sequence[_Batch]) -> Parts | None:
    """Whole batches on either side; None where most images come in many of them."""
    chosen = _chosen(known)
    held_rows = frozenset[int]().union(*(known[i].images for i in chosen))
    training = [
        one
        for i, one in enumerate(known)
        if i not in chosen and len(one.images & held_rows) <= len(one.images) // 16
    ]
    trained = frozenset[int]().union(*(one.images for one in training))
    held_out = [_without(known[i], trained) for i in sorted(chosen)]
    parts = _parts([one.batch for one in training], [one for one in held_out if one is not None])
    few = len(training) < min(LEAST_BATCHES, len(known) // 2)
    return None if few or parts.held_out_images < LEAST_HELD_OUT else parts


def _by_images(known: Sequence[_Batch]) -> Parts | None:
    """Every fourth image on the other side, and out of the batches it stands in."""
    images = sorted(frozenset[int]().union(*(one.images for one in known)))
    held = frozenset(images[:: round(1 / HELD_OUT_SHARE)])
    training = [_without(one, held) for one in known]
    seen = set[int]()
    held_out = []
    for one in known:
        others = frozenset(one.rows) - (held - seen)
        part = _without(one, others)
        seen |= one.images & held
        held_out += [] if part is None else [part]
    parts = _parts([one for one in training if one is not None], held_out)
    few = not parts.training or parts.held_out_images < LEAST_HELD_OUT
    return None if few else parts


def _without(one: _Batch, images: frozenset[int]) -> CapturedBatch | None:
    """The batch without these images; None when fewer than two stay."""
    kept = [i for i, image in enumerate(one.rows) if image not in images]
    if len(kept) == len(one.rows):
        return one.batch
    if len(kept) < 2:
        return None
    return pick_rows(one.batch, torch.tensor(kept), n_rows=len(one.rows))


def _parts(training: Sequence[CapturedBatch], held_out: Sequence[CapturedBatch]) -> Parts:
    return Parts(
        training=tuple(training),
        held_out=tuple(held_out),
        images=sum(rows_of(one) or 0 for one in training),
        held_out_images=sum(rows_of(one) or 0 for one in held_out),
    )


def _looked_at(batch: CapturedBatch) -> _Batch:
    n_rows = rows_of(batch) or 0
    prints = row_prints((batch.args, dict(batch.keywords)), n_rows=n_rows)
    assert batch.targets is not None
    ids = class_ids(batch.targets, ignore=-100)
    classes = () if ids is None else set(ids.tolist())
    return _Batch(batch, prints, frozenset(prints), frozenset(classes))


def _chosen(known: Sequence[_Batch]) -> set[int]:
    """Indices of the batches to hold out: every fourth, and one of each class that is missing."""
    every = max(2, round(1 / HELD_OUT_SHARE))
    chosen = set(range(every - 1, len(known), every))
    held = frozenset[int]().union(*(known[i].classes for i in chosen))
    everything = frozenset[int]().union(*(one.classes for one in known))
    for missing in sorted(everything - held):
        with_it = [i for i, one in enumerate(known) if missing in one.classes]
        if len(with_it) > 1 and missing not in held:
            chosen.add(with_it[-1])
            held |= known[with_it[-1]].classes
    return chosen
