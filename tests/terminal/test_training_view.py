from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console, RenderableType

from everyclass.diagnosis.check import CheckReport
from everyclass.findings import CheckResult
from everyclass.terminal.training import TrainingView, check_lines, epoch_line
from everyclass.terminal.training_panel import duration, training_panel
from everyclass.workflows.events import BatchShown, Checked, EpochDone, StepsDone, TrainingStarted

NAN = float("nan")
STARTED = TrainingStarted(
    classes=("CC", "EC", "HGSC"),
    counts=(75, 100, 358),
    n_steps=276,
    first_step=0,
    epochs=12,
    weights="random",
)
STEPS = StepsDone(
    step=100,
    epoch=4,
    loss=0.71,
    recalls=(0.5, NAN, 0.0),
    predicted_shares=(0.1, 0.2, 0.7),
    images_per_second=97.0,
    seconds_left=75.0,
    verdict="healthy",
    opening=True,
    sentence="Still in the opening phase; it makes progress.",
)
EPOCH = EpochDone(
    step=92,
    epoch=3,
    epochs=12,
    train_loss=0.7,
    val_loss=1.0,
    accuracy=0.6,
    balanced_accuracy=0.59,
    macro_f1=0.5,
    recalls=(0.6, 0.0, 0.8),
    predicted_shares=(0.5, 0.0, 0.5),
    best=True,
    images_per_second=97.0,
    seconds=30.0,
)


def printed(what: RenderableType) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(what)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_panel_names_the_worst_class_and_fits_80_columns() -> None:
    before, after = (printed(training_panel(STARTED, STEPS, epoch)) for epoch in (None, EPOCH))
    assert "worst class HGSC 0.00" in before
    assert "not seen yet" in before
    assert "balanced accuracy 0.590  worst class EC 0.00" in after
    assert "1 min 15 s left" in after
    assert max(map(len, after.splitlines())) <= 80


def test_nothing_seen_yet_is_no_error() -> None:
    empty = replace(STEPS, recalls=(NAN, NAN, NAN), predicted_shares=(NAN, NAN, NAN))
    assert "no class seen yet" in printed(training_panel(STARTED, empty, None))


def test_many_classes_show_the_worst() -> None:
    names = tuple(f"class{k}" for k in range(40))
    started = replace(STARTED, classes=names, counts=(10,) * 40)
    epoch = replace(
        EPOCH,
        recalls=tuple(k / 40 for k in range(40)),
        predicted_shares=(1 / 40,) * 40,
    )
    shown = printed(training_panel(started, STEPS, epoch))
    assert "class0" in shown
    assert "class39" not in shown
    assert "and 24 classes with higher recall" in shown


def test_an_epoch_s_line_says_what_is_never_predicted() -> None:
    line = epoch_line(EPOCH, STARTED.classes).plain
    assert "epoch   4/12" in line
    assert "worst EC 0.00" in line
    assert "never predicted: EC" in line
    assert "* best" in line


def test_without_a_terminal_every_epoch_is_one_plain_line() -> None:
    console = Console(file=io.StringIO(), width=80)
    with TrainingView(console) as view:
        for event in (STARTED, STEPS, EPOCH):
            view.show(event)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 2
    assert lines[1].startswith("epoch   4/12")


def test_quiet_shows_nothing_but_batches_that_were_asked_for() -> None:
    console = Console(file=io.StringIO(), width=80)
    batch = BatchShown(
        step=49, epoch=0, position=49, labels=("CC", "EC"), predictions=("CC", "CC"), loss=1.25
    )
    with TrainingView(console, quiet=True) as view:
        for event in (STARTED, STEPS, EPOCH, batch):
            view.show(event)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "epoch   4/12" not in shown
    assert "1 of 2" in shown
    assert "1.2500" in shown


def test_durations() -> None:
    assert [duration(s) for s in (5, 75, 3725)] == ["5 s", "1 min 15 s", "1 h 02 min"]


def test_checks_before_the_first_step_are_one_line_or_the_accusations() -> None:
    passed = CheckResult(name="input-scale", outcome="passed", cause=None, evidence={}, sentence="")
    issue = replace(
        passed,
        outcome="issue",
        cause="inputs-not-scaled",
        sentence="Inputs reach the first layer with mean 169.",
        remedy="Divide by 255.",
    )
    told = [
        line.plain
        for line in check_lines(Checked(report=CheckReport(results=(passed,) * 3, seconds=1.25)))
    ]
    assert told == ["Checked before the first step: 3 of 3 checks passed (1.2 s)."]
    told = [
        line.plain
        for line in check_lines(Checked(report=CheckReport(results=(passed, issue), seconds=1)))
    ]
    assert told == [
        "check inputs-not-scaled: Inputs reach the first layer with mean 169. Divide by 255."
    ]
