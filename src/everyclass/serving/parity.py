"""Does an exported model answer as PyTorch does? Measured on real images, at their own size.

Comes in: the model, an artifact, paths. Goes out: differences, and the answers of both. The model's
side is what training, evaluation and prediction run: `Classifier` and `Decision`, not the graph
that was exported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from everyclass.errors import InputError
from everyclass.models.file import SavedModel
from everyclass.serving.artifact import Artifact
from everyclass.serving.real_images import RealImages, raw_batches
from everyclass.stats.calibration import softmax

TOLERANCE = 1e-3
"""Of a probability. Sums in another order change about 1e-6 of it; a pixel that is rounded to the
next grey level, 1e-4."""

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far two answer alike.

    Args:
        images: in words.
        n: images that both answered.
        unreadable: images that were left out.
        largest_difference: of a probability, in [0, 1]; of a softmax of the balanced scores, too.
            NaN where one of them is no number.
        natural_agree, balanced_agree: images with the same decision.
    """

    images: str
    n: int
    unreadable: int
    largest_difference: float
    natural_agree: int
    balanced_agree: int
    tolerance: float = TOLERANCE

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance; a NaN is not."""
        return self.largest_difference <= self.tolerance

    @property
    def sentence(self) -> str:
        """The finding with its figures."""
        lost = f" ({self.unreadable:,} unreadable)" if self.unreadable else ""
        return (
            f"{self.images}{lost}: probabilities differ by {self.largest_difference:.1e} at most "
            f"({self.tolerance:g} is allowed); {self.natural_agree:,} of {self.n:,} natural and "
            f"{self.balanced_agree:,} of {self.n:,} balanced decisions agree."
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; a difference that is no number is null."""
        difference = self.largest_difference
        return {
            "images": self.images,
            "n": self.n,
            "unreadable": self.unreadable,
            "largest_difference": difference if np.isfinite(difference) else None,
            "tolerance": self.tolerance,
            "natural_agree": self.natural_agree,
            "balanced_agree": self.balanced_agree,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answered:
    """What one side says of every readable image.

    Args:
        rows: (N,) positions among the images.
        probabilities, balanced: (N, C); the latter a softmax of the balanced scores.
    """

    rows: Ids
    probabilities: Floats
    balanced: Floats


def answered_by_model(
    model: SavedModel, images: RealImages, *, on_progress: Callable[[int, int], None]
) -> Answered:
    """The answers of PyTorch.

    Raises:
        InputError: none of the images can be read.
    """
    decision = model.decision
    shift = decision.tau * np.log(decision.natural_prior)
    rows, logits = list[Ids](), list[npt.NDArray[np.float32]]()
    for found, batch in raw_batches(images.paths):
        with torch.inference_mode():
            logits.append(model.classifier(torch.from_numpy(batch)).numpy())
        rows.append(found)
        on_progress(int(found[-1]) + 1, len(images.paths))
    if not rows:
        raise InputError(
            f"None of {images.words} can be read.", remedy="Name others with --images."
        )
    every = np.concatenate(logits)
    return Answered(
        rows=np.concatenate(rows),
        probabilities=decision.probabilities(every),
        balanced=softmax(every - shift),
    )


def answered_by_artifact(
    artifact: Artifact, images: RealImages, *, on_progress: Callable[[int, int], None]
) -> Answered:
    """The answers of an exported model."""
    rows, probabilities, scores = list[Ids](), list[Any](), list[Any]()
    for found, batch in raw_batches(images.paths):
        answers = artifact.answer(batch)
        rows.append(found)
        probabilities.append(answers.probabilities.astype(np.float64))
        scores.append(answers.balanced_scores)
        on_progress(int(found[-1]) + 1, len(images.paths))
    return Answered(
        rows=np.concatenate(rows),
        probabilities=np.concatenate(probabilities),
        balanced=softmax(np.concatenate(scores)),
    )


def compared(
    wanted: Answered, found: Answered, images: RealImages, *, tolerance: float = TOLERANCE
) -> Parity:
    """The two beside each other."""
    differences = (
        np.abs(wanted.probabilities - found.probabilities),
        np.abs(wanted.balanced - found.balanced),
    )
    return Parity(
        images=images.words,
        n=len(wanted.rows),
        unreadable=len(images.paths) - len(wanted.rows),
        largest_difference=float(np.max([one.max() for one in differences])),  # NaN stays NaN
        natural_agree=_agree(wanted.probabilities, found.probabilities),
        balanced_agree=_agree(wanted.balanced, found.balanced),
        tolerance=tolerance,
    )


def _agree(wanted: Floats, found: Floats) -> int:
    return int((wanted.argmax(axis=1) == found.argmax(axis=1)).sum())
