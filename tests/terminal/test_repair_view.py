"""What a training says of an alarm that it answers."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from everyclass.diagnoses import Diagnosis
from everyclass.findings import Finding
from everyclass.repairs import Repair, RepairOutcome, SettingChange
from everyclass.terminal.training import TrainingView, answer_lines, diagnosing_line
from everyclass.workflows.events import Answered, Diagnosing

FINDING = Finding(
    id="collapsed",
    since_step=0,
    seen_step=96,
    severity="alarm",
    evidence={},
    sentence="Every image is given class 'CC' (from the first step).",
)


def answered(
    outcome: RepairOutcome, *, checkpoint: str | None = None, allowed: int = 2
) -> Answered:
    repaired = outcome == "repaired"
    return Answered(
        repair=Repair(
            number=1,
            outcome=outcome,
            verdict="collapsed",
            step=96,
            since_step=0,
            alarm=FINDING.sentence,
            cause="learning-rate-too-high",
            proved=repaired,
            trial="rate-tenth",
            changes=(SettingChange(name="learning_rate", old=3.0, new=0.3),) if repaired else (),
            reason="No cause was proved.",
            from_step=33 if checkpoint else 0,
            checkpoint=checkpoint,
            seconds=21.0,
        ),
        diagnosis=Diagnosis(verdict="collapsed", step=96, sentence="The training is collapsed."),
        made=int(repaired),
        allowed=allowed,
        path=Path("runs/a/recipe-1.yaml") if repaired else None,
    )


def words(event: Answered) -> str:
    return "\n".join(line.plain for line in answer_lines(event))


def test_a_repair_shows_the_old_and_the_new_value_and_where_it_goes_on() -> None:
    assert words(answered("repaired")) == (
        "repair 1 of 2, for learning-rate-too-high (proved): learning_rate = 0.3 (was 3)\n"
        "  Trained again from the first weights. Recipe: runs/a/recipe-1.yaml."
    )
    late = words(answered("repaired", checkpoint="checkpoints/step-000000033-0.pt"))
    assert "Trained on from step 33, where all was well (checkpoints/step-000000033-0.pt)." in late


def test_what_is_not_repaired_is_said_with_its_reason() -> None:
    assert words(answered("left")) == "Nothing is changed: No cause was proved."
    assert words(answered("stopped")) == "No repair is left: No cause was proved."
    assert words(answered("stopped", allowed=0)) == "No repair is allowed: No cause was proved."


def test_the_wait_for_trials_is_announced_once() -> None:
    out = io.StringIO()
    view = TrainingView(Console(file=out, width=100))
    for trial in ("", "control", "rate-tenth"):
        view.show(Diagnosing(finding=FINDING, budget_seconds=95.0, trial=trial))
    said = "Looking for the cause: changes are tried on copies, for about 1 min 35 s."
    assert out.getvalue() == f"{said}\n"


def test_an_end_that_no_alarm_told_of_is_told_first() -> None:
    end = Finding(
        id="not-learning",
        since_step=0,
        seen_step=200,
        severity="warning",
        evidence={},
        sentence="The loss does not fall.",
    )
    line = diagnosing_line(Diagnosing(finding=end, budget_seconds=20.0, trial="")).plain
    assert line.startswith("The training ended not-learning. The loss does not fall. Looking for")


def test_quiet_shows_nothing() -> None:
    out = io.StringIO()
    view = TrainingView(Console(file=out), quiet=True)
    view.show(Diagnosing(finding=FINDING, budget_seconds=20.0, trial=""))
    view.show(answered("repaired"))
    assert out.getvalue() == ""
