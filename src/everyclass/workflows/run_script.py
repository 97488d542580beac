"""Runs somebody's script with the watch on: `everyclass run`.

Comes in: a script and its arguments. Goes out: a `WatchReport`, a `Diagnosis` where something is
wrong, `findings.json` while it runs and `diagnosis.json` after it.
The script is executed as Python would; torch is loaded when the script loads it, not before.
"""

from __future__ import annotations

import json
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from everyclass.capture.execute import Ending, Target, before_hard_exit, execute, when_loaded
from everyclass.capture.report import Overhead, Watched, WatchReport, never_loaded
from everyclass.errors import InputError
from everyclass.findings import CheckResult, Finding
from everyclass.run_folder import write_atomically
from everyclass.workflows.freed_memory import keep_freed_memory

if TYPE_CHECKING:
    from everyclass.capture.patches import Patches
    from everyclass.capture.session import Session
    from everyclass.diagnoses import Diagnosis
    from everyclass.diagnosis.case import Case
    from everyclass.monitoring.summary import Summary

FINDINGS_FILE = "findings.json"
WRITE_EVERY_SECONDS = 15.0
DIAGNOSIS_FILE = "diagnosis.json"
LATER_FILES = (DIAGNOSIS_FILE, "fix.json", "report.html")
"""Written after the script has ended, if at all; those of an earlier run say nothing of this."""

CHECK_ONLY_STEPS = 2
BUDGET_SHARE, LEAST_BUDGET, MOST_BUDGET = 0.25, 20.0, 300.0
"""Of the run's own seconds, for trials; and its limits in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a script is watched.

    Args:
        out: folder of `findings.json`, None for none.
        stop_on_collapse: end the script at the first alarm.
        check_only: end it after two steps and check.
        budget_seconds: for trials when something is wrong; 0 for none, None for a quarter of the
            run's own time within 20 s and 5 min.
        on_alarm: called with each alarm, at once.
        on_report: called with what was seen, before the trials.
        on_trial: called before the trials with their seconds and "", then with the name of each.
    """

    out: Path | None = None
    stop_on_collapse: bool = False
    check_only: bool = False
    budget_seconds: float | None = None
    on_alarm: Callable[[Finding], None] | None = None
    on_report: Callable[[WatchReport], None] | None = None
    on_trial: Callable[[float, str], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """What `everyclass run` has to tell.

    Args:
        report: what was seen.
        code: the script's exit code; 1 when it was stopped at an alarm.
        case: what checks and trials start from, None when nothing was recognised.
        diagnosis: None when nothing was wrong, or no trial was asked for.
    """

    report: WatchReport
    code: int
    case: Case | None
    diagnosis: Diagnosis | None = None


def run_script(target: Target, options: RunOptions) -> RunOutcome:
    """Run the script to its end and report.

    Only the first process of a distributed training watches.

    Raises:
        InputError: there is no such script, or --out cannot be written.
    """
    if options.out is not None and options.out.exists() and not options.out.is_dir():
        raise InputError(
            f"{options.out} is not a folder.", where="--out", remedy="Choose another --out."
        )
    watch = _Watch(target, options)
    if _rank() != "0":
        ending = execute(target)
        unwatched = watch.report(str(ending))
        if options.on_report is not None:
            options.on_report(unwatched)
        return RunOutcome(report=unwatched, code=ending.code, case=None)
    begin = time.monotonic()
    try:
        with (
            when_loaded("torch", watch.begin),
            when_loaded("fastai.optimizer", watch.follow_fastai),
            before_hard_exit(watch.write_at_hard_exit),
        ):
            ending = execute(target)
    finally:
        watch.end()
    seconds = time.monotonic() - begin
    words = _ended(ending)
    case = watch.case()
    watch.write(words)  # before the checks, which run the script's own code once more
    interrupted = isinstance(ending.error, KeyboardInterrupt)
    if not interrupted:
        watch.check(case)
        watch.write(words)
    report = watch.report(words)
    if options.on_report is not None:
        options.on_report(report)
    if interrupted:
        return RunOutcome(report=report, code=ending.code, case=case)
    diagnosis = _diagnose(case, report, seconds, options)
    return RunOutcome(report=report, code=ending.code, case=case, diagnosis=diagnosis)


def _diagnose(
    case: Case | None, report: WatchReport, seconds: float, options: RunOptions
) -> Diagnosis | None:
    """Why, where the watch says that something is wrong."""
    budget = options.budget_seconds
    if budget is None:
        budget = min(max(BUDGET_SHARE * seconds, LEAST_BUDGET), MOST_BUDGET)
    if not _calls_for_trials(report) or options.check_only or budget <= 0:
        return None
    from everyclass.diagnosis.diagnose import diagnose_case, diagnose_facts

    if case is None:
        told = diagnose_facts(verdict=report.verdict, findings=report.findings, steps=report.step)
        if told is not None:
            _write_diagnosis(told, report, options)
        return told
    keep_freed_memory()  # the script has ended
    tell = options.on_trial
    if tell is not None:
        tell(budget, "")
    try:
        diagnosis = diagnose_case(
            case,
            verdict=report.verdict,
            findings=report.findings,
            checks=report.checks,
            classes=() if report.summary is None else _class_names(report.summary),
            learned=report.verdict == "healthy" and not _is_opening(report),
            budget_seconds=budget,
            on_trial=None if tell is None else lambda name: tell(budget, name),
        )
    except RuntimeError:
        # After an assertion on the device every call fails; the report says so already.
        return None
    _write_diagnosis(diagnosis, report, options)
    return diagnosis


def _calls_for_trials(report: WatchReport) -> bool:
    """An alarm; or what a check accuses, where it is a fact, where nothing was shown to be learned
    yet, or where the last evaluation does worse than the training batches that raise no alarm, or
    leaves a class far behind the others."""
    if report.verdict != "healthy":
        return report.verdict is not None
    accused = [one for one in report.checks if one.outcome == "issue"]
    last = None if report.summary is None else report.summary.evaluation
    left_out = last is not None and (last.verdict != "healthy" or bool(last.weak))
    facts = any(one.evidence.get("fact") for one in accused)
    return bool(accused) and (facts or _is_opening(report) or left_out)


def _is_opening(report: WatchReport) -> bool:
    return report.summary is not None and report.summary.phase == "opening"


def _write_diagnosis(diagnosis: Diagnosis, report: WatchReport, options: RunOptions) -> None:
    if options.out is None:
        return
    value = {**diagnosis.to_dict(), "overhead": report.overhead.to_dict()}
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(options.out / DIAGNOSIS_FILE, text.encode())


def _class_names(summary: Summary) -> tuple[str, ...]:
    return () if summary.figures is None else tuple(summary.figures.classes)


def _rank() -> str:
    return os.environ.get("RANK", "0")


class _Watch:
    """One run: begins when torch is loaded, and writes what is known."""

    def __init__(self, target: Target, options: RunOptions) -> None:
        self._target = target
        self._options = options
        self._session: Session | None = None
        self._patches: Patches | None = None
        self._checks: tuple[CheckResult, ...] = ()
        self._check_failure = ""
        self._written = time.monotonic()
        self._due = False
        self._cleared = False

    def begin(self) -> None:
        """torch has just been loaded."""
        from everyclass.capture.patches import Patches
        from everyclass.capture.session import Session

        options = self._options
        self._session = Session(
            on_alarm=self._alarm,
            after_step=self._write_sometimes if options.out is not None else None,
            stop_on_collapse=options.stop_on_collapse,
            stop_after_steps=CHECK_ONLY_STEPS if options.check_only else None,
        )
        self._patches = Patches(self._session)
        self._patches.install()
        _silence_forks(self._session)
        self.write("running")

    def follow_fastai(self) -> None:
        """fastai has just been loaded."""
        if self._patches is not None:
            self._patches.follow_fastai()

    def end(self) -> None:
        """The script is over."""
        if self._session is not None and self._patches is not None:
            self._session.end()
            self._patches.remove()

    def case(self) -> Case | None:
        """See `RunOutcome`."""
        if self._session is None or self._patches is None:
            return None
        from everyclass.capture.assemble import case_of

        return case_of(self._session, self._patches.originals)

    def check(self, case: Case | None) -> None:
        """Run the exact checks on what was captured."""
        if case is None or not case.batches:
            return
        from everyclass.diagnosis.check import check_case

        try:
            self._checks = check_case(case)
        except RuntimeError as error:
            # After an assertion on the device every call fails, ours too.
            self._check_failure = f"The checks could not run: {str(error).splitlines()[0]}"

    def report(self, ended: str) -> WatchReport:
        """What is known now."""
        session = self._session
        monitor = None if session is None else session.feed.monitor
        summary = None if monitor is None else monitor.summary(ended=ended != "running")
        if session is None:
            watched, sites, facts = Watched(), dict[str, str](), tuple[Finding, ...]()
        else:
            from everyclass.capture.assemble import call_sites, watched_of

            watched, sites = watched_of(session), call_sites(session)
            facts = tuple(session.findings)
            if self._check_failure:
                watched = replace(watched, notes=(*watched.notes, self._check_failure))
        verdict = None if summary is None else summary.verdict
        sentence = self._nothing() if summary is None else summary.sentence
        if facts and verdict in (None, "healthy"):
            verdict, sentence = facts[0].id, facts[0].sentence
        return WatchReport(
            script=str(self._target),
            ended=ended,
            verdict=verdict,
            sentence=sentence,
            step=0 if session is None else session.steps,
            phase="nothing-seen" if summary is None else summary.phase,
            findings=(*facts, *(() if summary is None else summary.findings)),
            checks=self._checks,
            watched=watched,
            overhead=_overhead(session),
            summary=summary,
            call_sites=sites,
        )

    def write(self, ended: str) -> None:
        """Write `findings.json`."""
        out = self._options.out
        if out is None:
            return
        if not self._cleared:
            for name in LATER_FILES:
                (out / name).unlink(missing_ok=True)
            self._cleared = True
        value = self.report(ended).to_dict()
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(out / FINDINGS_FILE, text.encode())
        self._due = False
        self._written = time.monotonic()

    def write_at_hard_exit(self) -> None:
        """The script ends its process at once: nobody will be able to say anything after."""
        with self._own_work():
            self.write("os._exit")

    def _write_sometimes(self) -> None:
        if self._due or time.monotonic() - self._written >= WRITE_EVERY_SECONDS:
            self.write("running")

    def _alarm(self, finding: Finding) -> None:
        if self._options.on_alarm is not None:
            self._options.on_alarm(finding)
        self._due = True  # the file is written when the step is complete

    @contextmanager
    def _own_work(self) -> Iterator[None]:
        session = self._session
        active = session is not None and session.active
        if session is not None:
            session.active = False
        yield
        if session is not None:
            session.active = active

    def _nothing(self) -> str:
        rank = _rank()
        if rank != "0":
            return f"Not watched: this is process {rank} of a distributed training, 0 watches."
        if self._session is None:
            return never_loaded(sys.modules)
        from everyclass.capture.assemble import nothing_watched

        return nothing_watched(self._session, sys.modules)


def _silence_forks(session: Session) -> None:
    # A fork's hook cannot be taken back: it must not keep the session alive.
    reference = weakref.ref(session)

    def silence() -> None:
        forked = reference()
        if forked is not None:
            forked.silence()

    os.register_at_fork(after_in_child=silence)


def _ended(ending: Ending) -> str:
    reason = getattr(ending.error, "reason", None)
    return reason if isinstance(reason, str) else str(ending)


def _overhead(session: Session | None) -> Overhead:
    """Of the watch, without what it costs to begin: that is paid once."""
    if session is None or session.training_began is None:
        return Overhead(seconds=0.0 if session is None else session.seconds, fraction=None)
    span = session.last_seen - session.training_began
    steady = session.seconds - session.seconds_before_training
    return Overhead(seconds=session.seconds, fraction=steady / span if span > 0 else None)
