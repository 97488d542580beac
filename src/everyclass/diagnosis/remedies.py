"""What to do about a cause: in words, and as the line of the script to change.

Comes in: causes, what checks say to do, the case with the places of the script. Goes out: `Remedy`
values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from everyclass.diagnoses import Cause, Remedy
from everyclass.diagnosis.case import Case
from everyclass.diagnosis.changes import changes
from everyclass.diagnosis.material import rates_of
from everyclass.findings import CauseId, CheckResult


def remedies_of(
    causes: Iterable[Cause], issues: Sequence[CheckResult], case: Case
) -> Iterable[Remedy]:
    """One for each cause that something can be done about.

    Args:
        causes: the answer first.
        issues: what checks accuse.
        case: for the places of the script.
    """
    by_check = {one.cause: one.remedy for one in reversed(issues)}
    by_name = {one.name: one.remedy for one in changes()}
    for cause in causes:
        of_trial = ""
        if cause.proved and cause.trial is not None:
            names = cause.trial.change.split(" + ")
            of_trial = by_name[names[cause.trial.causes.index(cause.id)]]
        of_watch = str(cause.evidence.get("remedy", ""))
        sentence = by_check.get(cause.id) or of_trial or of_watch
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
    "loss-weights-wrong": "weight=everyclass.balanced_weights(counts), or no weight=",
    "double-correction": "loss without weight= (the sampler balances already)",
    "weight-decay-too-strong": "weight_decay=1e-4",
    "class-imbalance": "loss(logits + log_prior, targets)",
}
