"""Why a training fails: findings, checks and trials in one answer.

Comes in: a `Case`, what the watch found, a budget. Goes out: a `Diagnosis`. The only reader of both
checks and trials.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from everyclass.contracts import Verdict
from everyclass.diagnoses import Cause, Diagnosis, Remedy, Trial
from everyclass.diagnosis.case import Case
from everyclass.diagnosis.check import check_case
from everyclass.diagnosis.remedies import remedies_of
from everyclass.diagnosis.sentences import (
    beside,
    in_context,
    left_untried,
    of_loop,
    of_trial,
    told_apart,
    too_small,
    unrelated,
)
from everyclass.diagnosis.trials import TrialReport, run_trials
from everyclass.findings import CauseId, CheckResult, Finding

LEAST_GAIN = 0.02
"""Gain of a change that cures nothing, from which it is told as a suspicion."""


def diagnose_case(
    case: Case,
    *,
    verdict: Verdict | None = None,
    findings: Sequence[Finding] = (),
    checks: Sequence[CheckResult] | None = None,
    classes: Sequence[str] = (),
    learned: bool = False,
    budget_seconds: float = 20.0,
    seed: int = 0,
    on_trial: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Diagnosis:
    """Find out by experiment why a captured training fails.

    Args:
        case: see `Case`; left as it was.
        verdict, findings: of the watch.
        checks: of `check_case`; made here when left out.
        classes: names in output order, for sentences.
        learned: no alarm was raised and the classes are told apart. Then only what checks accuse is
            tried, and named only where it is a fact, or costs the training much by experiment.
        budget_seconds: for the trials, about.
        seed: of everything that trials draw.
        on_trial: called with the name of each side of a trial as its training begins.
        clock: tells the seconds of the budget; with one that counts its calls, what is tried
            depends on no machine's pace.
    """
    found = tuple(check_case(case)) if checks is None else tuple(checks)
    issues = [one for one in found if one.outcome == "issue" and one.cause is not None]
    seen = {one.cause for one in issues}

    def comes_late(one: CheckResult) -> tuple[bool, bool, bool]:
        explained = _EXPLAINED_BY.get(one.cause) if one.cause is not None else None
        follows = one.cause in _CONSEQUENCES and not one.evidence.get("fact")
        return follows, one.name in _INDIRECT, explained in seen

    issues.sort(key=comes_late)
    accused = tuple(dict.fromkeys(one.cause for one in issues if one.cause is not None))
    report = run_trials(
        case,
        accused=accused,
        starved=verdict == "starved",
        learned=learned,
        budget_seconds=budget_seconds,
        seed=seed,
        on_trial=on_trial,
        clock=clock,
    )
    if verdict in (None, "healthy"):
        # That a loop with a fault fails tells nothing of a training that is not known to have.
        report = replace(report, loop=None)
    parameters = sum(one.numel() for one in case.model.parameters())
    causes = _causes(issues, report, classes, findings, parameters)
    causes = tuple(
        one if one.id in seen else in_context(one, case, found, classes) for one in causes
    )
    if learned:
        causes = tuple(one for one in causes if one.state != "suspected")
    small = any(one.id == "model-too-small" for one in causes)
    proved = any(one.proved for one in causes)
    notes = ("" if small else told_apart(report), "" if proved else left_untried(report))
    return Diagnosis(
        verdict=verdict,
        step=case.steps or 0,
        sentence=_of_what_it_costs(accused, causes, report)
        if learned
        else _sentence(verdict, causes, report, findings),
        findings=tuple(findings),
        causes=causes,
        remedies=tuple(remedies_of(causes, issues, case)),
        trials=report.trials,
        excluded=report.excluded,
        notes=(*report.notes, *(one for one in notes if one)),
        checks=found,
        seconds=report.seconds,
    )


def _causes(
    issues: Sequence[CheckResult],
    report: TrialReport,
    classes: Sequence[str],
    findings: Sequence[Finding],
    parameters: int,
) -> tuple[Cause, ...]:
    """Numbers that are not finite where images enter; proved ones by their gain, accused ones first
    among them; then what the watch knows as a fact, then suspicions.

    Args:
        parameters: of the network.
    """
    by_cause = {one.cause: one for one in reversed(issues)}
    proved = [one for one in report.trials if one.proved]
    proved.sort(key=lambda one: (one.causes[0] not in by_cause, -one.gain))
    trial_of = {cause: one for one in reversed(report.trials) for cause in one.causes}
    found = [
        _accused(one, None)
        for one in issues
        if one.evidence.get("fact") and _stands(one, report.trials)
    ]
    for trial in proved:
        for cause in trial.causes:
            found.append(of_trial(cause, trial, by_cause.get(cause), classes))
    cured = any(one.judged_on == "held-out" for one in proved)
    of_labels = None if cured else unrelated(report, hidden=not _HIDING.isdisjoint(by_cause))
    found += [of_labels] if of_labels is not None and of_labels.proved else []
    found += _facts(findings)
    loop = [] if report.loop is None else [of_loop(report.loop)]
    for issue in issues:
        assert issue.cause is not None
        if issue.cause in _CONSEQUENCES:
            if proved and not issue.evidence.get("fact"):
                continue  # what was proved led to it
            found, loop = [*found, *loop], []
        found.append(_accused(issue, trial_of.get(issue.cause)))
    found += loop
    found += [of_labels] if of_labels is not None else []
    if not proved:
        for trial in report.trials:
            if trial.ci95[0] > 0 and trial.gain >= LEAST_GAIN:
                found += [of_trial(cause, trial, None, classes) for cause in trial.causes]
    small = too_small(report, parameters)
    found += [] if small is None else [small]
    first: dict[CauseId, Cause] = {}
    for told in found:
        first.setdefault(told.id, told)
    return tuple(first.values())


def _stands(issue: CheckResult, trials: Sequence[Trial]) -> bool:
    """Whether a fact is the cause as far as is known: its own trial may refute or prove it."""
    own = [one for one in trials if issue.cause in one.causes]
    return all(one.ci95[0] > 0 and not one.proved for one in own)


def _accused(issue: CheckResult, trial: Trial | None) -> Cause:
    """What a check accuses, with what was tried for it."""
    assert issue.cause is not None
    return Cause(
        id=issue.cause,
        proved=False,
        sentence=f"{issue.sentence} {beside(trial)}".strip(),
        trial=trial,
        evidence=issue.evidence,
    )


def diagnose_facts(
    *, verdict: Verdict | None, findings: Sequence[Finding], steps: int
) -> Diagnosis | None:
    """What can be said where nothing was captured that a trial could begin with.

    Args:
        findings: of the watch.
        steps: that the training had made.
    Returns:
        None where no finding is a fact that names its cause.
    """
    causes = tuple(_facts(findings))
    if not causes:
        return None
    return Diagnosis(
        verdict=verdict,
        step=steps,
        sentence=_sentence(verdict, causes, TrialReport(), findings),
        findings=tuple(findings),
        causes=causes,
        remedies=tuple(
            Remedy(cause=one.id, sentence=one.evidence["remedy"], code="") for one in causes
        ),
        notes=("No trial could be made: the network behind this loss is not known.",),
    )


def _facts(findings: Sequence[Finding]) -> Iterator[Cause]:
    """What a finding says that no experiment has to show."""
    for one in findings:
        cause = one.evidence.get("cause")
        if cause is not None:
            yield Cause(id=cause, proved=False, sentence=one.sentence, evidence=one.evidence)


def _sentence(
    verdict: Verdict | None,
    causes: Sequence[Cause],
    report: TrialReport,
    findings: Sequence[Finding],
) -> str:
    state = _STATES[verdict] if verdict else "The training was not watched"
    behind = [one for one in findings if one.id == verdict and one.ended_step is None]
    if behind and all(one.evidence.get("stream") == "evaluation" for one in behind):
        state = "It is the evaluation that fails"
    if not causes:
        if report.control is None:
            return f"{state}; no experiment could be made."
        return f"{state}; nothing that was tried helps."
    first = causes[0]
    how = {
        "proved": "proved by experiment",
        "a fact": "a fact, which needs no experiment",
        "suspected": "suspected, not proved",
    }[first.state]
    if verdict == "healthy":
        return f"No alarm was raised, but little is learned; the cause is {first.id} ({how})."
    return f"{state}; the cause is {first.id} ({how})."


def _of_what_it_costs(
    accused: Sequence[CauseId], causes: Sequence[Cause], report: TrialReport
) -> str:
    """Of a training that tells the classes apart."""
    state = "The training tells the classes apart"
    if causes and causes[0].state == "a fact":
        return (
            f"{state}; what is wrong nevertheless is {causes[0].id} (a fact, which needs no "
            "experiment)."
        )
    if causes and causes[0].trial is not None:
        trial = causes[0].trial
        return (
            f"{state}, but {causes[0].id} costs it {trial.gain:.2f} of balanced accuracy "
            "(proved by experiment)."
        )
    if report.control is None:
        return f"{state}; what the checks accuse could not be tried."
    return f"{state}; that {' or '.join(accused)} costs it anything was not shown by trials."


_CONSEQUENCES: tuple[CauseId, ...] = ("non-finite", "dead-units")
"""What another fault leads to as often as not: suspected after everything else, and not at all
where that other one is proved."""

_INDIRECT = ("initial-loss",)
"""Checks that see a cause by its effect: one that sees the cause itself speaks for both."""

_EXPLAINED_BY: dict[CauseId, CauseId] = {
    "inputs-not-scaled": "augmentation-too-strong",
    "labels-unrelated": "inputs-constant",
    "learning-rate-too-high": "inputs-not-scaled",
}
"""Noise added to images makes their scale odd too; blank images come again with other labels; large
inputs make large gradients."""

_HIDING: frozenset[CauseId] = frozenset({"augmentation-too-strong", "inputs-constant"})
"""What keeps images from showing their class, whatever the labels are."""

_STATES: dict[Verdict, str] = {
    "healthy": "The training is healthy",
    "collapsed": "The training has collapsed",
    "starved": "Some classes are never predicted",
    "not-learning": "The training does not learn",
    "diverged": "The training has diverged",
}
