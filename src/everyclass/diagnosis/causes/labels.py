"""Labels against outputs, and against each other. Causes: labels-out-of-range, labels-unrelated.

Whether labels belong to their images is no matter of form, but for images that come twice with
different ones; for all others trials can tell.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, passed
from everyclass.diagnosis.causes.stream import stream_is_sorted
from everyclass.diagnosis.material import ID_LOSSES, Material, class_ids, rows_of
from everyclass.diagnosis.nested import row_prints

LEAST_CONFLICTS, CONFLICTING_SHARE = 8, 0.05
"""Images with several labels, of all that were captured, from which more than a few doubtful
duplicates are said to be at work."""

IGNORED = -100
LEAST_LABELS = 1000
RARER = 5.0
CERTAIN = 1e-4
"""Chance of not meeting class 0, were it so many times rarer than the rarest class that was met;
below, and with so many labels, it is called missing.
"""


def label_range(material: Material) -> Answer:
    """Ids below 0 or not below the number of outputs."""
    ids = _ids(material)
    n_outputs = material.n_outputs
    low, high = int(ids.min()), int(ids.max())
    bad = int(((ids < 0) | (ids >= n_outputs)).sum())
    evidence = {
        "min": low,
        "max": high,
        "outputs": n_outputs,
        "labels": ids.numel(),
        "outside": bad,
    }
    if not bad:
        return passed(
            f"Label ids {low} to {high} fit the {n_outputs} outputs ({ids.numel():,} labels).",
            evidence,
        )
    shifted = low >= 1 and high == n_outputs
    remedy = (
        "Number the classes from 0: subtract 1 from the labels."
        if shifted
        else f"Number the classes 0 to {n_outputs - 1}, or give the last layer {high + 1} outputs; "
        "rows without a label need the loss's ignore_index."
    )
    return accuse(
        "labels-out-of-range",
        f"Label ids run from {low} to {high}, the model has {n_outputs} outputs (ids 0 to "
        f"{n_outputs - 1}): {bad:,} of {ids.numel():,} labels do not fit.",
        remedy=remedy,
        evidence=evidence,
    )


def label_shift(material: Material) -> Answer:
    """Ids that fit but start at 1, and outputs that no class uses."""
    ids = _ids(material)
    n = material.n_outputs
    if material.classes and len(material.classes) != n:
        return accuse(
            "labels-out-of-range",
            f"There are {len(material.classes)} classes and {n} outputs.",
            remedy=f"Give the last layer {len(material.classes)} outputs.",
            evidence={"classes": len(material.classes), "outputs": n},
        )
    counts, exact = _counts(material, ids)
    present = [c for c, count in enumerate(counts) if count]
    evidence = {"counts": counts, "outputs": n, "whole_training_set": exact}
    missing = [c for c in range(n) if not counts[c]]
    if missing == [0] and material.spec.ignore_index == 0:
        raise NotApplicable("The loss ignores id 0; see ignored-class.")
    if missing != [0] or n < 3 or len(present) != n - 1:
        return passed(f"{len(present)} of {n} ids occur in {sum(counts):,} labels.", evidence)
    if not exact:
        total, rarest = sum(counts), min(counts[c] for c in present)
        chance = math.exp(total * math.log1p(-rarest / RARER / total))
        evidence["chance"] = chance
        if chance > CERTAIN or total < LEAST_LABELS:
            return passed(
                f"Id 0 does not occur in {total:,} labels, too few to call it missing.",
                evidence,
            )
        if stream_is_sorted(material):
            raise NotApplicable("The stream is sorted, so a class that was not met may come later.")
    return accuse(
        "labels-out-of-range",
        f"Id 0 never occurs in {sum(counts):,} labels while all of 1 to {n - 1} do: the labels "
        f"start at 1, and one of the {n} outputs serves no class.",
        remedy=f"Subtract 1 from the labels and give the last layer {n - 1} outputs.",
        evidence=evidence,
    )


def label_conflicts(material: Material) -> Answer:
    """Images that come again, pixel for pixel, with another label."""
    spec = material.case.loss
    ignored = IGNORED if spec is None else spec.ignore_index
    seen: dict[int, list[int]] = {}
    for batch in material.case.batches:
        n_rows = rows_of(batch)
        ids = None if batch.targets is None else class_ids(batch.targets, ignore=ignored)
        if n_rows is None or ids is None or len(ids) != n_rows:
            continue
        prints = row_prints((batch.args, dict(batch.keywords)), n_rows=n_rows)
        for image, label in zip(prints, ids.tolist()):
            seen.setdefault(image, []).append(label)
    again = [labels for labels in seen.values() if len(labels) > 1]
    different = [labels for labels in again if len(set(labels)) > 1]
    evidence = {"images": len(seen), "came_again": len(again), "with_another": len(different)}
    if not again:
        raise NotApplicable("No captured image came twice, pixel for pixel.")
    few = len(different) < LEAST_CONFLICTS or len(different) < CONFLICTING_SHARE * len(seen)
    if few:
        return passed(
            f"{len(again) - len(different):,} of {len(again):,} images that came again had the "
            "label they had before.",
            evidence,
        )
    names = sorted(set(different[0]))[:2]
    first, second = (material.class_name(one) for one in names)
    return accuse(
        "labels-unrelated",
        f"{len(different):,} of {len(seen):,} images came again, pixel for pixel, with another "
        f"label; the first as {first} and as {second}. At most one of these is right.",
        remedy="Give each image one label: look for rows that are listed twice, and for labels "
        "that are shuffled or drawn anew.",
        evidence=evidence,
    )


def _ids(material: Material) -> Tensor:
    if material.spec.name not in ID_LOSSES or material.spec.soft_targets:
        raise NotApplicable("The loss takes no class ids.")
    ids = material.labels
    if ids.numel() == 0:
        raise NotApplicable("Every target is the loss's ignore_index.")
    return ids


def _counts(material: Material, ids: Tensor) -> tuple[list[int], bool]:
    n = material.n_outputs
    known = material.case.class_counts
    if known is not None and len(known) == n:
        return list(known), True
    rows = material.case.label_counts
    if rows and len(rows[0]) == n:
        return list(material.stream_counts), False
    fitting = ids[(ids >= 0) & (ids < n)]
    return torch.bincount(fitting, minlength=n).tolist(), False


CHECKS = (
    Check(name="label-range", run=label_range, needs_finite=False),
    Check(name="label-shift", run=label_shift, needs_finite=False),
    Check(name="label-conflicts", run=label_conflicts, needs_finite=False),
)
