"""The network itself: non-finite numbers, outputs that ignore their input, dead units, weights that
are all alike. Causes: non-finite, dead-units, poor-initialisation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, names, passed
from everyclass.diagnosis.causes.outputs import activation_explains
from everyclass.diagnosis.material import Material, as_rows, unwrapped
from everyclass.diagnosis.nested import plain_names, tensors_in
from everyclass.diagnosis.sightings import Layer
from everyclass.diagnosis.trace import Pass
from everyclass.findings import CauseId

DEAD_SHARE = 0.9
LEAST_IMAGES = 8
"""In the batch, before units that none of them switches on are called dead."""

SAME_OUTPUT = 1e-6
"""Variation of the scores between images, relative to their size, that rounding explains."""

FAINT_SIGNAL = 1e-4
"""The same at the last layer's input, at the initial weights: below it images are told apart by
one part in 10,000 and learning has nothing to hold on to."""

FADED = 1e-5
"""Size of the numbers that the last layer gets, relative to those that the first one gets: below it
gradients fade alike, whatever images differ by. With torch's own schemes biases keep it above 1e-3
in VGG16."""

KEPT_SIGNAL = 1e-2
"""Of the variation of the inputs; where as much is left, it is the inputs that hardly differ."""

MOST_DROPPED = 0.8
"""Probability from which dropout is accused; usual are 0.1 to 0.5."""


def first_non_finite(material: Material) -> Answer:
    """The first place where NaN or infinity appears."""
    found = _non_finite_place(material)
    if found is None:
        return passed("Inputs, weights, layers, loss and gradients are finite.", {})
    kind, place = found
    if kind == "weights" and (optimizer := _divides_by_nothing(material)):
        return accuse(
            "non-finite",
            f"The first non-finite numbers are in {place}: {optimizer} has eps=0, and divides by 0 "
            "wherever a weight has had no gradient.",
            remedy="Leave eps at its default, 1e-8.",
            evidence={"kind": kind, "first": place, "eps": 0.0, "fact": True},
        )
    return accuse(
        "non-finite",
        f"The first non-finite numbers are in {place}.",
        remedy=_REMEDIES[kind],
        # Nothing of the training stands before its inputs, so that nothing else can have made them.
        evidence={"kind": kind, "first": place} | ({"fact": True} if kind in _OF_INPUTS else {}),
    )


def _non_finite_place(material: Material) -> tuple[str, str] | None:
    """(kind, where), in the order numbers flow."""
    batch = material.small_batch
    for tensor in tensors_in((batch.args, dict(batch.keywords))):
        # Masks hold minus infinity on purpose; images and features hold neither.
        if tensor.is_floating_point() and tensor.ndim >= 2 and _broken_rows(tensor):
            return _in_inputs(tensor)
    for name, parameter in material.model.named_parameters():
        if not _finite(parameter.detach()):
            return "weights", f"parameter '{name}'"
    for name, buffer in material.model.named_buffers():
        if name.endswith(("running_mean", "running_var")) and not _finite(buffer):
            return "weights", f"buffer '{name}'"
    seen = material.training
    for layer in seen.layers:
        if not layer.finite:
            return "layer", f"the output of layer '{layer.name}'"
    if seen.loss is not None and not _finite(seen.loss):
        return "layer", "the loss, though every layer's output is finite"
    for name, gradient in seen.gradients.items():
        if gradient is not None and not gradient.is_sparse and not _finite(gradient):
            return "layer", f"the gradient of '{name}'"
    return None


def _divides_by_nothing(material: Material) -> str:
    """Name of an optimizer that divides by the size of past gradients and by nothing else."""
    for one in material.case.optimizers:
        if any(group.get("eps", 1.0) == 0 for group in one.param_groups):
            return type(one).__name__
    return ""


_REMEDIES = {
    "inputs": "Find the images or rows that hold them and mend or leave out these.",
    "features": "A value that is the same in all images has deviation 0: divide by the larger of "
    "the deviation and a small number, or leave such values out.",
    "weights": "Go back to a checkpoint before; a lower rate or gradient clipping keeps them "
    "finite.",
    "layer": "Guard logarithms, divisions and square roots there, or compute that part in float32.",
}


_OF_INPUTS = ("inputs", "features")


def _in_inputs(tensor: Tensor) -> tuple[str, str]:
    """Kind and place: the same values in every row come of the arithmetic, not of an image."""
    broken = ~torch.isfinite(tensor.flatten(1))
    rows, always = int(broken.any(dim=1).sum()), broken.all(dim=0)
    told = f"the inputs ({rows} of {len(broken)} rows"
    alike = len(broken) >= 2 and bool((broken == always).all()) and not bool(always.all())
    if not alike:
        return "inputs", f"{told})"
    noun = "value" if int(always.sum()) == 1 else "values"
    return "features", f"{told}, in each the same {int(always.sum())} of {len(always)} {noun})"


def _broken_rows(tensor: Tensor) -> int:
    return int((~torch.isfinite(tensor.flatten(1))).any(dim=1).sum())


def _finite(tensor: Tensor) -> bool:
    # A sum is finite only if every number is, and much faster; it may overflow, though.
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def input_dependence(material: Material) -> Answer:
    """Scores that are the same whatever the image is."""
    if activation_explains(material):
        raise NotApplicable("The outputs' last function makes them equal; see output-activation.")
    seen, name = material.training, "scores"
    if material.scores.shape[0] < 2 or _all_rows_equal(material):
        raise NotApplicable("The batch holds no two different inputs.")
    variation = _spread(material.scores)
    if seen.dropout > 0 and variation > SAME_OUTPUT:
        # What dropout draws makes rows differ that the images do not.
        found = material.undropped.scores
        variation = variation if found is None else _spread(as_rows(found))
    head = seen.last_matrix
    if head is not None and _is_zero(head) and head.input_variation is not None:
        # Heads are set to zero on purpose; what counts is whether their inputs differ.
        variation, name = head.input_variation, f"inputs of the last layer ('{head.name}')"
    evidence: dict[str, Any] = {"variation": variation, "measured_at": name}
    if variation > SAME_OUTPUT:
        return passed(
            f"The {name} vary between images by {figure(variation)} of their size.", evidence
        )
    dead = dead_layers(seen)
    evidence["dead_layers"] = [one for one, _ in dead]
    evidence["alive_at_start"] = _alive_at_start(material)
    cause = _why_constant(material, dead)
    where = f": no unit is active after '{dead[0][0]}'" if cause == "dead-units" and dead else ""
    return accuse(
        cause,
        f"The {name} are the same for every image (they vary by {figure(variation)} of their "
        f"size){where}.",
        remedy=_constant_remedy(cause),
        evidence=evidence,
    )


def _why_constant(material: Material, dead: list[tuple[str, float]]) -> CauseId:
    if not material.initial and _set_to_zero(material):
        raise NotApplicable("Weights were set to zero during training; see weights-differ.")
    if material.initial or _mostly_alike(material):
        return "poor-initialisation"
    if any(share == 1 for _, share in dead):
        return "dead-units"
    try:
        start = material.start.scores
    except NotApplicable:
        start = None
    if start is not None and start.ndim >= 2 and _spread(start.flatten(1)) <= SAME_OUTPUT:
        return "poor-initialisation"
    raise NotApplicable(
        "The scores are the same for every image; what drove them there is for a trial to show."
    )


def _constant_remedy(cause: CauseId) -> str:
    if cause == "dead-units":
        return "Lower the rate, scale the inputs, or use LeakyReLU; dead units do not come back."
    return "Initialise with He's or Xavier's scheme, or put a normalisation between the layers."


def dead_units(material: Material) -> Answer:
    """Rectifiers with hardly a unit left that any image switches on."""
    seen = material.training
    if not seen.rectifiers:
        raise NotApplicable("The network has no ReLU.")
    n_images = material.small_batch.targets
    if n_images is None or n_images.shape[0] < LEAST_IMAGES:
        raise NotApplicable(f"Fewer than {LEAST_IMAGES} images tell little about single units.")
    shares = [(one.after, one.dead / one.units) for one in seen.rectifiers]
    worst = max(shares, key=lambda one: one[1])
    evidence: dict[str, Any] = {
        "images": int(n_images.shape[0]),
        "layers": [{"after": after, "dead_share": share} for after, share in shares],
    }
    dead = dead_layers(seen)
    if dead and _mostly_alike(material):
        raise NotApplicable("Units of a layer are copies of each other; see weights-differ.")
    if not dead or material.learned:
        return passed(
            f"At most {figure(100 * worst[1])} % of a layer's units (after '{worst[0]}') are off "
            "for every image of the batch.",
            evidence,
        )
    after, share = dead[0]
    evidence["alive_at_start"] = alive = _alive_at_start(material)
    since = "; at the initial weights they were not, so training drove them there" if alive else ""
    return accuse(
        "dead-units",
        f"{figure(100 * share)} % of the units after '{after}' are off for every image of the "
        f"batch ({n_images.shape[0]} images){since}.",
        remedy=_constant_remedy("dead-units"),
        evidence=evidence,
    )


def _alive_at_start(material: Material) -> bool | None:
    """Whether no layer was dead at the initial weights; None when these are not known. What died
    in training may be the trace of another cause, of too high a rate above all.
    """
    try:
        return not dead_layers(material.start)
    except NotApplicable:
        return None


def dead_layers(seen: Pass) -> list[tuple[str, float]]:
    """(layer before, share of units that are off) of rectifiers with hardly a unit left."""
    return [
        (one.after, one.dead / one.units)
        for one in seen.rectifiers
        if one.units and one.dead / one.units > DEAD_SHARE
    ]


def weights_differ(material: Material) -> Answer:
    """Units of a layer that are copies of each other stay so: they get the same gradient."""
    layers = list(_matrices(material.model))
    if not layers:
        raise NotApplicable("The network has no linear or convolution layer that is trained.")
    alike, counted = _alike_before_head(material)
    evidence: dict[str, Any] = {"layers": len(layers), "alike": alike}
    if not _mostly_alike(material):
        return passed(
            f"{len(layers) - len(alike)} of {len(layers)} layers have units that differ.", evidence
        )
    gone = [] if material.initial else _set_to_zero(material)
    if 2 * len(gone) >= len(alike):
        return _taken_away(material, gone, evidence)
    zero = [name for name, weight in layers if name in alike and not bool(weight.any())]
    kind = "all zero" if len(zero) == len(alike) else "all alike"
    return accuse(
        "poor-initialisation",
        f"The units of {len(alike)} of {len(counted)} layers are {kind} ({names(alike)}): they get "
        "the same gradient and stay alike.",
        remedy="Initialise weights at random: nn.init.kaiming_normal_, or PyTorch's own default.",
        evidence=evidence,
    )


def _set_to_zero(material: Material) -> list[str]:
    """Layers of which no weight is left, and was at the start."""
    state = material.case.initial_state
    if state is None:
        return []
    known = plain_names(state)
    return [
        name
        for name, weight in _matrices(material.model)
        if not bool(weight.any())
        and any(bool(one.any()) for key, one in known.items() if key.startswith(f"{name}.weight"))
    ]


def _taken_away(material: Material, gone: list[str], evidence: dict[str, Any]) -> Answer:
    """A weight that is exactly zero was set to it: neither gradients nor decay get there."""
    masks = [name for name, _ in material.model.named_buffers() if name.endswith(".weight_mask")]
    cause: CauseId = "dead-units" if masks else "weight-decay-too-strong"
    what = (
        "pruning has masked all of them"
        if masks
        else "something beside the gradient, such as a threshold by hand, takes them away"
    )
    return accuse(
        cause,
        f"Every weight of {len(gone)} layers is exactly 0 ({names(gone)}), and was not at the "
        f"start: {what}.",
        remedy="Prune by a share of all weights once, not anew after each epoch."
        if masks
        else "A threshold after each step is multiplied by the learning rate, as decay is.",
        evidence=evidence | {"set_to_zero": gone},
    )


def dropout_strength(material: Material) -> Answer:
    """So much is dropped that hardly anything is left to learn from."""
    p = material.training.dropout
    evidence = {"dropout": p}
    if p < MOST_DROPPED or material.learned:
        return passed(f"Dropout is {figure(p)} at most." if p else "Nothing is dropped.", evidence)
    return accuse(
        "dropout-too-strong",
        f"Dropout of {figure(p)} leaves {figure(100 * (1 - p))} % of the units in training, each "
        f"multiplied by {figure(1 / max(1 - p, 1e-9))}.",
        remedy="Use 0.1 to 0.5; torch's p is the share that is dropped, not the share kept.",
        evidence=evidence,
    )


_FADING = (
    "Initialise with He's scheme for ReLU, put BatchNorm between the layers, or use fewer of them."
)


def initial_signal(material: Material) -> Answer:
    """How well the last layer can tell images apart before training."""
    seen = material.start
    if _mostly_alike(material):
        raise NotApplicable("Units of a layer are copies of each other; see weights-differ.")
    head = seen.last_matrix
    if head is None or head.input_variation is None or _all_rows_equal(material):
        raise NotApplicable("No last layer was seen to get two different images.")
    by_layer = {one.name: one.variation for one in seen.layers if one.variation is not None}
    value = head.input_variation
    evidence: dict[str, Any] = {"variation": value, "layer": head.name, "by_layer": by_layer}
    given = next((one.input_variation for one in seen.layers if one.input_variation), None)
    kept = value / given if given else 0.0
    evidence["share_of_inputs_variation"] = kept
    size = next((one.input_size for one in seen.layers if one.input_size), None)
    left = head.input_size / size if head.input_size is not None and size else 1.0
    evidence["share_of_inputs_size"] = left
    if left < FADED:
        return accuse(
            "poor-initialisation",
            f"At the initial weights numbers fade with depth: the last layer ('{head.name}') gets "
            f"{figure(left)} of the size that the first one gets, and gradients fade as much.",
            remedy=_FADING,
            evidence=evidence,
        )
    if value >= FAINT_SIGNAL or kept >= KEPT_SIGNAL:
        return passed(
            f"At the initial weights the last layer's inputs vary between images by "
            f"{figure(value)} of their size.",
            evidence,
        )
    first = next((name for name, one in by_layer.items() if one < 10 * FAINT_SIGNAL), head.name)
    dead = dead_layers(seen)
    if dead:
        return accuse(
            "dead-units",
            f"At the initial weights {figure(100 * dead[0][1])} % of the units after "
            f"'{dead[0][0]}' are off for every image of the batch.",
            remedy="Start biases at 0 and initialise with He's scheme.",
            evidence=evidence,
        )
    return accuse(
        "poor-initialisation",
        f"At the initial weights the signal fades with depth: at the last layer images differ by "
        f"{figure(value)} of the numbers' size (below {figure(10 * FAINT_SIGNAL)} from '{first}').",
        remedy=_FADING,
        evidence=evidence,
    )


def _matrices(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(name, (units, inputs) weight) of trained linear and convolution layers with two units."""
    for name, module in unwrapped(model).named_modules():
        if isinstance(module, (nn.Linear, _ConvNd)):
            weight = module.weight
            if isinstance(weight, Tensor) and weight.requires_grad and weight.shape[0] > 1:
                yield name, weight.detach().flatten(1)


def _alike(model: nn.Module) -> list[str]:
    """Layers whose units all have the same weights."""
    return [
        name
        for name, weight in _matrices(model)
        # Two units decide almost every case without a look at the rest.
        if bool((weight[1] == weight[0]).all()) and bool((weight == weight[:1]).all())
    ]


def _alike_before_head(material: Material) -> tuple[list[str], list[str]]:
    """Layers whose units are alike, and all layers, without the last: that one may start at 0."""
    head = material.training.last_matrix
    last = "" if head is None else head.name
    alike = [name for name in _alike(material.model) if name != last]
    return alike, [name for name, _ in _matrices(material.model) if name != last]


def _mostly_alike(material: Material) -> bool:
    """Half of them. A single one may be meant: residual branches end in zeros."""
    alike, counted = _alike_before_head(material)
    return bool(alike) and 2 * len(alike) >= len(counted)


def _is_zero(layer: Layer) -> bool:
    weights = [p for p in layer.module.parameters() if p.ndim >= 2]
    return bool(weights) and not any(bool(p.detach().any()) for p in weights)


def _spread(scores: Tensor) -> float:
    """Standard deviation between rows over root mean square."""
    values = scores.detach().double()
    size = values.square().mean().sqrt()
    if float(size) == 0:
        return 0.0
    return float(values.var(dim=0, unbiased=False).mean().sqrt() / size)


def _all_rows_equal(material: Material) -> bool:
    batch = material.small_batch
    n = None if batch.targets is None else batch.targets.shape[0]
    tensors = [
        t for t in tensors_in((batch.args, dict(batch.keywords))) if t.ndim >= 2 and t.shape[0] == n
    ]
    return bool(tensors) and all(bool((t == t[:1]).all()) for t in tensors)


CHECKS = (
    Check(name="first-non-finite", run=first_non_finite, needs_finite=False),
    Check(name="input-dependence", run=input_dependence),
    Check(name="dead-units", run=dead_units),
    Check(name="weights-differ", run=weights_differ, needs_finite=False),
    Check(name="initial-signal", run=initial_signal),
    Check(name="dropout-strength", run=dropout_strength),
)
