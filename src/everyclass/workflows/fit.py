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
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any

import safetensors.torch
import torch

from everyclass.contracts import Verdict
from everyclass.findings import Finding
from everyclass.monitoring.monitor import Monitor
from everyclass.monitoring.summary import Summary
from everyclass.run_folder import write_atomically
from everyclass.training.batches import Batch, to_images
from everyclass.training.steps import StepResult
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
from everyclass.workflows.job import (
    Fitted,
    InterruptedTraining,
    Job,
    NonFiniteLoss,
    Progress,
)
from everyclass.workflows.later import Later
from everyclass.workflows.probe import begin_with_head
from everyclass.workflows.stepper import Stepper, read_state

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
        optimizer=fitting.stepper.optimizer.optimizer,
    )


@dataclass(slots=True)
class _Fit:
    """The moving parts of one training; lives as long as `fit`."""

    job: Job
    on_event: Callable[[Event], None]
    alarms: frozenset[Verdict]
    stepper: Stepper = field(init=False)
    progress: Progress = field(init=False, default_factory=Progress)
    sums: EpochSums = field(init=False)
    monitor: Monitor = field(init=False)
    watch: Summary = field(init=False)
    asked: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        self.stepper = Stepper(self.job)
        self.sums = self._no_sums()

    def _no_sums(self) -> EpochSums:
        return EpochSums.zero(len(self.job.table.classes), self.stepper.fabric.device)

    @property
    def per_epoch(self) -> int:
        return self.stepper.per_epoch

    def run(self, checkpoint: bytes | None, stop: Callable[[], bool]) -> Finding | None:
        """Train; the alarm that ended it, None at the end."""
        self._begin(checkpoint, stop)
        first_step = self.progress.step
        self._announce(first_step)
        alarm = self._alarm() if first_step and self._look_due() else None
        if alarm is not None:
            return alarm  # it was interrupted between the alarm and what was to follow
        until = first_step if self._stale() else self.stepper.n_steps
        batches = self.stepper.batches(n_steps=until)
        if first_step == 0:
            batches = self._checked(batches)
        clock = Clock(first_step=first_step)
        previous: tuple[StepResult, Later] | None = None
        # Ctrl-C during a save must not leave through the middle: `stop` is only asked here.
        for result in self.stepper.results(batches):
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
            fabric = self.stepper.fabric
            begin_with_head(self.job, fabric=fabric, stop=stop, on_event=self.on_event)
        self.stepper.step, self.stepper.resumed = self.progress.step, state is not None
        self.stepper.join()
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

    def _checked(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; the first one is checked before anything is trained on it."""
        first = next(batches)
        some = checked_images(self.job.settings.image_size)
        read, labels = self.job.store.gather, self.stepper.labels
        rows = self.stepper.val_rows[:: max(1, len(self.stepper.val_rows) // some)]
        whole = first
        if first.places is not None:
            whole = replace(first, images=to_images(read(first.rows)), places=None)
        report = first_check(
            self.job.classifier,
            self.stepper.optimizer.optimizer,
            self.job.correction.loss,
            whole,
            validation=(to_images(read(rows)), torch.from_numpy(labels[rows]))
            if len(rows)
            else None,
            augmentation=self.job.settings.augmentation,
            seed=self.job.settings.seed,
            classes=self.job.table.classes,
            class_counts=self.stepper.train_counts(),
        )
        self.job.run.write_json(self.job.run.checks, report.to_dict())
        self.on_event(Checked(report=report))
        return chain([first], batches)

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
        rate = self.stepper.optimizer.param_groups[0]["lr"]
        self.job.run.append_metrics(metrics_line(event, self.job.table.classes, rate))
        self._save(clock)
        self.on_event(event)

    def _validate(self, clock: Clock) -> EpochDone:
        logits = self.stepper.validation_logits()
        targets = self.stepper.labels[self.stepper.val_rows]
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
        average = self.stepper.average
        source = average.module if average is not None else self.job.classifier
        return safetensors.torch.save(
            {  # copies: tensors that share memory (tied weights) would be refused
                key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                for key, value in source.state_dict().items()
            }
        )

    def _save(self, clock: Clock) -> None:
        parts = self.stepper
        state = {
            "progress": asdict(self.progress),
            "sums": self.sums.state(),
            "model": self.job.classifier.state_dict(),
            "optimizer": parts.optimizer.state_dict(),
            "average": parts.average.state_dict() if parts.average is not None else None,
            "precision": parts.fabric.strategy.precision.state_dict(),
            "watch": self.monitor.state(),
        }

        def write(buffer: io.BytesIO) -> None:
            torch.save(state, buffer)

        self.job.run.save_checkpoint(self.progress.step, write, keep=self.progress.good_steps)
        clock.saved = time.monotonic()

    def _restore(self, state: dict[str, Any]) -> None:
        """What is not weights, as it was."""
        device = self.stepper.fabric.device
        self.sums = EpochSums(**{name: sums.to(device) for name, sums in state["sums"].items()})
        self.stepper.load_optimizer(state)
        self.monitor.restore(state["watch"], device=device)

    def _load_weights(self, checkpoint: bytes) -> dict[str, Any]:
        """Take weights, averages and progress from a checkpoint; gives all of it."""
        state = read_state(checkpoint)
        self.progress = Progress(**state["progress"])
        self.stepper.load(state)
        return state

    # -- telling -------------------------------------------------------------------------------

    def _announce(self, first_step: int) -> None:
        self.on_event(
            TrainingStarted(
                classes=self.job.table.classes,
                counts=self.stepper.train_counts(),
                n_steps=self.stepper.n_steps,
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
                    seconds_left=clock.left(self.progress.step, self.stepper.n_steps),
                    verdict=watch.verdict,
                    opening=watch.phase != "learned",
                    sentence=watch.sentence,
                )
            )
