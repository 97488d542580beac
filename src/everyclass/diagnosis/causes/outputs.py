"""What the outputs are when the loss gets them: probabilities, cut, or squashed.

Causes: softmax-before-loss, output-activation-wrong. The last function of the outputs is read from
the graph, not guessed from values: fresh logits lie between 0 and 1 by chance, too.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.material import ID_LOSSES, Material

LOGIT_LOSSES = frozenset({"cross_entropy", "binary_cross_entropy_with_logits", "multi_margin_loss"})

SUM_TOLERANCE = 1e-3
MOST_NODES = 20_000
"""Of a graph that is searched."""

CUT_SHARE = 0.05
"""A clamp is accused when so many outputs lie exactly on its bounds: one at 50 cuts nothing."""

# Nodes of the graph that move numbers about and leave them as they are.
_SHAPING = (
    *(
        "View",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Select",
        "Slice",
        "Index",
        "Transpose",
        "Permute",
    ),
    *("Expand", "Clone", "ToCopy", "Alias", "Unsafe", "AsStrided", "Flatten", "Split", "Cat"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastFunction:
    """The function that made the outputs, with its bounds where it has any."""

    name: str
    low: float | None = None
    high: float | None = None
    dim: int | None = None


def last_functions(scores: Tensor, *, most: int = 3) -> tuple[LastFunction, ...]:
    """The last functions applied, outermost first; moves of numbers are passed over.

    Args:
        scores: with its graph.
    Returns:
        Empty without a graph.
    """
    found: list[LastFunction] = []
    node: Any = scores.grad_fn
    for _ in range(64):
        if node is None or len(found) == most:
            break
        name = _name_of(node)
        if name != "T" and not name.startswith(_SHAPING):
            found.append(
                LastFunction(
                    name=name,
                    low=_bound(node, "_saved_min", "_saved_min_val"),
                    high=_bound(node, "_saved_max", "_saved_max_val"),
                    dim=_dimension(node, scores.ndim),
                )
            )
        node = node.next_functions[0][0] if node.next_functions else None
    return tuple(found)


def functions_among(scores: Tensor, wanted: Collection[str]) -> tuple[str, ...]:
    """Which of these functions the scores went through, the last one first.

    Args:
        scores: with their graph.
        wanted: names of autograd's nodes without "Backward".
    """
    found: dict[str, None] = {}
    seen: set[Any] = set()
    waiting: deque[Any] = deque([scores.grad_fn])
    while waiting and len(seen) < MOST_NODES:
        node = waiting.popleft()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = _name_of(node)
        if name in wanted:
            found[name] = None
        waiting += [one for one, _ in node.next_functions]
    return tuple(found)


def _name_of(node: Any) -> str:
    name: str = node.name()
    return name.removeprefix("struct ").split("Backward")[0].split("::")[-1]


def _bound(node: Any, *attributes: str) -> float | None:
    for attribute in attributes:
        value = getattr(node, attribute, None)
        if isinstance(value, (int, float)):
            return float(value)
    return None


def _dimension(node: Any, ndim: int) -> int | None:
    dim = getattr(node, "_saved_dim", None)
    if not isinstance(dim, int):
        return None
    if dim > 2**32:  # negative dimensions are kept as unsigned 64-bit numbers
        dim -= 2**64
    return dim % ndim if ndim else None


def outputs_are_scores(material: Material) -> Answer:
    """Probabilities where logits or log-probabilities are expected."""
    name, scores = material.spec.name, material.scores
    last = last_functions(material.raw_scores)
    evidence: dict[str, Any] = {
        "loss": name,
        "last_functions": [one.name for one in last],
        "min": float(scores.min()),
        "max": float(scores.max()),
    }
    n = material.n_outputs
    if name in ("cross_entropy", "nll_loss") and n > 1:
        evidence["row_sum"] = float(scores.sum(dim=1).mean())
        if sums_to_one(scores, dim=1) or softmax_over_rows(material, "Softmax"):
            over = "row" if sums_to_one(scores, dim=1) else "column (softmax over the batch)"
            floor = math.log(math.e + n - 1) - 1
            wanted = "logits" if name == "cross_entropy" else "log-probabilities"
            return accuse(
                "softmax-before-loss",
                f"The outputs are probabilities, each {over} sums to 1, but {name} expects "
                f"{wanted}: gradients shrink, and even perfect answers cost {figure(floor)}.",
                remedy="Return logits from the model and take softmax only to show probabilities.",
                evidence=evidence,
            )
        if [one.name for one in last[:2]] == ["LogSoftmax", "Softmax"]:
            return accuse(
                "softmax-before-loss",
                "Softmax was applied already when its logarithm is taken of a second one: even "
                f"perfect answers cost {figure(math.log(math.e + n - 1) - 1)}.",
                remedy="Return logits from the model and take softmax only to show probabilities.",
                evidence=evidence,
            )
    if name == "binary_cross_entropy_with_logits" and last and last[0].name == "Sigmoid":
        return accuse(
            "softmax-before-loss",
            f"A sigmoid was applied already (outputs {figure(evidence['min'])} to "
            f"{figure(evidence['max'])}), and {name} applies its own.",
            remedy="Return logits, or use binary_cross_entropy on probabilities.",
            evidence=evidence,
        )
    if name not in (*LOGIT_LOSSES, "nll_loss"):
        raise NotApplicable(f"{name} expects no logits.")
    return passed("The outputs are not probabilities.", evidence)


def output_activation(material: Material) -> Answer:
    """A last function that cuts or squashes what the loss needs."""
    scores, n = material.scores, material.n_outputs
    last = last_functions(material.raw_scores)
    name = material.spec.name
    at_low = float((scores == scores.min()).float().mean())
    evidence: dict[str, Any] = {
        "loss": name,
        "last_functions": [one.name for one in last],
        "min": float(scores.min()),
        "max": float(scores.max()),
        "share_at_min": at_low,
    }
    if n == 1 and scores.shape[0] > 1 and bool((scores == 1).all()):
        return accuse(
            "output-activation-wrong",
            "Softmax over one output is 1 for every image.",
            remedy="Use sigmoid, or the raw output with binary_cross_entropy_with_logits.",
            evidence=evidence,
        )
    if last and last[0].name == "LogSoftmax":
        wrong = _cut_before_log_softmax(last)
    else:
        wrong = _cutting(material, last, at_low)
    if wrong:
        remedy = "Let the last linear layer's output be the logits: no activation after it."
        return accuse("output-activation-wrong", wrong, remedy=remedy, evidence=evidence)
    return passed("Nothing cuts the outputs.", evidence)


def activation_explains(material: Material) -> bool:
    """One output that its softmax makes 1: what follows from that is no fault of its own."""
    try:
        answer = output_activation(material)
    except NotApplicable:
        return False
    return answer.cause is not None and material.n_outputs == 1


def _cut_before_log_softmax(last: tuple[LastFunction, ...]) -> str:
    """The accusation for logits that were cut before their log-softmax; "" for none."""
    inner = last[1].name if len(last) > 1 else ""
    if inner not in ("Relu", "Sigmoid", "Tanh", "Threshold", "Hardshrink", "Softshrink"):
        return ""
    return f"A {inner.lower()} follows the last layer, before log-softmax takes its logits."


def _cutting(material: Material, last: tuple[LastFunction, ...], at_low: float) -> str:
    """The accusation; "" for none."""
    name, scores = material.spec.name, material.scores
    outer = last[0].name if last else ""
    inner = last[1].name if len(last) > 1 else ""
    if name in LOGIT_LOSSES or name == "nll_loss":
        if outer == "Relu" or (not last and at_low >= 0.2 and float(scores.min()) == 0):
            return (
                f"A ReLU follows the last layer: {figure(100 * at_low)} % of the outputs are "
                "exactly 0, where no gradient flows, and no logit can be negative."
            )
        if outer in ("Sigmoid", "Tanh") and name in ID_LOSSES:
            return (
                f"A {outer.lower()} follows the last layer, so logits lie between "
                f"{figure(float(scores.min()))} and {figure(float(scores.max()))}: {name} cannot "
                "get sure of anything."
            )
    if name not in LOGIT_LOSSES and name not in ("binary_cross_entropy", "nll_loss"):
        return ""
    if outer in ("Clamp", "ClampMin", "ClampMax", "Hardtanh") and inner not in _SQUASHERS:
        bounds = [one for one in (last[0].low, last[0].high) if one is not None]
        cut = float(sum(((scores == bound).float() for bound in bounds), scores * 0).mean())
        if cut >= CUT_SHARE:
            return (
                f"{outer} cuts {figure(100 * cut)} % of the outputs to "
                f"{' or '.join(figure(one) for one in bounds)}, where no gradient flows."
            )
    if outer in ("Threshold", "Hardshrink", "Softshrink"):
        cut = float((scores == 0).float().mean())
        if cut >= CUT_SHARE:
            return (
                f"{outer} follows the last layer: {figure(100 * cut)} % of the outputs are exactly "
                "0, where no gradient flows."
            )
    return ""


_SQUASHERS = frozenset({"Sigmoid", "Softmax", "LogSoftmax", "LogSigmoid"})


def sums_to_one(scores: Tensor, *, dim: int) -> bool:
    """Whether the scores are probabilities along a dimension."""
    if scores.shape[dim] < 2 or float(scores.min()) < 0:
        return False
    return bool(((scores.sum(dim=dim) - 1).abs() < SUM_TOLERANCE).all())


def softmax_over_rows(material: Material, function: str) -> bool:
    """A softmax, or its logarithm, whose sums run over the batch: by the graph and the numbers."""
    raw = material.raw_scores
    last = last_functions(raw)
    if raw.ndim != 2 or not last or last[0].name != function or last[0].dim != 0:
        return False
    probs = raw.detach().float()
    return sums_to_one(probs.exp() if function == "LogSoftmax" else probs, dim=0)


CHECKS = (
    Check(name="outputs-are-scores", run=outputs_are_scores),
    Check(name="output-activation", run=output_activation),
)
