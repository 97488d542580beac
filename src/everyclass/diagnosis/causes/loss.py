"""What the loss makes of outputs and targets: shapes, kind, and a way back to the parameters.

Causes: loss-mismatch, targets-broadcast, graph-detached, and by the first loss poor-initialisation
or inputs-not-scaled. The outputs themselves are looked at in `outputs`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, names, passed
from everyclass.diagnosis.case import REGRESSION_LOSSES
from everyclass.diagnosis.causes.inputs import FAR_RMS, channel_figures
from everyclass.diagnosis.causes.outputs import (
    activation_explains,
    functions_among,
    softmax_over_rows,
    sums_to_one,
)
from everyclass.diagnosis.material import BINARY_LOSSES, ID_LOSSES, Material, class_ids
from everyclass.diagnosis.traced_loss import TracedLoss
from everyclass.findings import CauseId

LOG_SUM_TOLERANCE = 1e-2
FLAT_FUNCTIONS = ("Round", "Floor", "Ceil", "Trunc", "Sign", "Sgn", "Heaviside")
REACHED_SHARE = 0.5
STEPS_TO_LEARN = 100
"""After which a network whose features run under no_grad ought to have learned, if these were of
any use; before, it may be meant so."""


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
    if name in ("nll_loss", "kl_div"):
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
    if off < LOG_SUM_TOLERANCE or sums_to_one(scores, dim=1):
        return passed(f"{evidence['loss']} gets rows of log-probabilities.", evidence)
    if softmax_over_rows(material, "LogSoftmax"):
        # The sums are wrong because rows are mixed; that is accused where it belongs.
        raise NotApplicable("A softmax over the batch explains the sums; see rows-independent.")
    return accuse(
        "loss-mismatch",
        f"{evidence['loss']} takes log-probabilities, whose exponentials sum to 1 in each row; the "
        f"log of these sums is off by up to {figure(off)}, so raw logits are passed.",
        remedy="Use cross_entropy on the logits, or put log_softmax(dim=1) before the loss.",
        evidence=evidence,
    )


def target_shape(material: Material) -> Answer:
    """Outputs and targets of different shapes that broadcast."""
    seen = material.training
    if seen.call is None and material.case.loss_function is None:
        raise NotApplicable("No loss is known.")
    pair = seen.broadcast
    if seen.call is not None and seen.call.spec.name in REGRESSION_LOSSES:
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
    apart = _without_graph(material, trainable)
    share = sum(trainable[name].numel() for name in apart) / size
    failed = (material.case.steps or 0) >= STEPS_TO_LEARN and material.learned is False
    if share >= REACHED_SHARE and failed:
        return accuse(
            "graph-detached",
            f"{figure(100 * share)} % of the trainable weights are in the optimizer and get no "
            f"gradient: their layers ran under no_grad ({names(apart)}).",
            remedy="Take the no_grad() (or detach()) away, unless these layers are meant to stay "
            "as they are.",
            evidence=evidence | {"without_graph": apart[:20], "without_graph_share": share},
        )
    rest = len(trainable) - len(reached)
    more = f"; {rest} get none (not used for this output)" if rest else ""
    return passed(f"The loss reaches {len(reached)} trainable parameters{more}.", evidence)


def gradient_alive(material: Material) -> Answer:
    """The gradient is not 0 everywhere for a function that has steps and no slope."""
    seen = material.training
    if not seen.gradients:
        raise NotApplicable("No gradient was computed.")
    if any(one is not None and bool(one.any()) for one in seen.gradients.values()):
        return passed("The loss has a slope.", {})
    flat = functions_among(material.raw_scores, FLAT_FUNCTIONS)
    evidence: dict[str, Any] = {"flat_functions": list(flat)}
    if not flat or any(norm for _, norm in material.case.gradient_norms):
        return passed("No function without a slope stands before the loss.", evidence)
    return accuse(
        "graph-detached",
        f"Every gradient is exactly 0: between network and loss stands {flat[0].lower()}, which "
        "has steps and no slope, so that nothing can be learned through it.",
        remedy="Round, threshold or take signs after the loss, in metrics only; or pass the "
        "gradient straight through: z + (z.round() - z).detach().",
        evidence=evidence,
    )


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


def _without_graph(material: Material, trainable: Mapping[str, nn.Parameter]) -> list[str]:
    """Parameters that an optimizer holds and whose layer ran without building a graph."""
    try:
        held = material.optimised()
    except NotApplicable:
        return []
    return [
        name
        for layer in material.training.layers
        if not layer.with_graph
        for name, parameter in layer.module.named_parameters(prefix=layer.name)
        if name in trainable and id(parameter) in held
    ]


def initial_loss(material: Material) -> Answer:
    """The first loss against ln C."""
    if material.spec.name not in ("cross_entropy", "nll_loss", *BINARY_LOSSES):
        raise NotApplicable("ln C is the start of cross-entropies only.")
    seen = material.start
    if seen.loss is None:
        raise NotApplicable("No loss was computed.")
    if activation_explains(material):
        raise NotApplicable("The outputs' last function fixes them; see output-activation.")
    loss = material.case.loss_function
    if isinstance(loss, TracedLoss) and loss.penalties():
        raise NotApplicable("The loss has a penalty on the weights; see penalty.")
    n = 2 if material.spec.name in BINARY_LOSSES else material.n_outputs
    if n < 2:
        raise NotApplicable("ln C of one output is 0.")
    value, expected = float(seen.loss), math.log(n)
    limit = 2 * expected + 2
    evidence: dict[str, Any] = {"loss": value, "ln_C": expected, "limit": limit}
    if not math.isfinite(value) or value <= limit or material.spec.reduction != "mean":
        return passed(f"The first loss is {figure(value)}; ln {n} = {figure(expected)}.", evidence)
    if material.learned:
        return passed(
            f"The first loss was {figure(value)}, far above ln {n} = {figure(expected)}, and the "
            "training got over it.",
            evidence,
        )
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
    Check(name="target-shape", run=target_shape, needs_finite=False),
    Check(name="loss-connected", run=loss_connected, needs_finite=False),
    Check(name="gradient-alive", run=gradient_alive, needs_finite=False),
    Check(name="initial-loss", run=initial_loss),
)
