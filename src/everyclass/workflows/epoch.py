"""One epoch in figures: sums while it runs, and its line in the log.

Comes in: steps of a training, the result of its validation. Goes out: sums that stay on the device,
and plain values. Drives nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from everyclass.settings import Selection
from everyclass.stats.calibration import log_softmax
from everyclass.stats.confusion import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    recall,
)
from everyclass.training.steps import StepResult
from everyclass.workflows.events import EpochDone


@dataclass(slots=True, kw_only=True)
class EpochSums:
    """Sums over the training batches of the current epoch, on the device: reading them, not
    adding to them, waits for it.

    Args:
        loss: () float64 (float32 on MPS), sum over images.
        hits, predicted, seen: (C,) int64 images.
    """

    loss: Tensor
    hits: Tensor
    predicted: Tensor
    seen: Tensor

    @classmethod
    def zero(cls, n_classes: int, device: torch.device) -> EpochSums:
        """No batch yet."""
        exact = torch.float32 if device.type == "mps" else torch.float64
        counts = [torch.zeros(n_classes, dtype=torch.int64, device=device) for _ in range(3)]
        return cls(
            loss=torch.zeros((), dtype=exact, device=device),
            hits=counts[0],
            predicted=counts[1],
            seen=counts[2],
        )

    def add(self, result: StepResult) -> None:
        """Add one step; not that of a mixed batch, whose images show no class."""
        if result.mixed:
            return
        predictions = result.logits.argmax(dim=1)
        ones = torch.ones_like(result.targets)
        self.loss += result.loss.to(self.loss.dtype) * len(ones)
        self.hits.index_add_(0, result.targets, (predictions == result.targets).long())
        self.predicted.index_add_(0, predictions, ones)
        self.seen.index_add_(0, result.targets, ones)

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def shares(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64] | int) -> tuple[float, ...]:
    """Quotients, NaN where nothing was divided by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return tuple(float(value) for value in part / whole)


def validation_figures(
    logits: npt.NDArray[np.floating], targets: npt.NDArray[np.int64], shift: npt.NDArray[np.float64]
) -> dict[str, Any]:
    """What an `EpochDone` tells of the validation images.

    Args:
        logits: (N, C).
        targets: (N,) class ids.
        shift: (C,) what takes the logits to the natural prior, for the loss.
    """
    confusion = confusion_matrix(targets, logits.argmax(axis=1), n_classes=logits.shape[1])
    natural = logits.astype(np.float64) + shift
    losses = -log_softmax(natural)[np.arange(len(targets)), targets]
    return {
        "val_loss": float(losses.mean()),
        "accuracy": accuracy(confusion),
        "balanced_accuracy": balanced_accuracy(confusion),
        "macro_f1": macro_f1(confusion),
        "recalls": tuple(float(value) for value in recall(confusion)),
        "predicted_shares": tuple(float(v) for v in confusion.sum(axis=0) / confusion.sum()),
    }


def judged(event: EpochDone, selection: Selection, best_score: tuple[float, ...]) -> EpochDone:
    """The same event, knowing whether it is the best so far.

    Args:
        best_score: of the best epoch before; empty when there was none.
    """
    best = not best_score or score_of(event, selection) > best_score
    return replace(event, best=best or selection == "last")


def score_of(event: EpochDone, selection: Selection) -> tuple[float, ...]:
    """What epochs are compared by: the selection metric, then the worst class's recall."""
    worst = min(value for value in event.recalls if not math.isnan(value))
    first = float(event.epoch) if selection == "last" else float(getattr(event, selection))
    return first, worst


def metrics_line(event: EpochDone, classes: tuple[str, ...], rate: float) -> dict[str, Any]:
    """The line of `metrics.jsonl` of an epoch; a loss that is no number is null, as JSON has none.

    Args:
        rate: learning rate of its last step.
    """

    def by_name(values: tuple[float, ...]) -> dict[str, float | None]:
        return {
            name: None if math.isnan(value) else round(value, 6)
            for name, value in zip(classes, values)
        }

    return {
        "step": event.step,
        "epoch": event.epoch,
        "train_loss": event.train_loss if math.isfinite(event.train_loss) else None,
        "val_loss": event.val_loss if math.isfinite(event.val_loss) else None,
        "accuracy": event.accuracy,
        "balanced_accuracy": event.balanced_accuracy,
        "macro_f1": event.macro_f1,
        "recall": by_name(event.recalls),
        "predicted_share": by_name(event.predicted_shares),
        "learning_rate": rate,
        "best": event.best,
        "images_per_second": round(event.images_per_second, 1),
        "seconds": round(event.seconds, 2),
    }
