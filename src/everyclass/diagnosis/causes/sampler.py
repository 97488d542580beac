"""How often a sampler draws each class, beside how often the data hold it. Causes:
double-correction, class-imbalance.

Comes in: a `Material`. A stream that goes as the images per class to the power 1 is shuffled
plainly, 0 is evened out; below 0 the rare classes are drawn most, above 1 the frequent ones even
more often than they come.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.causes.imbalance import (
    IMBALANCED_FROM,
    INVERTED_SLOPE,
    correlation,
    slope,
)
from everyclass.diagnosis.material import Material, class_ids

LEAST_IMAGES = 5
"""Of each class in the data before a stream is compared with them."""

LEAST_LABELS = 500
"""Of a stream: of fewer, chance decides how often a rare class comes."""

LIKE_A_POWER = 0.8
"""Correlation of logarithms from which a stream follows the images per class."""

EXAGGERATED_SLOPE = 1.5


def drawn_by_class(material: Material) -> Answer:
    """The stream's classes beside the data's."""
    if material.spec.weight is not None:
        raise NotApplicable("The loss has class weights; see double-correction.")
    stream = material.stream_counts
    if sum(stream) < LEAST_LABELS:
        raise NotApplicable(f"Fewer than {LEAST_LABELS} labels of the stream are known.")
    counts, whose = _data_counts(material, len(stream))
    drawn = [math.log(one + 0.5) for one in stream]
    there = [math.log(one) for one in counts]
    power, together = slope(drawn, there), correlation(drawn, there)
    evidence: dict[str, Any] = {
        "stream": list(stream),
        "data": list(counts),
        "data_of": whose,
        "exponent": power,
        "correlation": together,
    }
    told = f"Classes are drawn as {whose} images per class to the power {figure(power)}"
    if power <= INVERTED_SLOPE and together <= -LIKE_A_POWER:
        return accuse(
            "double-correction",
            f"{told} (1 is uncorrected, 0 even): the rare classes dominate, as when an imbalance "
            "is corrected twice.",
            remedy="Correct imbalance once: a sampler's weights are one over the counts of the "
            "very list it draws from, and images that were copied need no sampler.",
            evidence=evidence,
        )
    if power >= EXAGGERATED_SLOPE and together >= LIKE_A_POWER:
        return accuse(
            "class-imbalance",
            f"{told} (1 is uncorrected, 0 even): the frequent classes are drawn even more often "
            "than they come.",
            remedy="A sampler's weight of an image is one over the images of its class, and not "
            "the number of them.",
            evidence=evidence,
        )
    return passed(f"{told}.", evidence)


def _data_counts(material: Material, n_classes: int) -> tuple[Sequence[int], str]:
    """(C,) images per class that the data hold, and whose they are: the training set's, or, where
    copies were made in it, those of the evaluation images."""
    known = material.case.class_counts
    if known is not None and len(known) == n_classes and _uneven(known):
        return known, "the training set's"
    found = torch.zeros(n_classes, dtype=torch.int64)
    for batch in material.case.evaluation:
        ids = None if batch.targets is None else class_ids(batch.targets, ignore=-100)
        if ids is not None:
            ids = ids[(ids >= 0) & (ids < n_classes)]
            found += torch.bincount(ids, minlength=n_classes)
    counts = [int(one) for one in found]
    if not _uneven(counts):
        raise NotApplicable("No uneven classes are known that a stream could be compared with.")
    return counts, "the evaluation's"


def _uneven(counts: Sequence[int]) -> bool:
    return min(counts) >= LEAST_IMAGES and max(counts) >= IMBALANCED_FROM * min(counts)


CHECKS = (Check(name="drawn-by-class", run=drawn_by_class, needs_finite=False),)
