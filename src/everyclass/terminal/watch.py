"""What a watched training showed, in the terminal.

Comes in: a `WatchReport` or the monitor's `Summary`. Goes out: rich renderables of at most 80
columns. Computes nothing but what is shown.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from everyclass.findings import Finding
from everyclass.terminal.bars import recall_bar

if TYPE_CHECKING:
    from everyclass.capture.report import WatchReport
    from everyclass.monitoring.summary import Summary

STYLES = {
    "healthy": "bold green",
    "collapsed": "bold red",
    "starved": "bold red",
    "not-learning": "bold red",
    "diverged": "bold red",
}
SHOWN_CLASSES = 12
SHOWN_LAYERS = 4


def summary_view(summary: Summary) -> RenderableType:
    """Verdict, sentence, findings that are over, and a bar a class: the monitor alone."""
    parts: list[RenderableType] = [_headline(summary.verdict, summary.phase, summary.step)]
    parts.append(Text(summary.sentence))
    parts.extend(_past(summary.findings))
    if summary.figures is not None:
        parts.append(_classes(summary))
    parts.extend(_layers(summary))
    return Group(*parts)


def watch_view(report: WatchReport) -> RenderableType:
    """The end of `everyclass run`: what was watched, what was seen, what the checks say."""
    parts: list[RenderableType] = []
    if report.verdict is None:
        parts.append(Text(report.sentence))
    else:
        parts.append(_headline(report.verdict, report.phase, report.step))
        parts.append(Text(report.sentence))
        parts.extend(_past(report.findings))
        if report.summary is not None and report.summary.figures is not None:
            parts.append(_classes(report.summary))
        parts.append(_watched(report))
    if report.checks:
        from everyclass.terminal.checks import checks_view

        parts.append(Text())
        parts.append(checks_view(report.checks))
    title = f"everyclass: {report.script}"
    return Panel(Group(*parts), title=title, title_align="left", expand=False, width=80)


def notice_line(finding: Finding) -> Text:
    """One line for an alarm, at once."""
    return Text.assemble(
        (f"everyclass: {finding.id} at step {finding.seen_step:,}. ", STYLES[finding.id]),
        finding.sentence,
    )


def _headline(verdict: str, phase: str, step: int) -> Text:
    told = {"opening": "opening phase", "learned": "learned"}.get(phase, "")
    after = f"after {step:,} steps" + (f" ({told})" if told and verdict == "healthy" else "")
    if verdict == "healthy" and phase != "learned":
        return Text.assemble(("no alarm", "bold yellow"), f" {after}")
    return Text.assemble((verdict, STYLES[verdict]), f" {after}")


def _past(findings: tuple[Finding, ...]) -> list[RenderableType]:
    return [
        Text(
            f"Earlier: {one.id} from step {one.since_step or 0:,} to {one.ended_step:,}; over.",
            style="yellow",
        )
        for one in findings
        if one.ended_step is not None
    ]


def _classes(summary: Summary) -> RenderableType:
    figures = summary.figures
    assert figures is not None
    table = Table(box=None, padding=(0, 1))
    table.add_column("class", overflow="ellipsis", max_width=20)
    table.add_column("images", justify="right")
    table.add_column("recall (recent training batches)")
    table.add_column("predicted", justify="right")
    order = sorted(
        range(len(figures.classes)),
        key=lambda k: (math.isnan(figures.recalls[k]), figures.recalls[k]),
    )
    shown = order[:SHOWN_CLASSES] if len(order) > SHOWN_CLASSES else range(len(order))
    for k in shown:
        recall = figures.recalls[k]
        table.add_row(
            figures.classes[k],
            f"{figures.seen[k]:,}",
            recall_bar(None if math.isnan(recall) else recall, missing="not seen"),
            f"{figures.predicted_shares[k]:.0%}",
        )
    more = len(order) - SHOWN_CLASSES
    if more > 0:
        return Group(table, Text(f"and {more} classes with a higher recall", style="dim"))
    return table


def _layers(summary: Summary) -> list[RenderableType]:
    """The groups of layers that stand out: no gradient, dead units."""
    silent = [one for one in summary.layers if one.gradient_norm == 0]
    dead = [one for one in summary.layers if one.dead_share > 0.9]
    lines: list[RenderableType] = []
    if silent:
        names = ", ".join(one.name for one in silent[:SHOWN_LAYERS])
        lines.append(Text(f"No gradient in {len(silent)} groups of layers: {names}"))
    if dead:
        names = ", ".join(f"{one.name} ({one.dead_share:.0%})" for one in dead[:SHOWN_LAYERS])
        lines.append(Text(f"Units without any gradient: {names}"))
    return lines


def _watched(report: WatchReport) -> RenderableType:
    watched = report.watched
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim")
    table.add_column(style="dim", overflow="fold")
    for name in ("model", "loss", "optimizer", "batches"):
        if value := getattr(watched, name):
            table.add_row(name, value)
    passes = f"{watched.training_passes:,} training, {watched.evaluation_passes:,} evaluation"
    table.add_row("passes", passes)
    if watched.skipped_steps:
        table.add_row("skipped", f"{watched.skipped_steps:,} steps, by the gradient scaler")
    for note in watched.notes:
        table.add_row("note", note)
    if report.overhead.fraction is not None:
        cost = f"{report.overhead.seconds:.2f} s, {report.overhead.fraction:.1%} of the training"
        table.add_row("cost", cost)
    return table
