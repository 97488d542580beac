"""What is going on in a training, as one panel: progress, pace, the watch, and a bar a class.

Comes in: events. Goes out: rich renderables. Computes nothing but what is shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from everyclass.terminal.bars import recall_bar
from everyclass.workflows.events import (
    AuditProgress,
    EpochDone,
    FeaturesMade,
    StepsDone,
    TrainingStarted,
)

SHOWN_CLASSES = 16


def counted(event: AuditProgress | FeaturesMade) -> RenderableType:
    """One line: how many images were decoded, or seen by the network."""
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text("auditing" if isinstance(event, AuditProgress) else "computing features"),
        ProgressBar(total=event.total, completed=event.done, width=30),
        Text(f"{event.done:,} of {event.total:,} images"),
    )
    return row


def training_panel(
    started: TrainingStarted, steps: StepsDone, epoch: EpochDone | None
) -> RenderableType:
    """The live panel: progress, pace, and a bar a class."""
    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text(f"epoch {steps.epoch + 1}/{started.epochs}"),
        ProgressBar(total=started.n_steps, completed=steps.step, width=30),
        Text(f"loss {steps.loss:.3f}"),
        Text(f"{steps.images_per_second:,.0f} images/s"),
        Text(f"{duration(steps.seconds_left)} left"),
    )
    recalls = epoch.recalls if epoch is not None else steps.recalls
    body = Group(
        head,
        watch_line(steps),
        _summary(started.classes, recalls, epoch),
        class_bars(started, steps, epoch),
    )
    return Panel(body, title="everyclass", expand=False)


def watch_line(steps: StepsDone) -> Text:
    """What the watch says at present."""
    if steps.verdict != "healthy":
        return Text.assemble((f"{steps.verdict}: ", "bold red"), steps.sentence)
    head, style = ("opening phase: ", "yellow") if steps.opening else ("healthy: ", "green")
    return Text.assemble((head, style), steps.sentence.removeprefix("Still in the opening phase; "))


def _summary(
    classes: Sequence[str], recalls: Sequence[float], epoch: EpochDone | None
) -> RenderableType:
    """Balanced accuracy and the worst class by name."""
    if all(math.isnan(recall) for recall in recalls):
        return Text("no class seen yet", style="dim")
    worst, recall = worst_class(recalls, classes)
    text = Text(f"worst class {worst} {recall:.2f}", style="red" if recall == 0 else "")
    if epoch is not None:
        text = Text.assemble((f"balanced accuracy {epoch.balanced_accuracy:.3f}  ", "bold"), text)
    return text


def class_bars(
    started: TrainingStarted, steps: StepsDone, epoch: EpochDone | None
) -> RenderableType:
    """Recall and share of predictions of each class, the worst first when there are many.

    On validation images once an epoch has ended; before, on this epoch's training batches.
    """
    recalls = epoch.recalls if epoch is not None else steps.recalls
    shares = epoch.predicted_shares if epoch is not None else steps.predicted_shares
    source = "validation" if epoch is not None else "training batches"
    table = Table(box=None, padding=(0, 1))
    table.add_column("class", overflow="ellipsis", max_width=24)
    table.add_column("images", justify="right")
    table.add_column(f"recall ({source})")
    table.add_column("predicted", justify="right")
    order = list(range(len(started.classes)))
    if len(started.classes) > SHOWN_CLASSES:
        order = sorted(order, key=lambda k: math.inf if math.isnan(recalls[k]) else recalls[k])[
            :SHOWN_CLASSES
        ]
    for k in order:
        table.add_row(
            started.classes[k],
            f"{started.counts[k]:,}",
            recall_bar(None if math.isnan(recalls[k]) else recalls[k], missing="not seen yet"),
            "" if math.isnan(shares[k]) else f"{shares[k]:.0%}",
        )
    more = len(started.classes) - SHOWN_CLASSES
    if more > 0:
        return Group(table, Text(f"and {more} classes with higher recall", style="dim"))
    return table


def worst_class(recalls: Sequence[float], classes: Sequence[str]) -> tuple[str, float]:
    """Name and recall of the class with the lowest recall among those with images."""
    known = [(value, name) for value, name in zip(recalls, classes) if not math.isnan(value)]
    value, name = min(known)
    return name, value


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
