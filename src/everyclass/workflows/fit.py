"""Drive the loop of one run: validate, choose, checkpoint, stop, go on.

Comes in: a recipe's settings, the table, a reader of images, the run's folder. Goes out: the best
weights on disk, and events while it works. It alone knows that a training can be interrupted:
every state it needs is in the checkpoint, and every random choice is named by its step.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from everyclass.errors import EveryclassError
from everyclass.images.store import ImageStore
from everyclass.images.table import ImageTable
from everyclass.models.classifier import Classifier
from everyclass.monitoring.monitor import Monitor
from everyclass.run_folder import RunFolder, write_atomically
from everyclass.settings import Settings
from everyclass.stats.calibration import log_softmax
from everyclass.stats.confusion import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    recall,
)
from everyclass.training.batches import (
    Batch,
    Rows,
    steps_per_epoch,
    to_images,
    training_batches,
)
from everyclass.training.optim import build_optimizer, learning_rate_at
from everyclass.training.steps import StepResult, steps
from everyclass.workflows.clock import Clock
from everyclass.workflows.correction import Correction
from everyclass.workflows.events import (
    Alarmed,
    BatchShown,
    Checked,
    EpochDone,
    Event,
    StepsDone,
    TrainingStarted,
)
from everyclass.workflows.first_check import checked_images, first_check
from everyclass.workflows.inference import logits_of, make_fabric

CHECKPOINT_SECONDS = 60.0


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
        show_batches: emit a `BatchShown` every so many batches; 0 = never.
        checkpoint_seconds: time between checkpoints inside an epoch; each epoch end has one too.
    """

    run: RunFolder
    table: ImageTable
    settings: Settings
    correction: Correction
    store: ImageStore
    classifier: Classifier
    weights: str
    show_batches: int = 0
    checkpoint_seconds: float = CHECKPOINT_SECONDS


@dataclass(slots=True, kw_only=True)
class Progress:
    """What is known between two steps; plain values, saved in every checkpoint."""

    step: int = 0
    best_score: tuple[float, ...] = ()
    best_epoch: int = -1
    epochs_without_gain: int = 0


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
        """Add one step."""
        predictions = result.logits.argmax(dim=1)
        ones = torch.ones_like(result.targets)
        self.loss += result.loss.to(self.loss.dtype) * len(ones)
        self.hits.index_add_(0, result.targets, (predictions == result.targets).long())
        self.predicted.index_add_(0, predictions, ones)
        self.seen.index_add_(0, result.targets, ones)


def fit(
    job: Job,
    *,
    checkpoint: bytes | None,
    stop: Callable[[], bool],
    on_event: Callable[[Event], None],
) -> Progress:
    """Train to the end, or until `stop()`.

    Args:
        checkpoint: content of the checkpoint to continue, None to start.
        stop: asked after every step; true saves the state and raises.
        on_event: told what happens, in order.
    Returns:
        The last progress; the best weights are in `run.best_weights`.
    Raises:
        InterruptedTraining: `stop()` was true; the run can be resumed.
        NonFiniteLoss: with the step and the batch's files; the last checkpoint is intact.
    """
    return _Fit(job, on_event).run(checkpoint, stop)


@dataclass(slots=True)
class _Fit:
    """The moving parts of one training; lives as long as `fit`."""

    job: Job
    on_event: Callable[[Event], None]
    fabric: Fabric = field(init=False)
    model: Any = field(init=False)
    optimizer: Any = field(init=False)
    average: AveragedModel | None = field(init=False)
    progress: Progress = field(init=False, default_factory=Progress)
    sums: EpochSums = field(init=False)
    monitor: Monitor = field(init=False)
    train_rows: Rows = field(init=False)
    val_rows: Rows = field(init=False)
    labels: Rows = field(init=False)

    def __post_init__(self) -> None:
        settings, table = self.job.settings, self.job.table
        torch.set_num_threads(settings.threads)
        self.fabric = make_fabric(device=settings.device, precision=settings.precision)
        optimizer = build_optimizer(
            settings.optimizer,
            self.job.classifier,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        # Channels-last weights: with channels-last inputs every convolution keeps that layout.
        self.job.classifier.to(memory_format=torch.channels_last)
        self.model, self.optimizer = self.fabric.setup(self.job.classifier, optimizer)
        self.average = None
        if settings.ema_decay > 0:
            self.average = AveragedModel(
                self.job.classifier,
                multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay),  # type: ignore[no-untyped-call]
                use_buffers=True,
            )
        codes = table.split_codes()
        self.labels = table.labels()
        self.train_rows = np.flatnonzero(codes == 0).astype(np.int64)
        self.val_rows = np.flatnonzero(codes == 1).astype(np.int64)
        self.sums = self._no_sums()

    def _no_sums(self) -> EpochSums:
        return EpochSums.zero(len(self.job.table.classes), self.fabric.device)

    @property
    def per_epoch(self) -> int:
        return steps_per_epoch(len(self.train_rows), self.job.settings.batch_size)

    @property
    def n_steps(self) -> int:
        return self.per_epoch * self.job.settings.epochs

    def run(self, checkpoint: bytes | None, stop: Callable[[], bool]) -> Progress:
        if checkpoint is not None:
            self._restore(checkpoint)
        first_step = self.progress.step
        self.monitor = Monitor(
            classes=self.job.table.classes,
            first_step=first_step,
            steps_per_epoch=self.per_epoch,
            on_finding=lambda finding: self.on_event(Alarmed(finding=finding)),
        )
        self._announce(first_step)
        batches = self._batches(first_step)
        if first_step == 0:
            batches = self._checked(batches)
        clock = Clock(first_step=first_step)
        previous: StepResult | None = None
        # Ctrl-C during a save must not leave through the middle: `stop` is only asked here.
        for result in self._steps(batches):
            if previous is not None:
                self._refuse_non_finite(previous)
            previous = result
            self.progress.step = result.batch.step + 1
            self.sums.add(result)
            self.monitor.observe(result.logits, result.targets, result.loss)
            self.monitor.advance(learning_rate=result.learning_rate)
            clock.images += len(result.batch.rows)
            self._show(result, clock)
            if self.progress.step % self.per_epoch == 0:
                self._refuse_non_finite(result)
                self._end_epoch(clock)
                if self._stale():
                    break
            elif clock.checkpoint_due(self.job.checkpoint_seconds):
                self._refuse_non_finite(result)
                self._save(clock)
            if stop():
                self._refuse_non_finite(result)
                self._save(clock)
                raise InterruptedTraining(f"Stopped at step {self.progress.step:,}.")
        self.job.run.write_json(self.job.run.findings, self.monitor.summary(ended=True).to_dict())
        return self.progress

    # -- stepping ------------------------------------------------------------------------------

    def _batches(self, first_step: int) -> Iterator[Batch]:
        return training_batches(
            self.job.store.gather,
            self.labels,
            lambda epoch: self.train_rows[self.job.correction.epoch_order(epoch)],
            n_images=len(self.train_rows),
            batch_size=self.job.settings.batch_size,
            first_step=first_step,
            n_steps=first_step if self._stale() else self.n_steps,
        )

    def _checked(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; the first one is checked before anything is trained on it."""
        first = next(batches)
        some = checked_images(self.job.settings.image_size)
        rows = self.val_rows[:: max(1, len(self.val_rows) // some)]
        report = first_check(
            self.job.classifier,
            self.optimizer.optimizer,
            self.job.correction.loss,
            first,
            validation=(to_images(self.job.store.gather(rows)), torch.from_numpy(self.labels[rows]))
            if len(rows)
            else None,
            augmentation=self.job.settings.augmentation,
            seed=self.job.settings.seed,
            classes=self.job.table.classes,
            class_counts=self._train_counts(),
        )
        self.job.run.write_json(self.job.run.checks, report.to_dict())
        self.on_event(Checked(report=report))
        return chain([first], batches)

    def _steps(self, batches: Iterator[Batch]) -> Iterator[StepResult]:
        settings = self.job.settings
        return steps(
            self.model,
            self.optimizer,
            batches,
            self.job.correction.loss,
            fabric=self.fabric,
            rate=lambda step: learning_rate_at(
                step,
                n_steps=self.n_steps,
                peak=settings.learning_rate,
                schedule=settings.schedule,
                warmup_fraction=settings.warmup_fraction,
            ),
            seed=settings.seed,
            accumulation=settings.accumulation,
            clip_norm=settings.clip_norm,
            augmentation=settings.augmentation,
            average=self.average,
        )

    def _refuse_non_finite(self, result: StepResult) -> None:
        if math.isfinite(float(result.loss)):
            return
        settings = self.job.settings
        step = result.batch.step
        files = [self.job.table.image(int(row)) for row in result.batch.rows]
        shown = ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
        saved = self.job.run.last_checkpoint()
        kept = (
            f"The last good checkpoint is {saved[1].name}."
            if saved
            else "No checkpoint had been written yet."
        )
        raise NonFiniteLoss(
            f"The loss became {float(result.loss)} at step {step:,} "
            f"(epoch {step // self.per_epoch}, rate {result.learning_rate:g}). "
            f"The batch's files: {shown}. {kept} Train again with a lower --learning-rate "
            f"(it was {settings.learning_rate:g}) or --clip-norm 1."
        )

    # -- the end of an epoch -------------------------------------------------------------------

    def _end_epoch(self, clock: Clock) -> None:
        event = self._validate(clock)
        score = self._score(event)
        if event.best:
            self.progress.best_score = score
            self.progress.best_epoch = event.epoch
            self.progress.epochs_without_gain = 0
            write_atomically(self.job.run.best_weights, self._weights())
        else:
            self.progress.epochs_without_gain += 1
        self.sums = self._no_sums()
        self.job.run.append_metrics(_metrics_line(event, self.job.table.classes, self._rate()))
        self._save(clock)
        self.on_event(event)

    def _validate(self, clock: Clock) -> EpochDone:
        classes = len(self.job.table.classes)
        evaluated = self.average.module if self.average is not None else self.job.classifier
        logits = logits_of(evaluated, self.job.store.gather, self.val_rows, fabric=self.fabric)
        targets = self.labels[self.val_rows]
        self.monitor.observe_evaluation(torch.from_numpy(logits), torch.from_numpy(targets))
        self.monitor.end_evaluation()
        confusion = confusion_matrix(targets, logits.argmax(axis=1), n_classes=classes)
        natural = logits.astype(np.float64) + self.job.correction.log_shift_to_natural
        losses = -log_softmax(natural)[np.arange(len(targets)), targets]
        seen = max(1, int(self.sums.seen.sum()))
        event = EpochDone(
            step=self.progress.step,
            epoch=self.progress.step // self.per_epoch - 1,
            epochs=self.job.settings.epochs,
            train_loss=float(self.sums.loss) / seen,
            val_loss=float(losses.mean()),
            accuracy=accuracy(confusion),
            balanced_accuracy=balanced_accuracy(confusion),
            macro_f1=macro_f1(confusion),
            recalls=tuple(float(value) for value in recall(confusion)),
            predicted_shares=tuple(float(v) for v in confusion.sum(axis=0) / confusion.sum()),
            best=False,
            images_per_second=clock.pace(),
            seconds=clock.seconds(),
        )
        best = not self.progress.best_score or self._score(event) > self.progress.best_score
        if self.job.settings.selection == "last":
            best = True
        return replace(event, best=best)

    def _score(self, event: EpochDone) -> tuple[float, ...]:
        """What epochs are compared by: the selection metric, then the worst class's recall."""
        name = self.job.settings.selection
        worst = min(value for value in event.recalls if not math.isnan(value))
        return (float(event.epoch) if name == "last" else float(getattr(event, name)), worst)

    def _stale(self) -> bool:
        limit = self.job.settings.early_stop_epochs
        return limit > 0 and self.progress.epochs_without_gain >= limit

    def _rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    # -- state ---------------------------------------------------------------------------------

    def _weights(self) -> bytes:
        source = self.average.module if self.average is not None else self.job.classifier
        return safetensors.torch.save(
            {key: value.detach().cpu().contiguous() for key, value in source.state_dict().items()}
        )

    def _save(self, clock: Clock) -> None:
        state = {
            "progress": asdict(self.progress),
            "sums": {name: getattr(self.sums, name) for name in ("loss", *_COUNTS)},
            "model": self.job.classifier.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "precision": self.fabric.strategy.precision.state_dict(),
        }

        def write(buffer: io.BytesIO) -> None:
            torch.save(state, buffer)

        self.job.run.save_checkpoint(self.progress.step, write)
        clock.saved = time.monotonic()

    def _restore(self, checkpoint: bytes) -> None:
        state = torch.load(
            io.BytesIO(checkpoint), map_location=self.fabric.device, weights_only=True
        )
        self.progress = Progress(**state["progress"])
        self.progress.best_score = tuple(self.progress.best_score)
        self.sums = EpochSums(**state["sums"])
        self.job.classifier.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.job.run.cut_metrics(after_step=self.progress.step)

    def _train_counts(self) -> tuple[int, ...]:
        counts = np.bincount(self.labels[self.train_rows], minlength=len(self.job.table.classes))
        return tuple(int(count) for count in counts)

    # -- telling -------------------------------------------------------------------------------

    def _announce(self, first_step: int) -> None:
        self.on_event(
            TrainingStarted(
                classes=self.job.table.classes,
                counts=self._train_counts(),
                n_steps=self.n_steps,
                first_step=first_step,
                epochs=self.job.settings.epochs,
                weights=self.job.weights,
            )
        )

    def _show(self, result: StepResult, clock: Clock) -> None:
        epoch, position = divmod(result.batch.step, self.per_epoch)
        every = self.job.show_batches
        if every and (position + 1) % every == 0:
            names = self.job.table.classes
            self.on_event(
                BatchShown(
                    step=result.batch.step,
                    epoch=epoch,
                    position=position,
                    labels=tuple(names[k] for k in result.batch.targets.tolist()),
                    predictions=tuple(names[k] for k in result.logits.argmax(dim=1).tolist()),
                    loss=float(result.loss),
                )
            )
        if clock.view_due():
            seen = self.sums.seen.cpu().numpy()
            total = max(1, int(seen.sum()))
            watch = self.monitor.summary()
            self.on_event(
                StepsDone(
                    step=self.progress.step,
                    epoch=epoch,
                    loss=float(self.sums.loss) / total,
                    recalls=_shares(self.sums.hits.cpu().numpy(), seen),
                    predicted_shares=_shares(self.sums.predicted.cpu().numpy(), total),
                    images_per_second=clock.pace(),
                    seconds_left=clock.left(self.progress.step, self.n_steps),
                    verdict=watch.verdict,
                    opening=watch.phase != "learned",
                    sentence=watch.sentence,
                )
            )


_COUNTS = ("hits", "predicted", "seen")


def _shares(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64] | int) -> tuple[float, ...]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return tuple(float(value) for value in part / whole)


def _metrics_line(event: EpochDone, classes: tuple[str, ...], rate: float) -> dict[str, Any]:
    def by_name(values: tuple[float, ...]) -> dict[str, float | None]:
        return {
            name: None if math.isnan(value) else round(value, 6)
            for name, value in zip(classes, values)
        }

    return {
        "step": event.step,
        "epoch": event.epoch,
        "train_loss": event.train_loss,
        "val_loss": event.val_loss,
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
