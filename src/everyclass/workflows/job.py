"""What one training needs, what it knows between two steps, and how it may end.

Comes in: parts that others made. Goes out: values for the loop in `fit`. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from everyclass.errors import EveryclassError
from everyclass.findings import Finding
from everyclass.images.store import ImageStore
from everyclass.images.table import ImageTable
from everyclass.models.backbones import head_parameters
from everyclass.models.classifier import Classifier
from everyclass.run_folder import RunFolder
from everyclass.settings import Settings
from everyclass.training.optim import build_optimizer, learning_rate_at
from everyclass.training.processes import ALONE, Processes
from everyclass.workflows.correction import Correction

CHECKPOINT_SECONDS = 60.0

HEAD_FACTOR = 3.0
"""Times the rate at which the last layer of a pretrained network learns: it is the one that has not
seen a million images before."""


class InterruptedTraining(EveryclassError):
    """Asked to stop; the state is saved. Exit code 130."""


class NonFiniteLoss(EveryclassError):
    """The loss became NaN or infinite; the last checkpoint is from before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one training needs.

    Args:
        run: where everything is written.
        table: all rows, with splits.
        settings: from the recipe.
        correction: sampling, loss and the prior that the logits will imply.
        store: the resized images of the same rows.
        classifier: with its first weights.
        weights: where those come from, in words.
        small_stem: the network was made for small images.
        cosine_head: its last layer is one of cosines.
        start: checkpoint of another training of this run, whose weights, averages and best epoch
            this one begins with; optimizer and watch begin anew. None for the first weights.
        show_batches: emit a `BatchShown` every so many batches; 0 = never.
        checkpoint_seconds: time between checkpoints inside an epoch; each epoch end has one too.
        processes: that train it together.
    """

    run: RunFolder
    table: ImageTable
    settings: Settings
    correction: Correction
    store: ImageStore
    classifier: Classifier
    weights: str
    small_stem: bool = False
    cosine_head: bool = False
    start: bytes | None = None
    show_batches: int = 0
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    processes: Processes = ALONE


@dataclass(slots=True, kw_only=True)
class Progress:
    """What is known between two steps; plain values, saved in every checkpoint.

    Args:
        good_steps: ends of the last epochs that were the best so far, the watch seeing nothing
            wrong; their checkpoints are kept.
    """

    step: int = 0
    best_score: tuple[float, ...] = ()
    best_epoch: int = -1
    epochs_without_gain: int = 0
    good_steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """How far a training came.

    Args:
        progress: the last one.
        alarm: at which it stopped, or that its end shows; None when it ended well.
        failure: set where it could not have gone on.
        optimizer: as it is now, without Fabric's wrapper.
    """

    progress: Progress
    alarm: Finding | None
    failure: NonFiniteLoss | None
    optimizer: Optimizer


def optimizer_of(settings: Settings, classifier: Classifier) -> Optimizer:
    """The optimizer of a recipe; on pretrained weights the last layer learns faster."""
    head: list[nn.Parameter] = []
    if settings.pretrained:
        head = head_parameters(classifier.network)
    return build_optimizer(
        settings.optimizer,
        classifier,
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        fused=settings.precision != "fp16",
        faster=head,
        factor=HEAD_FACTOR,
    )


def rate_course(settings: Settings, *, n_steps: int) -> Callable[[int], float]:
    """Step -> learning rate, by a recipe.

    Args:
        n_steps: of the whole training.
    """

    def rate(step: int) -> float:
        return learning_rate_at(
            step,
            n_steps=n_steps,
            peak=settings.learning_rate,
            schedule=settings.schedule,
            warmup_fraction=settings.warmup_fraction,
        )

    return rate
