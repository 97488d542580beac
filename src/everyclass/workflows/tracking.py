"""What a training tells, sent to the trackers that the user keeps: `everyclass train --track`.

Comes in: the events of a training, in order. Goes out: runs in trackers, and `tracking.json` in the
run folder, by which a resumed training finds them again. A tracker that fails is left out from then
on, with one sentence; the training knows nothing of it.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from everyclass.contracts import Evaluation
from everyclass.monitoring.trackers import (
    Sitting,
    Tracker,
    TrackerName,
    open_tracker,
    refuse_absent,
)
from everyclass.recipe import Recipe, show_value
from everyclass.run_folder import RunFolder
from everyclass.workflows.events import (
    Alarmed,
    Answered,
    Decided,
    EpochDone,
    Event,
    Finished,
    StepsDone,
    TrainingStarted,
)

REPORT = "report.html"


class Tracking:
    """Trackers beside one training; used in a `with` statement around it and its report.

    Args:
        trackers: names, as `--track` takes them.
        resumed: whether the training goes on with the run that `tracking.json` names.
        warn: told one sentence when a tracker fails.
    Raises:
        InputError: an unknown tracker, or one that is not installed.
    """

    def __init__(
        self, trackers: Sequence[str], *, resumed: bool = False, warn: Callable[[str], None]
    ) -> None:
        self._names = refuse_absent(tuple(trackers))
        self._resumed = resumed
        self._warn = warn
        self._open: dict[TrackerName, Tracker] = {}
        self._run: RunFolder | None = None
        self._recipe: Recipe | None = None
        self._classes: tuple[str, ...] = ()
        self._step = 0
        self._finished = False

    def __enter__(self) -> Tracking:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        report = None if self._run is None else self._run.path / REPORT
        if report is not None and report.is_file():
            self._each(lambda tracker: tracker.attach(report))
        self._each(lambda tracker: tracker.close(finished=self._finished))

    def on_event(self, event: Event) -> None:
        """Take one event in."""
        if not self._names:
            return
        match event:
            case Decided(path=Path() as path) if self._run is None:
                self._run, self._recipe = RunFolder(path.parent), event.recipe
            case TrainingStarted():
                self._classes, self._step = event.classes, event.first_step
                self._begin()
            case StepsDone():
                self._step = event.step
            case EpochDone():
                self._step = event.step
                self._log(epoch_scalars(event, self._classes))
            case Alarmed():
                found = event.finding
                self._note(f"alarm {found.id}", found.sentence, found.seen_step)
            case Answered():
                repair = event.repair
                self._note(f"{repair.outcome} {repair.number}", repair.reason, repair.step)
            case Finished():
                self._finished = True
                self._log(evaluation_scalars(event.evaluation))
                self._note("verdict", event.evaluation.collapse_sentence, self._step)
            case _:
                pass

    def _begin(self) -> None:
        """Open every tracker, once: a training that a repair sends back starts a second time."""
        if self._run is None or self._recipe is None or self._open:
            return
        run, config = self._run, {one.name: show_value(one.value) for one in self._recipe.decisions}
        known: dict[str, Any] = {}
        if self._resumed and run.tracking.exists():
            known = run.read_json(run.tracking)
        name = str(known.get("name") or f"{run.path.resolve().name}-{uuid.uuid4().hex[:8]}")
        keys: dict[str, Any] = dict(known.get("trackers", {}))
        for tracker in self._names:
            try:
                sitting = Sitting(name=name, config=config, key=keys.get(tracker), step=self._step)
                self._open[tracker] = open_tracker(tracker, run.path, sitting)
            except Exception as error:  # noqa: BLE001 - a server, a disk, somebody's package
                self._tell(tracker, error)
                continue
            keys[tracker] = dict(self._open[tracker].key)
        run.write_json(run.tracking, {"name": name, "trackers": keys})
        self._names = tuple(self._open)

    def _log(self, scalars: dict[str, float]) -> None:
        finite = {name: value for name, value in scalars.items() if math.isfinite(value)}
        self._each(lambda tracker: tracker.log(finite, self._step))

    def _note(self, name: str, text: str, step: int) -> None:
        self._each(lambda tracker: tracker.note(f"everyclass/{name}", text, step))

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            try:
                act(tracker)
            except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
                del self._open[name]
                self._tell(name, error)

    def _tell(self, name: TrackerName, error: Exception) -> None:
        text = str(error).strip()
        words = text.splitlines()[0] if text else type(error).__name__
        self._warn(
            f"--track {name} failed and is left out from here on; the training goes on, and "
            f"metrics.jsonl has everything: {words}"
        )


def epoch_scalars(event: EpochDone, classes: Sequence[str]) -> dict[str, float]:
    """The figures of an epoch by name; NaN for what it does not have.

    Args:
        classes: names in the order of the event's recalls.
    """
    return {
        "everyclass/train/loss": event.train_loss,
        "everyclass/val/loss": event.val_loss,
        "everyclass/val/accuracy": event.accuracy,
        "everyclass/val/balanced_accuracy": event.balanced_accuracy,
        "everyclass/val/macro_f1": event.macro_f1,
        "everyclass/epoch": float(event.epoch + 1),
        "everyclass/images_per_second": event.images_per_second,
        **{f"everyclass/val/recall/{name}": value for name, value in zip(classes, event.recalls)},
        **{
            f"everyclass/val/predicted_share/{name}": value
            for name, value in zip(classes, event.predicted_shares)
        },
    }


def evaluation_scalars(evaluation: Evaluation) -> dict[str, float]:
    """The figures of a final evaluation by name, under "everyclass/final/"."""
    recalls = {
        f"everyclass/final/recall/{one.name}": one.recall
        for one in evaluation.classes
        if one.recall is not None
    }
    return {
        "everyclass/final/accuracy": evaluation.accuracy,
        "everyclass/final/balanced_accuracy": evaluation.balanced_accuracy,
        "everyclass/final/macro_f1": evaluation.macro_f1,
        "everyclass/final/mcc": evaluation.mcc,
        "everyclass/final/ece": evaluation.ece,
        "everyclass/final/images": float(evaluation.n),
        "everyclass/final/predicted_classes": float(evaluation.predicted_classes),
        **recalls,
    }
