"""The views of the watch: what a reader must find in them, at 80 columns."""

from __future__ import annotations

import torch
from rich.console import Console

from everyclass.findings import Finding
from everyclass.monitoring.monitor import Monitor
from everyclass.terminal.training import alarm_line
from everyclass.terminal.training_panel import watch_line
from everyclass.terminal.watch import notice_line, summary_view
from everyclass.workflows.events import Alarmed, StepsDone


def text_of(view: object) -> str:
    console = Console(width=80, record=True, color_system=None)
    console.print(view)
    return console.export_text()


def collapsed_monitor() -> tuple[Monitor, list[Finding]]:
    told: list[Finding] = []
    monitor = Monitor(classes=["CC", "EC", "HGSC"], on_finding=told.append)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        targets = torch.randint(0, 3, (32,), generator=generator)
        logits = torch.tensor([[0.0, 0.0, 3.0]]).repeat(32, 1)
        monitor.step(logits, targets)
    return monitor, told


def test_a_collapse_shows_verdict_class_and_recalls() -> None:
    monitor, told = collapsed_monitor()
    shown = text_of(summary_view(monitor.summary()))
    assert "collapsed after 300 steps" in shown
    assert "HGSC" in shown
    assert "from the first step" in " ".join(shown.split())
    assert max(len(line) for line in shown.splitlines()) <= 80
    line = notice_line(told[0]).plain
    assert line.startswith(f"everyclass: {told[0].id} at step {told[0].seen_step:,}.")


def test_training_view_lines() -> None:
    _, told = collapsed_monitor()
    assert alarm_line(Alarmed(finding=told[0])).plain.startswith("alarm at step")
    steps = StepsDone(
        step=10,
        epoch=0,
        loss=1.0,
        recalls=(0.0,),
        predicted_shares=(1.0,),
        images_per_second=1.0,
        seconds_left=1.0,
        verdict="healthy",
        opening=True,
        sentence="Still in the opening phase; it makes progress.",
    )
    assert watch_line(steps).plain == "opening phase: it makes progress."
