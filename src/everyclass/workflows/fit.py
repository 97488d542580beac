"""Drive the loop of one run: validate, choose, checkpoint, stop, go on.

Comes in: a recipe's settings, the table, a reader of images, the run's folder. Goes out: the best
weights on disk, and events while it works. It alone knows that a training can be interrupted:
every state it needs is in the checkpoint, the watch's too, and every random choice is named by its
step. It stops at an alarm where it is asked to, and knows no remedy.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import safetensors.torch
import torch
from lightning_fabric import Fabric
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from everyclass.contracts import Verdict
from everyclass.findings import Finding
from everyclass.monitoring.monitor import Monitor
from everyclass.monitoring.summary import Summary
from everyclass.run_folder import write_atomically
from everyclass.training.batches import Batch, Rows, steps_per_epoch, to_images, training_batches
from everyclass.training.steps import StepResult, steps
from everyclass.workflows.clock import Clock
from everyclass.workflows.epoch import (
    EpochSums,
    judged,
    metrics_line,
    score_of,
    shares,
    validation_figures,
)
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
from everyclass.workflows.job import (
    Fitted,
    InterruptedTraining,
    Job,
    NonFiniteLoss,
    Progress,
    optimizer_of,
    rate_course,
)
from everyclass.workflows.later import Later
from everyclass.workflows.mixing import mix_of
from everyclass.workflows.probe import begin_with_head

LOOK_STEPS = 16
"""Steps between two looks at the watch; at 1, 2, 4 and 8 there is one too. Looks read what waits,
and that has a say in when an alarm is raised: so they come by steps, never by the clock."""

GOOD_POINTS = 2
"""Checkpoints of epochs in which all was well that are kept: the newest may already be part of
what an alarm tells later."""


def fit(
    job: Job,
    *,
    checkpoint: bytes | None,
    stop: Callable[[], bool],
    on_event: Callable[[Event], None],
    alarms: Collection[Verdict] = (),
) -> Fitted:
    """Train to the end, until `stop()`, or until an alarm.

    Args:
        checkpoint: content of the checkpoint to continue, None to start.
        stop: asked after every step; true saves the state and raises.
        on_event: told what happens, in order.
        alarms: those that end the training, its state saved; others are only told. At the end of
            a training its verdict counts as one.
    Returns:
        How far it came; the best weights are in `run.best_weights`.
    Raises:
        InterruptedTraining: `stop()` was true; the run can be resumed.
    """
    fitting = _Fit(job, on_event, frozenset(alarms))
    alarm, failure = None, None
    try:
        alarm = fitting.run(checkpoint, stop)
    except NonFiniteLoss as error:
        alarm, failure = fitting.divergence(), error
    return Fitted(
        progress=fitting.progress,
        alarm=alarm,
        failure=failure,
        optimizer=fitting.optimizer.optimizer,
    )


@dataclass(slots=True)
class _Fit:
    """The moving parts of one training; lives as long as `fit`."""

    job: Job
    on_event: Callable[[Event], None]
    alarms: frozenset[Verdict]
    fabric: Fabric = field(init=False)
    model: Any = field(init=False)
    optimizer: Any = field(init=False)
    average: AveragedModel | None = field(init=False)
    progress: Progress = field(init=False, default_factory=Progress)
    sums: EpochSums = field(init=False)
    monitor: Monitor = field(init=False)
    watch: Summary = field(init=False)
    asked: bool = field(init=False, default=True)
    train_rows: Rows = field(init=False)
    val_rows: Rows = field(init=False)
    labels: Rows = field(init=False)

    def __post_init__(self) -> None:
        settings, table = self.job.settings, self.job.table
        torch.set_num_threads(settings.threads)
        self.fabric = make_fabric(device=settings.device, precision=settings.precision)
        optimizer = optimizer_of(settings, self.job.classifier)
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

    def run(self, checkpoint: bytes | None, stop: Callable[[], bool]) -> Finding | None:
        """Train; the alarm that ended it, None at the end."""
        self._begin(checkpoint, stop)
        first_step = self.progress.step
        self._announce(first_step)
        alarm = self._alarm() if first_step and self._look_due() else None
        if alarm is not None:
            return alarm  # it was interrupted between the alarm and what was to follow
        batches = self._batches(first_step)
        if first_step == 0:
            batches = self._checked(batches)
        clock = Clock(first_step=first_step)
        previous: tuple[StepResult, Later] | None = None
        # Ctrl-C during a save must not leave through the middle: `stop` is only asked here.
        for result in self._steps(batches):
            if previous is not None:
                self._refuse_non_finite(*previous)
            previous = result, Later(result.loss)
            self._observe(result, clock)
            ended = self.progress.step % self.per_epoch == 0
            if ended:
                self._refuse_non_finite(result)
                self._end_epoch(clock)
            if self._look_due():
                alarm = self._alarm()
            if alarm is not None:
                self._refuse_non_finite(result)
                self._save(clock)
                break
            if ended and self._stale():
                break
            if not ended and clock.checkpoint_due(self.job.checkpoint_seconds):
                self._refuse_non_finite(result)
                self._save(clock)
            if stop():
                self._refuse_non_finite(result)
                self._save(clock)
                raise InterruptedTraining(f"Stopped at step {self.progress.step:,}.")
        summary = self.monitor.summary(ended=alarm is None)
        self.job.run.write_json(self.job.run.findings, summary.to_dict())
        return alarm or self._ill_at_the_end(summary)

    def _begin(self, checkpoint: bytes | None, stop: Callable[[], bool]) -> None:
        """The state to go on from, and the watch that goes with it."""
        state = None
        if checkpoint is not None:
            state = self._load_weights(checkpoint)
        elif self.job.start is not None:
            self._load_weights(self.job.start)
            self.progress.good_steps = ()  # those checkpoints are of the training that was left
            write_atomically(self.job.run.best_weights, self._weights())
        else:
            begin_with_head(self.job, fabric=self.fabric, stop=stop, on_event=self.on_event)
        self.watch = Summary.nothing(step=self.progress.step)
        self.monitor = Monitor(
            classes=self.job.table.classes,
            first_step=self.progress.step,
            steps_per_epoch=self.per_epoch,
            on_finding=lambda finding: self.on_event(Alarmed(finding=finding)),
        )
        if state is not None:
            self._restore(state)
        self.job.run.cut_metrics(after_step=self.progress.step)

    def _observe(self, result: StepResult, clock: Clock) -> None:
        self.progress.step = result.batch.step + 1
        self.sums.add(result)
        if not result.mixed:
            self.monitor.observe(result.logits, result.targets, result.loss)
        self.monitor.advance(learning_rate=result.learning_rate)
        clock.images += len(result.batch.rows)
        self._show(result, clock)

    def _look_due(self) -> bool:
        step = self.progress.step
        return step % self.per_epoch == 0 or step % LOOK_STEPS == 0 or step in (1, 2, 4, 8)

    def _alarm(self) -> Finding | None:
        """Look at the watch: the first standing alarm that ends the training."""
        findings = self.monitor.findings()
        if self.asked:  # nothing waits now, so that a summary reads nothing early
            self.watch, self.asked = self.monitor.summary(), False
        return self._standing(findings)

    def divergence(self) -> Finding | None:
        """The alarm of a loss that is no number, if that is what ends the training."""
        found = self._standing(self.monitor.findings(), "diverged")
        if found is not None:
            self.job.run.write_json(self.job.run.findings, self.monitor.summary().to_dict())
        return found

    def _ill_at_the_end(self, summary: Summary) -> Finding | None:
        """What a finished training shows that no test had the time to prove: as good as an alarm,
        now that nothing is left to wait for."""
        told = (one for one in summary.findings if one.ended_step is None)
        ill = (one for one in told if one.id == summary.verdict and one.id in self.alarms)
        return next(ill, None)

    def _standing(self, findings: Sequence[Finding], name: Verdict | None = None) -> Finding | None:
        ending = (
            one
            for one in findings
            if one.severity == "alarm" and one.ended_step is None and one.id in self.alarms
        )
        return next((one for one in ending if name in (None, one.id)), None)

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
            pinned=self.fabric.device.type == "cuda",
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
            self._loss,
            fabric=self.fabric,
            rate=rate_course(settings, n_steps=self.n_steps),
            seed=settings.seed,
            accumulation=settings.accumulation,
            clip_norm=settings.clip_norm,
            augmentation=settings.augmentation,
            mix=mix_of((*settings.augmentation, *settings.imbalance), self._train_counts()),
            average=self.average,
        )

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """That of the epoch of the step under way: `progress` is at the steps done."""
        return self.job.correction.loss_at(self.progress.step // self.per_epoch)(logits, targets)

    def _refuse_non_finite(self, result: StepResult, loss: Later | None = None) -> None:
        if math.isfinite(float(result.loss) if loss is None else loss.value()):
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
        if event.best:
            self.progress.best_score = score_of(event, self.job.settings.selection)
            self.progress.best_epoch = event.epoch
            self.progress.epochs_without_gain = 0
            write_atomically(self.job.run.best_weights, self._weights())
        else:
            self.progress.epochs_without_gain += 1
        self.sums = self._no_sums()
        self.watch = self.monitor.summary()
        well = self.watch.verdict == "healthy" and self.watch.phase == "learned"
        if event.best and well:
            self.progress.good_steps = (*self.progress.good_steps, event.step)[-GOOD_POINTS:]
        rate = self.optimizer.param_groups[0]["lr"]
        self.job.run.append_metrics(metrics_line(event, self.job.table.classes, rate))
        self._save(clock)
        self.on_event(event)

    def _validate(self, clock: Clock) -> EpochDone:
        evaluated = self.average.module if self.average is not None else self.job.classifier
        logits = logits_of(evaluated, self.job.store.gather, self.val_rows, fabric=self.fabric)
        targets = self.labels[self.val_rows]
        self.monitor.observe_evaluation(torch.from_numpy(logits), torch.from_numpy(targets))
        self.monitor.end_evaluation()
        figures = validation_figures(logits, targets, self.job.correction.log_shift_to_natural)
        seen = int(self.sums.seen.sum())
        event = EpochDone(
            step=self.progress.step,
            epoch=self.progress.step // self.per_epoch - 1,
            epochs=self.job.settings.epochs,
            train_loss=float(self.sums.loss) / seen if seen else math.nan,  # all were mixed
            best=False,
            images_per_second=clock.pace(),
            seconds=clock.seconds(),
            **figures,
        )
        return judged(event, self.job.settings.selection, self.progress.best_score)

    def _stale(self) -> bool:
        limit = self.job.settings.early_stop_epochs
        return limit > 0 and self.progress.epochs_without_gain >= limit

    # -- state ---------------------------------------------------------------------------------

    def _weights(self) -> bytes:
        source = self.average.module if self.average is not None else self.job.classifier
        return safetensors.torch.save(
            {  # copies: tensors that share memory (tied weights) would be refused
                key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                for key, value in source.state_dict().items()
            }
        )

    def _save(self, clock: Clock) -> None:
        state = {
            "progress": asdict(self.progress),
            "sums": self.sums.state(),
            "model": self.job.classifier.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "precision": self.fabric.strategy.precision.state_dict(),
            "watch": self.monitor.state(),
        }

        def write(buffer: io.BytesIO) -> None:
            torch.save(state, buffer)

        self.job.run.save_checkpoint(self.progress.step, write, keep=self.progress.good_steps)
        clock.saved = time.monotonic()

    def _restore(self, state: dict[str, Any]) -> None:
        """What is not weights, as it was."""
        device = self.fabric.device
        self.sums = EpochSums(**{name: sums.to(device) for name, sums in state["sums"].items()})
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.monitor.restore(state["watch"], device=device)

    def _load_weights(self, checkpoint: bytes) -> dict[str, Any]:
        """Take weights, averages and progress from a checkpoint; gives all of it."""
        state: dict[str, Any] = torch.load(
            io.BytesIO(checkpoint), map_location="cpu", weights_only=True
        )
        self.progress = Progress(**state["progress"])
        self.job.classifier.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        return state

    def _train_counts(self) -> tuple[int, ...]:
        return tuple(int(count) for count in self.job.table.counts("train"))

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
            watch, self.asked = self.watch, True
            self.on_event(
                StepsDone(
                    step=self.progress.step,
                    epoch=epoch,
                    loss=float(self.sums.loss) / total,
                    recalls=shares(self.sums.hits.cpu().numpy(), seen),
                    predicted_shares=shares(self.sums.predicted.cpu().numpy(), total),
                    images_per_second=clock.pace(),
                    seconds_left=clock.left(self.progress.step, self.n_steps),
                    verdict=watch.verdict,
                    opening=watch.phase != "learned",
                    sentence=watch.sentence,
                )
            )
