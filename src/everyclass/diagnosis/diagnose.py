"""Why a training fails: findings, checks and trials in one answer.

Comes in: a `Case`, what the watch found, a budget. Goes out: a `Diagnosis`. The only reader of both
checks and trials.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from everyclass.contracts import Verdict
from everyclass.diagnoses import Cause, Diagnosis, Remedy, Trial
from everyclass.diagnosis.case import Case
from everyclass.diagnosis.changes import changes
from everyclass.diagnosis.check import check_case
from everyclass.diagnosis.material import rates_of
from everyclass.diagnosis.scores import Score
from everyclass.diagnosis.trials import BUDGET_SPENT, TrialReport, run_trials
from everyclass.findings import CauseId, CheckResult, Finding

LEAST_GAIN = 0.02
"""Gain of a change that cures nothing, from which it is told as a suspicion."""

MUCH_LARGER = 4
"""Times as many parameters, from which a network of ours says that another may be too small."""


def diagnose_case(
    case: Case,
    *,
    verdict: Verdict | None = None,
    findings: Sequence[Finding] = (),
    checks: Sequence[CheckResult] | None = None,
    classes: Sequence[str] = (),
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
        return one.cause in _CONSEQUENCES, one.name in _INDIRECT, explained in seen

    issues.sort(key=comes_late)
    accused = tuple(dict.fromkeys(one.cause for one in issues if one.cause is not None))
    report = run_trials(
        case,
        accused=accused,
        starved=verdict == "starved",
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
    small = any(one.id == "model-too-small" for one in causes)
    proved = any(one.proved for one in causes)
    notes = ("" if small else _told_apart(report), "" if proved else _left_untried(report))
    return Diagnosis(
        verdict=verdict,
        step=case.steps or 0,
        sentence=_sentence(verdict, causes, report),
        findings=tuple(findings),
        causes=causes,
        remedies=tuple(_remedies(causes, issues, case)),
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
            found.append(_of_trial(cause, trial, by_cause.get(cause), classes))
    cured = any(one.judged_on == "held-out" for one in proved)
    unrelated = None if cured else _unrelated(report, hidden=not _HIDING.isdisjoint(by_cause))
    found += [unrelated] if unrelated is not None and unrelated.proved else []
    found += _facts(findings)
    loop = [] if report.loop is None else [_of_loop(report.loop)]
    for issue in issues:
        assert issue.cause is not None
        if issue.cause in _CONSEQUENCES:
            found, loop = [*found, *loop], []
        found.append(_accused(issue, trial_of.get(issue.cause)))
    found += loop
    found += [unrelated] if unrelated is not None else []
    if not proved:
        for trial in report.trials:
            if trial.ci95[0] > 0 and trial.gain >= LEAST_GAIN:
                found += [_of_trial(cause, trial, None, classes) for cause in trial.causes]
    small = _too_small(report, parameters)
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
        sentence=f"{issue.sentence} {_beside(trial)}".strip(),
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
        sentence=_sentence(verdict, causes, TrialReport()),
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


def _of_trial(
    cause: CauseId, trial: Trial, issue: CheckResult | None, classes: Sequence[str]
) -> Cause:
    facts = (
        f"With {trial.words} balanced accuracy on {trial.images:,} {_images(trial)} is "
        f"{trial.changed:.2f} instead of {trial.control:.2f} (chance {trial.chance:.2f}; gain "
        f"{trial.ci95[0]:+.2f} to {trial.ci95[1]:+.2f}, 95 %, {_sides(trial)}{_controls(trial)})"
    )
    missed = ""
    if trial.missed and not trial.proved:
        names = [classes[k] if k < len(classes) else f"class {k}" for k in trial.missed[:4]]
        missed = f"; still never recognised: {', '.join(names)}"
    sentence = f"{facts}{missed}." if issue is None else f"{issue.sentence} {facts}{missed}."
    return Cause(
        id=cause,
        proved=trial.proved,
        sentence=sentence,
        trial=trial,
        evidence={} if issue is None else issue.evidence,
    )


def _of_loop(trial: Trial) -> Cause:
    return Cause(
        id=trial.causes[0],
        proved=False,
        sentence=f"On the same batches a copy trained by a plain loop gives {trial.changed:.2f} on "
        f"{trial.images:,} held-out images, and one whose gradients are never cleared fails as "
        f"this training did ({trial.control:.2f}; chance {trial.chance:.2f}).",
        trial=trial,
    )


def _images(trial: Trial) -> str:
    if trial.judged_on == "held-out":
        return "held-out images"
    return "of the images that it learns from (by heart: held-out ones show no difference)"


def _sides(trial: Trial) -> str:
    if trial.steps == 0:
        return "the weights as they are"
    seeds = "one order" if trial.seeds == 1 else f"{trial.seeds} orders"
    size = "" if trial.batch_images is None else f" of {trial.batch_images} images"
    return f"{trial.steps:,} batches{size} from the same start, {seeds}"


def _controls(trial: Trial) -> str:
    """The negative controls of a proof."""
    if trial.sham is None:
        return ""
    order = f"; another order of the batches alone gives {trial.sham:.2f}"
    if trial.permuted is None:
        return order
    return f"{order}, the change with permuted labels {trial.permuted:.2f}"


def _beside(trial: Trial | None) -> str:
    """What a trial that proved nothing says beside an accusation."""
    if trial is None:
        return ""
    told = (
        f"Tried: with {trial.words} balanced accuracy is {trial.changed:.2f} instead of "
        f"{trial.control:.2f} after {trial.steps:,} batches"
    )
    if trial.ci95[0] > 0 and not trial.recovered:
        n = len(trial.missed)
        left = "1 class is" if n == 1 else f"{n} classes are"
        why = f"{left} still never recognised" if n else "that is hardly above chance"
        return f"{told}: better, but {why}, which is no proof yet."
    if trial.ci95[0] > 0 and trial.sham is not None and trial.permuted is not None:
        return (
            f"{told}; but another order of the batches alone gives {trial.sham:.2f}, and the "
            f"change with permuted labels {trial.permuted:.2f}: that is no proof."
        )
    if trial.ci95[0] > 0:
        return f"{told}, in one order of the batches: that is no proof yet."
    return f"{told}, which proves nothing."


def _unrelated(report: TrialReport, *, hidden: bool) -> Cause | None:
    """A network of ours learns the captured images by heart and recognises no others, with the
    right labels as little as with permuted ones; nor does any side of a trial.

    Args:
        hidden: a check sees that training images show nothing (noise beside evaluation images, one
            value all over): then labels are only suspected, however little the images show.

    Source: the control of random labels is Zhang et al. 2017, arXiv:1611.03530.
    """
    reference = report.reference
    if report.best is None or reference is None or not reference.faint:
        return None
    permuted, by_heart = reference.permuted, reference.by_heart
    assert permuted is not None
    assert by_heart is not None
    name, best = report.best
    if best.recovered:
        return None
    told = reference.held_out
    tried = [one for one in report.trials if one.steps]
    facts = (
        f"A small residual network of ours, trained on {reference.images:,} training images, gives "
        f"{told.balanced_accuracy:.2f} on {len(told.targets):,} that it was not trained on "
        f"({_interval(told)}), with the labels permuted {permuted.balanced_accuracy:.2f}; yet it "
        f"learns {len(by_heart.targets)} of them by heart ({by_heart.balanced_accuracy:.2f})."
    )
    own = _own(name, best, len(tried))
    seen = reference.on_evaluation
    augmented = seen is not None and seen.tells and not seen.recognises
    if not reference.little and not augmented:
        return None
    if seen is None:
        sure = reference.nothing and not hidden
        what = f"The labels {'tell' if sure else 'may tell'} nothing about the images"
        return Cause(id="labels-unrelated", proved=sure, sentence=f"{what}. {facts} {own}")
    there = (
        f"Trained on evaluation images, which are seen without augmentation, it gives "
        f"{seen.held_out.balanced_accuracy:.2f} on others of them ({_interval(seen.held_out)})"
    )
    on_training = (
        f"{seen.training.balanced_accuracy:.2f} on training images, on which it agrees with a "
        f"second such network {'as on those' if seen.recognises else 'much less'} (kappa "
        f"{seen.agreed_on_training:.2f} against {seen.agreed:.2f})"
    )
    if not seen.tells:
        # Too few evaluation images to tell an augmentation from wrong labels leave it open.
        sure = seen.nothing and not hidden
        what = f"The labels {'tell' if sure else 'may tell'} nothing about the images"
        told_enough = f"{what}. {facts} {there}. {own}"
        return Cause(id="labels-unrelated", proved=sure, sentence=told_enough)
    if seen.recognises:
        what = "The training labels tell nothing about the training images"
        return Cause(
            id="labels-unrelated",
            proved=True,
            sentence=f"{what}. {facts} {there}, and {on_training}.",
        )
    shown = "nothing" if reference.little else "hardly anything"
    return Cause(
        id="augmentation-too-strong",
        proved=True,
        sentence=f"Augmented, the training images show {shown} of their class. {facts} {there}, "
        f"and {on_training}.",
    )


def _left_untried(report: TrialReport) -> str:
    """That a larger budget would try more; "" where all was tried."""
    left = sum(reason == BUDGET_SPENT for reason in report.excluded.values())
    if not left:
        return ""
    changes_left = "1 change was" if left == 1 else f"{left} changes were"
    return f"{changes_left} not tried: the budget was spent. A larger --budget tries more."


def _told_apart(report: TrialReport) -> str:
    """What a network of ours makes of images that no side of a trial tells apart; "" without."""
    reference = report.reference
    helped = any(one.recovered for one in report.trials if one.steps)
    if reference is None or not reference.tells or not report.reproduced or helped:
        return ""
    told = reference.held_out
    return (
        f"A small residual network of ours, {reference.parameters:,} parameters, tells the images "
        f"apart after {reference.passes:,} passes ({told.balanced_accuracy:.2f} on "
        f"{len(told.targets):,} held-out images, {_interval(told)}): images and labels are not "
        "what is in the way."
    )


def _too_small(report: TrialReport, parameters: int) -> Cause | None:
    """A network with far fewer parameters than ours, where ours learns and nothing helps it."""
    told = _told_apart(report)
    reference = report.reference
    if not told or reference is None or parameters * MUCH_LARGER > reference.parameters:
        return None
    return Cause(
        id="model-too-small",
        proved=False,
        sentence=f"This network has {parameters:,} parameters, and of the {len(report.trials)} "
        f"changes that were tried none makes it tell the images apart. {told}",
        evidence={"parameters": parameters, "parameters_of_ours": reference.parameters},
    )


def _interval(score: Score) -> str:
    low, high = score.interval
    return f"95 %: {low:.2f} to {high:.2f}; chance {score.chance:.2f}"


def _own(name: str, best: Score, n_tried: int) -> str:
    if not n_tried:
        return f"Your own training gives {best.balanced_accuracy:.2f}."
    changed = "no change" if name == "control" else name
    return (
        f"Your own training, with {n_tried} changes tried, gives {best.balanced_accuracy:.2f} at "
        f"best ({changed})."
    )


def _sentence(verdict: Verdict | None, causes: Sequence[Cause], report: TrialReport) -> str:
    state = _STATES[verdict] if verdict else "The training was not watched"
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


def _remedies(
    causes: Iterable[Cause], issues: Sequence[CheckResult], case: Case
) -> Iterable[Remedy]:
    by_check = {one.cause: one.remedy for one in reversed(issues)}
    by_name = {one.name: one.remedy for one in changes()}
    for cause in causes:
        of_trial = ""
        if cause.proved and cause.trial is not None:
            names = cause.trial.change.split(" + ")
            of_trial = by_name[names[cause.trial.causes.index(cause.id)]]
        sentence = by_check.get(cause.id) or of_trial
        if not sentence:
            sentence = _WITHOUT_TRIAL.get(cause.id, "")
        if sentence:
            yield Remedy(cause=cause.id, sentence=sentence, code=_code(cause, case))


def _code(cause: Cause, case: Case) -> str:
    """Place and line to change, where the captured call sites tell."""
    if cause.id == "weights-not-loaded":
        return str(cause.evidence.get("site", ""))
    sites = case.call_sites
    if cause.trial is not None and cause.trial.change == "adam" and "optimizer" in sites:
        return f"{sites['optimizer']}: torch.optim.Adam(model.parameters(), lr=1e-3)"
    if cause.id in ("learning-rate-too-low", "learning-rate-too-high") and cause.trial is not None:
        factor = _FACTORS.get(cause.trial.change) if cause.trial.ci95[0] > 0 else None
        rates = rates_of(case.optimizers)
        if factor is not None and rates and "optimizer" in sites:
            peak = max((rate for _, rate in case.rates), default=rates[0])
            return f"{sites['optimizer']}: lr={peak:g} -> lr={peak * factor:g}"
    place = sites.get(_PLACES.get(cause.id, ""))
    return "" if place is None else f"{place}: {_CODE.get(cause.id, '')}".rstrip(": ")


_CONSEQUENCES: tuple[CauseId, ...] = ("non-finite", "dead-units")
"""What another fault leads to as often as not: suspected after everything else."""

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
_WITHOUT_TRIAL: dict[CauseId, str] = {
    "model-too-small": "Use a larger network: more channels first, then more layers.",
    "gradients-not-cleared": "See whether each backward pass begins with optimizer.zero_grad().",
    "labels-unrelated": "Look at a few images with their labels as the loader gives them: file "
    "lists that are sorted differently, or a wrong column, are the usual reasons.",
    "augmentation-too-strong": "Look at a few training images as the network gets them: if you "
    "cannot name their class, weaken the augmentation until you can.",
}
_FACTORS = {
    "rate-tenth": 0.1,
    "rate-hundredth": 0.01,
    "rate-ten-times": 10.0,
    "rate-hundred-times": 100.0,
}
_PLACES = {
    "inputs-not-scaled": "transform",
    "inputs-double-scaled": "transform",
    "stream-sorted": "loader",
    "labels-unrelated": "loader",
    "augmentation-too-strong": "loader",
    "softmax-before-loss": "model",
    "output-activation-wrong": "model",
    "parameters-not-optimised": "optimizer",
    "gradients-not-cleared": "optimizer",
    "loss-weights-wrong": "loss",
    "double-correction": "loss",
    "weight-decay-too-strong": "optimizer",
    "learning-rate-too-high": "optimizer",
    "learning-rate-too-low": "optimizer",
    "class-imbalance": "loss",
}
_CODE = {
    "stream-sorted": "DataLoader(..., shuffle=True)",
    "labels-unrelated": "what the data set behind this loader pairs with each image",
    "augmentation-too-strong": "the transforms of the data set behind this loader",
    "parameters-not-optimised": "optimizer over model.parameters()",
    "gradients-not-cleared": "call optimizer.zero_grad() before each backward()",
    "loss-weights-wrong": "loss without weight=",
    "double-correction": "loss without weight= (the sampler balances already)",
    "weight-decay-too-strong": "weight_decay=1e-4",
    "class-imbalance": "loss(logits + log_prior, targets)",
}
