"""What the loss gets: the shape, range and last function of the outputs, and a way back.

Causes: loss-mismatch, softmax-before-loss, output-activation-wrong, targets-broadcast,
graph-detached. The last function of the outputs is read from the graph, not guessed from values:
fresh logits lie between 0 and 1 by chance, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from everyclass.contracts import CauseId
from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, names, passed
from everyclass.diagnosis.causes.inputs import FAR_RMS, channel_figures
from everyclass.diagnosis.material import BINARY_LOSSES, ID_LOSSES, Material, class_ids

LOGIT_LOSSES = frozenset({"cross_entropy", "binary_cross_entropy_with_logits", "multi_margin_loss"})

SUM_TOLERANCE = 1e-3
CUT_SHARE = 0.05
"""A clamp is accused when so many outputs lie exactly on its bounds: one at 50 cuts nothing."""

REACHED_SHARE = 0.5

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
    *("T", "Expand", "Clone", "ToCopy", "Alias", "Unsafe", "AsStrided", "Flatten", "Split", "Cat"),
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
        name = node.name().removeprefix("struct ").split("Backward")[0].split("::")[-1]
        if not name.startswith(_SHAPING):
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


def loss_computes(material: Material) -> Answer:
    """The loss takes outputs and targets at all."""
    if material.case.loss_function is None:
        raise NotApplicable("No loss is known.")
    error = material.training.loss_error
    shapes = _shapes(material)
    if not error:
        value = material.training.loss
        return passed(
            f"The loss takes outputs {shapes['outputs']} and targets {shapes['targets']}.",
            {**shapes, "loss": None if value is None else float(value)},
        )
    if _labels_explain(material):
        raise NotApplicable("The loss refuses label ids that do not fit; see label-range.")
    return accuse(
        "loss-mismatch",
        f"The loss refuses outputs {shapes['outputs']} with targets {shapes['targets']} "
        f"({shapes['target_type']}): {error}",
        remedy="Cross-entropy takes (B, C) logits and (B,) int64 ids; binary cross-entropy takes "
        "outputs and float targets of one shape.",
        evidence={**shapes, "error": error},
    )


def loss_kind(material: Material) -> Answer:
    """Loss, output layer and targets mean the same thing."""
    name, n = material.spec.name, material.n_outputs
    evidence: dict[str, Any] = {"loss": name, "outputs": n}
    if name in ID_LOSSES and n == 1:
        return accuse(
            "loss-mismatch",
            f"{name} over one output is 0 whatever the output is: there is nothing to choose from.",
            remedy="Give the last layer an output per class, or use "
            "binary_cross_entropy_with_logits for two classes.",
            evidence=evidence,
        )
    if name in BINARY_LOSSES and n == 1:
        return _one_binary_output(material, evidence)
    if name == "nll_loss":
        return _log_probabilities(material, evidence)
    return passed(f"{name} fits {n} output{'s' if n > 1 else ''}.", evidence)


def _one_binary_output(material: Material, evidence: dict[str, Any]) -> Answer:
    ids = material.labels
    high = int(ids.max()) if ids.numel() else 0
    n_classes = max(material.case.n_classes or 2, len(material.classes))
    evidence |= {"largest_target": high, "classes": n_classes}
    if high <= 1 and n_classes <= 2:
        return passed("One output for two classes.", evidence)
    known = f"targets up to {high}" if high > 1 else f"{n_classes} classes"
    return accuse(
        "loss-mismatch",
        f"One output with a binary loss can tell two classes apart; there are {known}.",
        remedy=f"Give the last layer {max(high + 1, n_classes)} outputs and use cross_entropy.",
        evidence=evidence,
    )


def _log_probabilities(material: Material, evidence: dict[str, Any]) -> Answer:
    scores = material.scores
    off = float(scores.logsumexp(dim=1).abs().max())
    evidence |= {"largest_log_sum_exp": off}
    if off < SUM_TOLERANCE * 10 or _sums_to_one(scores, dim=1):
        return passed("nll_loss gets rows of log-probabilities.", evidence)
    if _softmax_over_rows(material, "LogSoftmax"):
        # The sums are wrong because rows are mixed; that is accused where it belongs.
        raise NotApplicable("A softmax over the batch explains the sums; see rows-independent.")
    return accuse(
        "loss-mismatch",
        "nll_loss takes log-probabilities, whose exponentials sum to 1 in each row; the log of "
        f"these sums is off by up to {figure(off)}, so raw logits are passed.",
        remedy="Use cross_entropy on the logits, or put log_softmax(dim=1) before nll_loss.",
        evidence=evidence,
    )


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
        if _sums_to_one(scores, dim=1) or _softmax_over_rows(material, "Softmax"):
            over = "row" if _sums_to_one(scores, dim=1) else "column (softmax over the batch)"
            floor = math.log(math.e + n - 1) - 1
            wanted = "logits" if name == "cross_entropy" else "log-probabilities"
            return accuse(
                "softmax-before-loss",
                f"The outputs are probabilities, each {over} sums to 1, but {name} expects "
                f"{wanted}: gradients shrink, and even perfect answers cost {figure(floor)}.",
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
    wrong = _cutting(material, last, at_low)
    if wrong:
        remedy = "Let the last linear layer's output be the logits: no activation after it."
        return accuse("output-activation-wrong", wrong, remedy=remedy, evidence=evidence)
    return passed("Nothing cuts the outputs.", evidence)


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
    return ""


_SQUASHERS = frozenset({"Sigmoid", "Softmax", "LogSoftmax", "LogSigmoid"})


def target_shape(material: Material) -> Answer:
    """Outputs and targets of different shapes that broadcast."""
    seen = material.training
    if seen.call is None and material.case.loss_function is None:
        raise NotApplicable("No loss is known.")
    pair = seen.broadcast
    if seen.call is not None and seen.call.spec.name == "mse_loss":
        shapes = tuple(seen.call.scores.shape), tuple(seen.call.targets.shape)
        pair = shapes if shapes[0] != shapes[1] and math.prod(shapes[0]) > 1 else pair
    if pair is None:
        return passed("Outputs and targets meet in one shape.", _shapes(material))
    left, right = pair
    spread = f"({max(left)}, {max(right)})" if len(left) != len(right) else "one shape"
    return accuse(
        "targets-broadcast",
        f"Shapes {left} and {right} meet in the loss and are spread to "
        f"{spread}: every output is compared with every "
        "target, and the best answer is the mean.",
        remedy="Give both one shape: outputs.squeeze(1), or targets.unsqueeze(1).",
        evidence={"left": list(left), "right": list(right)},
    )


def loss_connected(material: Material) -> Answer:
    """A gradient can flow from the loss to the parameters."""
    seen = material.training
    if seen.loss is None:
        raise NotApplicable("No loss was computed.")
    trainable = {n: p for n, p in material.model.named_parameters() if p.requires_grad}
    if not trainable:
        raise NotApplicable("No parameter asks for a gradient.")
    reached = [name for name in trainable if seen.gradients.get(name) is not None]
    evidence: dict[str, Any] = {
        "loss_has_graph": seen.loss_has_graph,
        "trainable": len(trainable),
        "reached": len(reached),
    }
    remedy = (
        "Keep tensors in the graph from the model to the loss: no detach(), .data, .item(), "
        "argmax, numpy or torch.tensor(...) on the way, and no no_grad() around the model."
    )
    if not reached:
        how = "has no graph" if not seen.loss_has_graph else "has a graph of its own"
        return accuse(
            "graph-detached",
            f"The loss {how}: none of the {len(trainable)} trainable parameters gets a gradient.",
            remedy=remedy,
            evidence=evidence,
        )
    cut = _cut_off(material, trainable)
    size = sum(p.numel() for p in trainable.values())
    share = sum(trainable[name].numel() for name in cut) / size
    evidence |= {"cut_off": cut[:20], "cut_off_share": share}
    if share >= REACHED_SHARE:
        return accuse(
            "graph-detached",
            f"{figure(100 * share)} % of the trainable weights ran with a graph that does not "
            f"reach the loss: {names(cut)}.",
            remedy=remedy,
            evidence=evidence,
        )
    rest = len(trainable) - len(reached)
    more = f"; {rest} get none (not used for this output)" if rest else ""
    return passed(f"The loss reaches {len(reached)} trainable parameters{more}.", evidence)


def _cut_off(material: Material, trainable: Mapping[str, nn.Parameter]) -> list[str]:
    """Parameters that an optimizer holds and whose layer built a graph, in vain.

    A part that ran under no_grad, or that no optimizer holds, was left out on purpose.
    """
    try:
        held = material.optimised()
    except NotApplicable:
        held = {id(parameter) for parameter in trainable.values()}
    found = []
    for layer in material.training.layers:
        if not layer.with_graph:
            continue
        for name, parameter in layer.module.named_parameters(prefix=layer.name):
            known = parameter.requires_grad and id(parameter) in held
            if known and name in trainable and material.training.gradients.get(name) is None:
                found.append(name)
    return found


def initial_loss(material: Material) -> Answer:
    """The first loss against ln C."""
    if material.spec.name not in ("cross_entropy", "nll_loss", *BINARY_LOSSES):
        raise NotApplicable("ln C is the start of cross-entropies only.")
    seen = material.start
    if seen.loss is None:
        raise NotApplicable("No loss was computed.")
    n = 2 if material.spec.name in BINARY_LOSSES else material.n_outputs
    if n < 2:
        raise NotApplicable("ln C of one output is 0.")
    value, expected = float(seen.loss), math.log(n)
    limit = 2 * expected + 2
    evidence: dict[str, Any] = {"loss": value, "ln_C": expected, "limit": limit}
    if not math.isfinite(value) or value <= limit or material.spec.reduction != "mean":
        return passed(f"The first loss is {figure(value)}; ln {n} = {figure(expected)}.", evidence)
    cause: CauseId = "poor-initialisation"
    remedy = "Initialise the last layer smaller; about ln C is the loss of knowing nothing."
    first = next((one for one in seen.layers if one.inputs is not None), None)
    if first is not None and first.inputs is not None:
        scale = channel_figures(first.inputs, first.module).rms
        evidence["input_rms"] = scale
        if scale > FAR_RMS:
            cause = "inputs-not-scaled"
            remedy = "Scale the inputs to about zero mean and unit variance first."
    return accuse(
        cause,
        f"At the initial weights the loss is {figure(value)}, far above ln {n} = "
        f"{figure(expected)}: the network is sure of wrong answers before it has learned.",
        remedy=remedy,
        evidence=evidence,
    )


def _sums_to_one(scores: Tensor, *, dim: int) -> bool:
    if scores.shape[dim] < 2 or float(scores.min()) < 0:
        return False
    return bool(((scores.sum(dim=dim) - 1).abs() < SUM_TOLERANCE).all())


def _softmax_over_rows(material: Material, function: str) -> bool:
    """A softmax, or its logarithm, whose sums run over the batch: by the graph and the numbers."""
    raw = material.raw_scores
    last = last_functions(raw)
    if raw.ndim != 2 or not last or last[0].name != function or last[0].dim != 0:
        return False
    probs = raw.detach().float()
    return _sums_to_one(probs.exp() if function == "LogSoftmax" else probs, dim=0)


def _shapes(material: Material) -> dict[str, Any]:
    found = material.training.scores
    targets = material.batch.targets
    if material.training.call is not None:
        targets = material.training.call.targets
    return {
        "outputs": "none" if found is None else str(tuple(found.shape)),
        "targets": "none" if targets is None else str(tuple(targets.shape)),
        "target_type": "none" if targets is None else str(targets.dtype).removeprefix("torch."),
    }


def _labels_explain(material: Material) -> bool:
    """The loss was called with ids outside the outputs."""
    call = material.training.call
    if call is None or call.spec.name not in ID_LOSSES or call.targets.is_floating_point():
        return False
    if call.scores.ndim < 2 or call.targets.ndim != call.scores.ndim - 1:
        return False
    ids = class_ids(call.targets, ignore=call.spec.ignore_index)
    return ids is not None and bool(((ids < 0) | (ids >= call.scores.shape[1])).any())


CHECKS = (
    Check(name="loss-computes", run=loss_computes, needs_finite=False),
    Check(name="loss-kind", run=loss_kind),
    Check(name="outputs-are-scores", run=outputs_are_scores),
    Check(name="output-activation", run=output_activation),
    Check(name="target-shape", run=target_shape, needs_finite=False),
    Check(name="loss-connected", run=loss_connected, needs_finite=False),
    Check(name="initial-loss", run=initial_loss),
)
