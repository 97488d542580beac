"""What a training tells while it runs: values for whoever shows them, in the order they happen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from everyclass.contracts import Evaluation, Verdict
from everyclass.diagnoses import Diagnosis
from everyclass.findings import Finding
from everyclass.images.audit_values import Audit
from everyclass.images.table import ImageTable
from everyclass.recipe import Recipe
from everyclass.repairs import Repair

if TYPE_CHECKING:  # an audit must not load torch
    from everyclass.diagnosis.check import CheckReport


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRead:
    """The data set was read; nothing of it is split yet but what it brings."""

    table: ImageTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesKept:
    """Where decoded images are kept while the run lasts or longer, how large that is, and why."""

    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditProgress:
    """`done` of `total` images were decoded."""

    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """The audit is finished, and the data set split. `sentences` says what could not be had."""

    audit: Audit
    table: ImageTable
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The recipe is known; `path` is where it was written, None for `--explain`."""

    recipe: Recipe
    path: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesMade:
    """The frozen network has seen `done` of `total` images, each in `views` views."""

    done: int
    total: int
    views: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    """Training begins, at `first_step` when resumed.

    Args:
        classes: names in output order.
        counts: training images per class.
        n_steps: of the whole training.
        first_step: 0, or where a resumed run goes on.
        weights: where the network's first weights come from, in words.
    """

    classes: tuple[str, ...]
    counts: tuple[int, ...]
    n_steps: int
    first_step: int
    epochs: int
    weights: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The exact checks ran on the first batch; nothing is trained yet."""

    report: CheckReport


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsDone:
    """The stream so far, a few times a second.

    Args:
        step: optimizer steps done.
        epoch: from 0.
        loss: mean over the samples of this epoch so far.
        recalls: per class on this epoch's training batches, NaN before a class was seen.
        predicted_shares: per class, share of this epoch's predictions.
        images_per_second: since training began or was resumed.
        seconds_left: at that pace, for training alone.
        verdict: of the watch, so far.
        opening: whether the watch still sees the opening phase.
        sentence: what the watch says.
    """

    step: int
    epoch: int
    loss: float
    recalls: tuple[float, ...]
    predicted_shares: tuple[float, ...]
    images_per_second: float
    seconds_left: float
    verdict: Verdict
    opening: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarmed:
    """The watch raised an alarm."""

    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosing:
    """The training waits while copies of it are tried.

    Args:
        finding: the alarm.
        budget_seconds: for the trials, about.
        trial: that begins now; "" before the first.
    """

    finding: Finding
    budget_seconds: float
    trial: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An alarm was answered: settings changed, or left as they are, or the end.

    Args:
        repair: what was done and why.
        diagnosis: behind it.
        made, allowed: repairs of the run, this one included, and those that it may make.
        path: of the recipe that is followed from here, None where it stays the same.
    """

    repair: Repair
    diagnosis: Diagnosis
    made: int
    allowed: int
    path: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchShown:
    """One batch as the tutorial prints it.

    Args:
        labels, predictions: class names, an entry an image.
        loss: mean over the batch.
    """

    step: int
    epoch: int
    position: int
    labels: tuple[str, ...]
    predictions: tuple[str, ...]
    loss: float

    @property
    def correct(self) -> int:
        """Images predicted right."""
        return sum(label == guess for label, guess in zip(self.labels, self.predictions))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochDone:
    """An epoch ended and was validated.

    Args:
        recalls: per class on validation images, NaN without any.
        predicted_shares: per class, share of the validation predictions.
        best: whether these weights are the best so far.
    """

    step: int
    epoch: int
    epochs: int
    train_loss: float
    val_loss: float
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    recalls: tuple[float, ...]
    predicted_shares: tuple[float, ...]
    best: bool
    images_per_second: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The model is saved and evaluated. `sentences` tells how it was calibrated and chosen."""

    folder: Path
    evaluation: Evaluation
    sentences: tuple[str, ...]


Event = (
    DataRead
    | ImagesKept
    | AuditProgress
    | Audited
    | Decided
    | FeaturesMade
    | TrainingStarted
    | Checked
    | StepsDone
    | Alarmed
    | Diagnosing
    | Answered
    | BatchShown
    | EpochDone
    | Finished
)
