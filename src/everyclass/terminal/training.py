"""A training in the terminal or a notebook: a live view where there is one, else plain lines.

Comes in: events. Goes out: rich renderables, or lines. Computes nothing but what is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from everyclass.printing import progress_console
from everyclass.recipe import show_value
from everyclass.repairs import Repair
from everyclass.terminal.diagnosis import diagnosis_view
from everyclass.terminal.notebook_page import NotebookPage
from everyclass.terminal.training_panel import counted, duration, training_panel, worst_class
from everyclass.workflows.events import (
    Alarmed,
    Answered,
    Audited,
    AuditProgress,
    BatchShown,
    Checked,
    DataRead,
    Decided,
    Diagnosing,
    EpochDone,
    Event,
    FeaturesMade,
    ImagesKept,
    StepsDone,
    TrainingStarted,
)

TOLD_HARMS = ("invalid", "harmful")  # the audit command tells the rest
TOLD_DECISIONS = (
    *("image_size", "model", "pretrained", "fine_tuning", "epochs", "learning_rate"),
    *("imbalance", "normalisation"),
)


@dataclass(slots=True)
class TrainingView:
    """Shows how far an audit or a training is; used in a `with` statement.

    On a terminal, one panel is redrawn and an epoch leaves a line behind. In a notebook both stand
    in one output of the cell, rewritten in place. Elsewhere every epoch is one line, so that a log
    file stays readable.

    Args:
        console: where to; standard error, or the notebook's cell.
        quiet: show nothing but batches that were asked for.

    Example:
        >>> with TrainingView() as view:  # doctest: +SKIP
        ...     audit = audit_images(table, side=64, threads=2, on_progress=view.count)
        ...     train(source, Path("run"), TrainOptions(), on_event=view.show)
    """

    console: Console = field(default_factory=progress_console)
    quiet: bool = False
    _live: Live | None = field(default=None, init=False)
    _page: NotebookPage | None = field(default=None, init=False)
    _started: TrainingStarted | None = field(default=None, init=False)
    _steps: StepsDone | None = field(default=None, init=False)
    _epoch: EpochDone | None = field(default=None, init=False)
    _audit: AuditProgress | FeaturesMade | None = field(default=None, init=False)

    def __enter__(self) -> TrainingView:
        if self.console.is_jupyter:
            self._page = NotebookPage()
        elif self.console.is_terminal and not self.quiet:
            self._live = Live(console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.update(Text(""))
            self._live.stop()
            self._live = None
        if self._page is not None:
            self._page.stop()
            self._page = None

    def count(self, done: int, total: int) -> None:
        """Images that an audit has looked at, of all: an `on_progress`."""
        self.show(AuditProgress(done=done, total=total))

    def show(self, event: Event) -> None:
        """Take one event in."""
        if isinstance(event, BatchShown):
            self._print(batch_table(event))
            return
        if isinstance(event, Alarmed):
            self._line(alarm_line(event))
            return
        if isinstance(event, Diagnosing):
            self._show_diagnosing(event)
            return
        if isinstance(event, Answered):
            self._show_answer(event)
            return
        if isinstance(event, Checked):
            for line in check_lines(event):
                self._line(line)
            return
        for line in told_lines(event):
            self._line(line)
        if isinstance(event, TrainingStarted):
            self._started, self._audit = event, None
            self._steps = self._epoch = None
            self._line(started_line(event))
        elif isinstance(event, StepsDone):
            self._steps = event
        elif isinstance(event, EpochDone):
            self._epoch = event
            if self._started is not None:
                self._line(epoch_line(event, self._started.classes))
        elif isinstance(event, FeaturesMade):
            self._show_features(event)
        elif isinstance(event, AuditProgress):
            self._audit = event
        self._now(self._panel)

    def _show_features(self, event: FeaturesMade) -> None:
        if not isinstance(self._audit, FeaturesMade):
            self._line(features_line(event))
        self._audit = event if event.done < event.total else None

    def say(self, sentence: str) -> None:
        """A line of its own, between two trainings."""
        self._started = self._steps = self._epoch = self._audit = None
        self._line(Text(sentence, style="bold"))

    def _show_diagnosing(self, event: Diagnosing) -> None:
        if not event.trial:
            self._line(diagnosing_line(event))
        else:
            self._now(lambda: Text(f"trying on a copy: {event.trial}", style="dim"))

    def _show_answer(self, event: Answered) -> None:
        if not self.quiet:
            self._print(diagnosis_view(event.diagnosis))
        for line in answer_lines(event):
            self._line(line)

    def _line(self, text: Text) -> None:
        if not self.quiet:
            self._print(text, soft_wrap=True)

    def _print(self, what: RenderableType, *, soft_wrap: bool = False) -> None:
        if self._page is not None:
            self._page.add(what)
        else:
            self.console.print(what, soft_wrap=soft_wrap)

    def _now(self, panel: Callable[[], RenderableType]) -> None:
        """What is going on, where it can be shown."""
        if self._live is not None:
            self._live.update(panel())
        elif self._page is not None and not self.quiet:
            self._page.update(panel())

    def _panel(self) -> RenderableType:
        if isinstance(self._audit, FeaturesMade) or (self._audit and self._started is None):
            return counted(self._audit)
        if self._started is None or self._steps is None:
            return Text("")
        return training_panel(self._started, self._steps, self._epoch)


def told_lines(event: Event) -> list[Text]:
    """What was read, found and decided before training, a line a fact."""
    if isinstance(event, DataRead):
        facts = [
            f"{len(event.table):,} images, {len(event.table.classes)} classes "
            f"in {event.table.source}.",
            *event.table.notes,
        ]
        return [Text(fact) for fact in facts]
    if isinstance(event, ImagesKept):
        return [Text(event.sentence)]
    if isinstance(event, Audited):
        return [Text(sentence) for sentence in event.sentences] + [
            Text.assemble(
                (f"{warning.harm}: ", "yellow"), warning.sentence, " ", (warning.remedy, "dim")
            )
            for warning in event.audit.warnings
            if warning.harm in TOLD_HARMS
        ]
    if isinstance(event, Decided):
        lines = [
            Text.assemble(
                "  ",
                (f"{decision.name} = {show_value(decision.value)}", "bold"),
                f": {decision.reason} [{decision.origin}]",
            )
            for decision in event.recipe.decisions
            if decision.name in TOLD_DECISIONS or decision.origin in ("user", "measured")
        ]
        where = f" (all of it: {event.path})" if event.path else ""
        return [Text(f"Recipe{where}:"), *lines]
    return []


def features_line(event: FeaturesMade) -> Text:
    """What comes before the first step of a fine-tuning."""
    images = "images" if event.views == 1 else f"images (training images in {event.views} views)"
    return Text(
        f"The network as it is sees {event.total:,} {images} once; its last layer learns from "
        "what it makes of them."
    )


def started_line(event: TrainingStarted) -> Text:
    """What is about to be trained."""
    begin = f", going on at step {event.first_step:,}" if event.first_step else ""
    return Text(
        f"Training {len(event.classes)} classes, {sum(event.counts):,} images, "
        f"{event.epochs} epochs, {event.n_steps:,} steps{begin}; first weights: {event.weights}."
    )


def epoch_line(event: EpochDone, classes: Sequence[str]) -> Text:
    """One epoch: losses, balanced accuracy, the worst class by name, what is never predicted."""
    worst, recall = worst_class(event.recalls, classes)
    line = Text(
        f"epoch {event.epoch + 1:>3}/{event.epochs}  loss {event.train_loss:.3f}  "
        f"val loss {event.val_loss:.3f}  "
    )
    line.append(f"balanced accuracy {event.balanced_accuracy:.3f}", style="bold")
    line.append(f"  worst {worst} {recall:.2f}", style="red" if recall == 0 else "")
    line.append(f"  {event.images_per_second:,.0f} images/s")
    line.append("  * best" if event.best else "", style="green")
    silent = [name for name, share in zip(classes, event.predicted_shares) if share == 0]
    if silent:
        shown = ", ".join(silent[:4]) + (f" and {len(silent) - 4} more" if len(silent) > 4 else "")
        line.append(f"  never predicted: {shown}", style="red")
    return line


def check_lines(event: Checked) -> list[Text]:
    """What the checks before the first step accuse, or one line that they found nothing."""
    report = event.report
    passed, asked = len(report.passed), len(report.passed) + len(report.issues)
    if not report.issues:
        return [
            Text(
                f"Checked before the first step: {passed} of {asked} checks passed "
                f"({report.seconds:.1f} s)."
            )
        ]
    return [
        Text.assemble((f"check {one.cause}: ", "yellow"), one.sentence, " ", (one.remedy, "dim"))
        for one in report.issues
    ]


def alarm_line(event: Alarmed) -> Text:
    """An alarm of the watch, as soon as it is raised."""
    found = event.finding
    return Text.assemble(
        (f"alarm at step {found.seen_step:,}: {found.id}. ", "bold red"), found.sentence
    )


def diagnosing_line(event: Diagnosing) -> Text:
    """Why the training stands still."""
    found = event.finding
    seen = "" if found.severity == "alarm" else f"The training ended {found.id}. {found.sentence} "
    return Text(
        f"{seen}Looking for the cause: changes are tried on copies, for about "
        f"{duration(event.budget_seconds)}."
    )


def answer_lines(event: Answered) -> list[Text]:
    """What was done about an alarm: the settings, then where the training goes on."""
    repair = event.repair
    if repair.outcome != "repaired":
        end = "Nothing is changed" if repair.outcome == "left" else "No repair is left"
        if repair.outcome == "stopped" and not event.allowed:
            end = "No repair is allowed"
        return [Text.assemble((f"{end}: ", "bold yellow"), repair.reason)]
    head = f"repair {event.made} of {event.allowed}, for {repair.cause} (proved): "
    settings = "; ".join(
        f"{one.name} = {show_value(one.new)} (was {show_value(one.old)})" for one in repair.changes
    )
    where = "" if event.path is None else f" Recipe: {event.path}."
    return [Text.assemble((head, "bold green"), settings), Text(f"  {back_to(repair)}{where}")]


def back_to(repair: Repair) -> str:
    """Where a repaired training begins."""
    if repair.checkpoint is None:
        return "Trained again from the first weights."
    return f"Trained on from step {repair.from_step:,}, where all was well ({repair.checkpoint})."


def batch_table(event: BatchShown) -> RenderableType:
    """One batch as the tutorial prints it: labels, outputs, correct, loss."""
    table = Table(title=f"epoch {event.epoch + 1}, batch {event.position + 1}", show_header=False)
    table.add_row("labels", ", ".join(event.labels))
    table.add_row("outputs", ", ".join(event.predictions))
    table.add_row("correct", f"{event.correct} of {len(event.labels)}")
    table.add_row("loss", f"{event.loss:.4f}")
    return table
