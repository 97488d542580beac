"""What eight bits cost each class, and what they gain. Comes in: answers. Goes out: figures."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from everyclass.errors import InputError
from everyclass.models.graph import INPUT, OUTPUTS
from everyclass.serving.artifact import Artifact, Images
from everyclass.serving.onnx_file import session_of
from everyclass.serving.parity import Answered
from everyclass.serving.real_images import RealImages, raw_batches

ROUNDS = 9
SECONDS = 6.0
"""That the two are timed for at most, after one round each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCost:
    """One class under the balanced decision.

    Args:
        n: images of it.
        before, after: of these recognised, in float32 and in eight bits.
    """

    name: str
    n: int
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisationCost:
    """The quantised model beside the one in float32.

    Args:
        images: both were judged on, in words.
        calibrated_on: in words.
        classes: all with images, in the model's order.
        agree: images with the same balanced decision, of `n`.
        largest_difference: of a probability.
        bytes_before, bytes_after: of the files.
        rate_before, rate_after: images a second on one core, in batches of `timed`.
        timed: (B, 3, H, W).
    """

    images: str
    calibrated_on: str
    classes: tuple[ClassCost, ...]
    n: int
    agree: int
    largest_difference: float
    bytes_before: int
    bytes_after: int
    rate_before: float
    rate_after: float
    timed: tuple[int, ...]

    @property
    def balanced_accuracy(self) -> tuple[float, float]:
        """Mean recall over the classes with images, before and after."""
        before = statistics.fmean(one.before / one.n for one in self.classes)
        return before, statistics.fmean(one.after / one.n for one in self.classes)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        before, after = self.balanced_accuracy
        return {
            "images": self.images,
            "calibrated_on": self.calibrated_on,
            "classes": [
                {
                    "name": one.name,
                    "n": one.n,
                    "recall_before": one.before / one.n,
                    "recall_after": one.after / one.n,
                }
                for one in self.classes
            ],
            "balanced_accuracy_before": before,
            "balanced_accuracy_after": after,
            "n": self.n,
            "balanced_agree": self.agree,
            "largest_difference": (
                self.largest_difference if math.isfinite(self.largest_difference) else None
            ),
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "images_per_second_before": self.rate_before,
            "images_per_second_after": self.rate_after,
            "timed_batch": list(self.timed),
        }


def refuse_unlabelled(images: RealImages) -> None:
    """Refuse images by which no class can be judged.

    Raises:
        InputError: none has a label that the model knows.
    """
    if not (images.labels >= 0).any():
        raise InputError(
            f"None of {images.words} has a label that the model knows, so what each class loses "
            "cannot be told.",
            remedy="Name images in class folders, or a manifest with labels, with --images.",
        )


def class_costs(
    before: Answered, after: Answered, images: RealImages, classes: Sequence[str]
) -> tuple[ClassCost, ...]:
    """Images recognised of each class, before and after, by the balanced decision."""
    labels = images.labels[before.rows]
    right_before = before.balanced.argmax(axis=1) == labels
    right_after = after.balanced.argmax(axis=1) == labels
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    return tuple(
        ClassCost(
            name=name,
            n=int(counts[k]),
            before=int(right_before[labels == k].sum()),
            after=int(right_after[labels == k].sum()),
        )
        for k, name in enumerate(classes)
        if counts[k]
    )


def timed_rates(before: Artifact, after: Artifact, batch: Images) -> tuple[float, float]:
    """Images a second of each on one core: medians of rounds that alternate between them."""
    sessions = [session_of(one.files[0][1], threads=1) for one in (before, after)]
    seconds: tuple[list[float], list[float]] = ([], [])
    for session in sessions:
        session.run(list(OUTPUTS), {INPUT: batch})
    began = time.perf_counter()
    for _ in range(ROUNDS):
        for session, found in zip(sessions, seconds):
            start = time.perf_counter()
            session.run(list(OUTPUTS), {INPUT: batch})
            found.append(time.perf_counter() - start)
        if time.perf_counter() - began > SECONDS:
            break
    return (
        len(batch) / statistics.median(seconds[0]),
        len(batch) / statistics.median(seconds[1]),
    )


def first_batch(images: RealImages) -> Images:
    """The largest of the first batches of one size: what the two are timed with."""
    batches = [batch for _, (_, batch) in zip(range(4), raw_batches(images.paths))]
    return max(batches, key=len)
