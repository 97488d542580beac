"""What a trial, or a network of ours, says of a cause: one sentence with its numbers.

Comes in: trials, a reference, what a check accuses. Goes out: `Cause` values and sentences. Decides
no order, and nothing is proved here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from everyclass.diagnoses import Cause, Trial
from everyclass.diagnosis.case import Case
from everyclass.diagnosis.scores import Score
from everyclass.diagnosis.trials import BUDGET_SPENT, TrialReport
from everyclass.findings import CauseId, CheckResult

MUCH_LARGER = 4
"""Times as many parameters, from which a network of ours says that another may be too small."""


def of_trial(
    cause: CauseId, trial: Trial, issue: CheckResult | None, classes: Sequence[str]
) -> Cause:
    """The cause that a trial answers.

    Args:
        issue: of the check that accuses it, if one does.
        classes: names in output order.
    """
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


def in_context(
    cause: Cause, case: Case, checks: Sequence[CheckResult], classes: Sequence[str]
) -> Cause:
    """A cause that no check accuses, after what is known of it all the same."""
    known = ""
    if cause.id == "parameters-frozen":
        told = [one for one in checks if one.name == "trainable-parameters"]
        known = next((one.sentence for one in told if one.outcome == "passed"), "")
    if cause.id == "class-imbalance":
        known = _class_sizes(case, classes)
    return replace(cause, sentence=f"{known} {cause.sentence}") if known else cause


def _class_sizes(case: Case, classes: Sequence[str]) -> str:
    counts, whose = case.class_counts, "training images"
    if counts is None and case.label_counts:
        counts = tuple(sum(column) for column in zip(*case.label_counts))
        whose = "labels of the first steps"
    seen = [(n, k) for k, n in enumerate(counts or ()) if n]
    if len(seen) < 2:
        return ""
    (few, rarest), (many, largest) = min(seen), max(seen)
    names = [f"'{classes[k]}'" if k < len(classes) else f"class {k}" for k in (largest, rarest)]
    return (
        f"Of the {whose} {many:,} are of {names[0]} and {few:,} of {names[1]}, "
        f"{many / few:.3g} to 1."
    )


def of_loop(trial: Trial) -> Cause:
    """The fault of a loop that a copy fails with as well."""
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


def beside(trial: Trial | None) -> str:
    """What a trial that proved nothing says beside an accusation."""
    if trial is None:
        return ""
    when = f"after {trial.steps:,} batches" if trial.steps else "on the weights as they are"
    told = (
        f"Tried: with {trial.words} balanced accuracy is {trial.changed:.2f} instead of "
        f"{trial.control:.2f} {when}"
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


def unrelated(report: TrialReport, *, hidden: bool) -> Cause | None:
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


def left_untried(report: TrialReport) -> str:
    """That a larger budget would try more; "" where all was tried."""
    left = sum(reason == BUDGET_SPENT for reason in report.excluded.values())
    if not left:
        return ""
    changes_left = "1 change was" if left == 1 else f"{left} changes were"
    return f"{changes_left} not tried: the budget was spent. A larger --budget tries more."


def told_apart(report: TrialReport) -> str:
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


def too_small(report: TrialReport, parameters: int) -> Cause | None:
    """A network with far fewer parameters than ours, where ours learns and nothing helps it."""
    told = told_apart(report)
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
