"""`everyclass run`: its options, and what it says while a script runs and after it.

Comes in: what was typed. Goes out: panels on standard error, JSON files, the exit code. Watches,
proves and patches nothing itself. Workflows are imported inside: a script is run as Python would,
which loads torch when it wants to.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from everyclass.commands.options import Json, Quiet, Strict
from everyclass.commands.report import tell_report
from everyclass.errors import InputError
from everyclass.printing import progress_console, write_json

if TYPE_CHECKING:
    from everyclass.capture.report import WatchReport
    from everyclass.findings import Finding
    from everyclass.workflows.fix_script import FixPlan
    from everyclass.workflows.run_script import RunOutcome


def run(
    script: Annotated[
        str, typer.Argument(help="A Python script; with -m a module.", metavar="SCRIPT")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARGS]...", help="Everything after SCRIPT is the script's own."),
    ] = None,
    is_module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is a module, as in python -m MODULE.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for findings.json, diagnosis.json and report.html."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            help="Seconds for trials, about (a proof under way is finished); 0 = none.",
            show_default="a quarter of the run, 20 to 300",
            min=0.0,
        ),
    ] = None,
    stop_on_collapse: Annotated[
        bool,
        typer.Option("--stop-on-collapse", help="End the script with code 1 at the first alarm."),
    ] = False,
    check_only: Annotated[
        bool, typer.Option("--check-only", help="Let it make two steps, check, and end it.")
    ] = False,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="When a cause is proved: write a patched copy beside the script (train.fixed.py), "
            "show the diff, run the copy once more and compare. The script itself is not touched.",
        ),
    ] = False,
    strict: Strict = False,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Run a training script as Python would, watch what it learns, and prove what is wrong.

    Standard output, exit code and numbers stay the script's own; ours go to standard error.
    """
    from everyclass.capture.execute import Target
    from everyclass.workflows.fix_script import plan_fix
    from everyclass.workflows.run_script import RunOptions, run_script

    if fix and (check_only or budget == 0):
        raise InputError(
            "--fix applies what trials prove, and none would be made.",
            where="--fix",
            remedy="Leave --check-only and --budget 0 away.",
        )
    target = Target(name=script, arguments=tuple(arguments or ()), is_module=is_module)
    plan = plan_fix(target) if fix else None
    with _Told(quiet) as told:
        outcome = run_script(
            target,
            RunOptions(
                out=out,
                stop_on_collapse=stop_on_collapse,
                check_only=check_only,
                budget_seconds=budget,
                on_alarm=told.alarm,
                on_report=told.report,
                on_trial=told.trial,
            ),
        )
    diagnosis = outcome.diagnosis
    value = outcome.report.to_dict() | ({} if diagnosis is None else diagnosis.to_dict())
    write_json(json_file, value)
    if not quiet and diagnosis is not None:
        from everyclass.terminal.diagnosis import diagnosis_view

        progress_console().print(diagnosis_view(diagnosis))
    if plan is not None:
        found = _fix(plan, outcome, stop_on_collapse=stop_on_collapse, quiet=quiet)
        write_json(json_file, {**value, "fix": found})
        write_json(None if out is None or found is None else out / "fix.json", found)
    # Of a distributed training only the first process watches, and writes.
    first = os.environ.get("RANK", "0") == "0"
    if out is not None and first and (out / "findings.json").exists():
        tell_report(out, quiet=quiet)
    problem = strict and outcome.report.problem_found
    raise typer.Exit(outcome.code or int(problem))


class _Told:
    """What is said while it happens: alarms, the watch's report, the trial under way."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._console = progress_console()
        self._stack = ExitStack()
        self._line: Any = None
        self._seconds = 0.0

    def __enter__(self) -> _Told:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def alarm(self, finding: Finding) -> None:
        """One line, at once."""
        if self._quiet:
            return
        from everyclass.terminal.watch import notice_line

        self._console.print(notice_line(finding), soft_wrap=True)

    def report(self, report: WatchReport) -> None:
        """The panel, before the trials: what was seen need not wait for why."""
        if self._quiet:
            return
        from everyclass.terminal.watch import watch_view

        sys.stdout.flush()
        self._console.print(watch_view(report))

    def trial(self, seconds: float, name: str) -> None:
        """On a terminal a line that names the trial under way; elsewhere one line in all."""
        if self._quiet:
            return
        if not name:
            self._seconds = seconds
            text = f"everyclass: looking for the cause by trials on copies, about {seconds:.0f} s"
            if self._console.is_terminal:
                self._line = self._stack.enter_context(self._console.status(text))
            else:
                self._console.print(f"{text} ...")
        elif self._line is not None:
            self._line.update(f"everyclass: trials on copies, about {self._seconds:.0f} s: {name}")


def _fix(
    plan: FixPlan, outcome: RunOutcome, *, stop_on_collapse: bool, quiet: bool
) -> dict[str, Any] | None:
    """Copy, diff, second run, comparison; None when there was nothing to change."""
    from everyclass.terminal.fix import difference_text, fix_view, patch_view
    from everyclass.workflows.fix_script import patch_script, run_again

    console = progress_console()
    patched = patch_script(plan, outcome)
    if not quiet:
        console.print(patch_view(patched))
    if patched.copy is None:
        return None
    if not quiet:
        console.print(difference_text(patched), soft_wrap=True)
        console.print(f"everyclass: running {plan.copy_name} ...", soft_wrap=True)
    fix = run_again(plan, patched, outcome, stop_on_collapse=stop_on_collapse)
    if not quiet:
        console.print(fix_view(fix))
    return fix.to_dict()
