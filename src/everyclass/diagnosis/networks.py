"""Changes of a copied network: what its first layer gets, its weights, its layers.

Comes in: a `Lab`, a `Trainee`. Goes out: the trainee with one thing changed, or `NotApplicable`
with the reason. Trains nothing, judges nothing, names no cause but where the measurement decides
between two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from everyclass.diagnosis.alterations import attach
from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.batch_axis import given_batch_first
from everyclass.diagnosis.case import CapturedBatch
from everyclass.diagnosis.causes.checkpoint import fitting_names
from everyclass.diagnosis.causes.inputs import FLAT_SD, channel_figures
from everyclass.diagnosis.lab import Lab
from everyclass.diagnosis.nested import plain_names, scores_in, tensors_in
from everyclass.diagnosis.snapshot import seeded
from everyclass.diagnosis.trainee import Trainee
from everyclass.findings import CauseId

SHRINKING = (nn.Hardshrink, nn.Softshrink, nn.Threshold)
"""They are 0 around 0, where fresh weights put everything."""

CLEAR_SIGNAL = 0.05
"""Variation between images at the last layer, of their size, from which it can tell them apart."""

USUAL_SIZE = (0.2, 4.0)
"""Of a weight's standard deviation times the root of its inputs: torch's own gives 0.58, He's
scheme 1.4, a normal distribution of 0.02 on 64 inputs 0.16."""

MOST_INITIAL_LOSS = 2.0
"""Times what an even answer costs, from which initial weights are too large."""

DRAWS = 4
"""Passes in training mode that show whether something is drawn at random in them."""

LEAST_SATURATING = 2
"""Layers of sigmoid or tanh in a row from which they may hold gradients back."""


def load_checkpoint(lab: Lab, trainee: Trainee) -> None:
    """What a checkpoint held and was left out, under the names that it was meant for."""
    if lab.case.initial_state is None:
        raise NotApplicable("The initial weights are not known.")
    for load in lab.case.loads:
        meant = fitting_names(load, lab.material) if load.tensors else {}
        if not meant:
            continue
        part = trainee.model.get_submodule(load.place)
        own = part.state_dict()
        with torch.no_grad():
            for name, other in meant.items():
                own[other].copy_(load.tensors[name])
        return
    raise NotApplicable("No checkpoint was left out that fits the network under other names.")


def standardise_inputs(lab: Lab, trainee: Trainee) -> None:
    """Zero mean and unit variance at the first layer, by the captured statistics."""
    layer = lab.material.first_layer
    assert layer.inputs is not None
    figures = channel_figures(layer.inputs, layer.module)
    if max(figures.rms, 0.0) < 3 and min(figures.sd) > 0.3:
        raise NotApplicable("Inputs are about standardised already.")
    shape = [1] * layer.inputs.ndim
    if len(figures.mean) > 1 or layer.inputs.ndim >= 4:
        shape[1] = len(figures.mean)
    mean = torch.tensor(figures.mean).view(shape).to(layer.inputs)
    sd = torch.tensor(figures.sd).clamp(min=1e-6).view(shape).to(layer.inputs)
    module = trainee.model.get_submodule(layer.name)

    def change(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        done, changed = False, []
        for one in args:
            wanted = isinstance(one, Tensor) and one.is_floating_point() and not done
            changed.append((one - mean.to(one)) / sd.to(one) if wanted else one)
            done = done or wanted
        return tuple(changed)

    module.register_forward_pre_hook(change)


def finite_inputs(lab: Lab, trainee: Trainee) -> None:
    """0 in the place of what is NaN or infinite at the first layer."""
    layer = lab.material.first_layer
    batches = [tensors_in((one.args, dict(one.keywords))) for one in lab.parts.training]
    images = [t for found in batches for t in found if t.is_floating_point() and t.ndim >= 2]
    if all(bool(torch.isfinite(one).all()) for one in images):
        raise NotApplicable("All inputs are finite.")

    def change(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            one.nan_to_num(0.0, 0.0, 0.0)
            if isinstance(one, Tensor) and one.is_floating_point()
            else one
            for one in args
        )

    trainee.model.get_submodule(layer.name).register_forward_pre_hook(change)


def input_cause(lab: Lab) -> CauseId:
    """Hardly any variance is left where inputs were scaled twice."""
    layer = lab.material.first_layer
    assert layer.inputs is not None
    flat = max(channel_figures(layer.inputs, layer.module).sd) < 10 * FLAT_SD
    return "inputs-double-scaled" if flat else "inputs-not-scaled"


def standard_initialisation(lab: Lab, trainee: Trainee) -> None:
    """He's scheme for layers with a weight matrix, torch's own for the rest."""
    _need_weak_signal(lab)
    with seeded(lab.seed), torch.no_grad():
        for module in trainee.model.modules():
            for name in ("reset_parameters", "_reset_parameters"):  # attention has the latter
                reset = getattr(module, name, None)
                if callable(reset):
                    reset()
            if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        head = lab.material.head.name
        last = trainee.model.get_submodule(head)
        if isinstance(getattr(last, "weight", None), Tensor):
            last.weight.mul_(0.1)  # type: ignore[operator]


def _need_weak_signal(lab: Lab) -> None:
    """Raise NotApplicable where the initial weights are of the usual size and let images through to
    the last layer: another scheme, or BatchNorm, makes such a network faster too, and that it does
    says nothing about its weights."""
    if "poor-initialisation" in lab.accused or lab.case.initial_state is None:
        return
    start = lab.material.start
    head, loss = start.last_matrix, start.loss
    variation = None if head is None else head.input_variation
    smallest, largest = USUAL_SIZE
    usual = all(smallest <= one <= largest for one in _sizes(lab))
    even = math.log(max(2, lab.case.n_classes or 2))
    if loss is not None and float(loss) > MOST_INITIAL_LOSS * even:
        return
    if variation is not None and variation >= CLEAR_SIGNAL and usual:
        raise NotApplicable(
            "At the initial weights, of usual size, images differ at the last layer by "
            f"{variation:.2f} of their size: the signal comes through."
        )


def _sizes(lab: Lab) -> Iterator[float]:
    """Standard deviation of each initial weight matrix, times the root of its inputs."""
    state = lab.case.initial_state or {}
    for name, one in plain_names(state).items():
        if name.endswith("weight") and one.ndim > 1 and one.is_floating_point() and len(one) > 1:
            yield float(one.float().std()) * one[0].numel() ** 0.5


def rectified(lab: Lab, trainee: Trainee) -> None:
    """ReLU in place of sigmoid, tanh and shrinking layers before the last layer, He's weights."""
    saturating = _before_head(lab, (nn.Sigmoid, nn.Tanh, nn.Hardsigmoid, nn.Hardtanh))
    found = _before_head(lab, SHRINKING)
    if len(saturating) >= LEAST_SATURATING:
        found += saturating
    if not found:
        raise NotApplicable(
            f"Fewer than {LEAST_SATURATING} layers of sigmoid or tanh stand before the last layer."
        )
    for name in found:
        parent, _, child = name.rpartition(".")
        trainee.model.get_submodule(parent)._modules[child] = nn.ReLU()
    standard_initialisation(lab, trainee)


def rectified_cause(lab: Lab) -> CauseId:
    """What shrinks its inputs to 0 leaves no unit alive; sigmoids only hold gradients back."""
    return "dead-units" if _before_head(lab, SHRINKING) else "poor-initialisation"


def _before_head(lab: Lab, kinds: tuple[type[nn.Module], ...]) -> list[str]:
    """Layers of these kinds that are registered before the last layer."""
    names = list(dict(lab.material.model.named_modules()))
    before = names[: names.index(lab.material.head.name)]
    return [name for name in before if isinstance(lab.material.model.get_submodule(name), kinds)]


def head_anew(lab: Lab, trainee: Trainee) -> None:
    """The last layer with small fresh weights, the rest as it began."""
    last = trainee.model.get_submodule(lab.material.head.name)
    weight, bias = getattr(last, "weight", None), getattr(last, "bias", None)
    if not isinstance(weight, Tensor) or weight.ndim < 2:
        raise NotApplicable("The last layer has no weight matrix.")
    with seeded(lab.seed), torch.no_grad():
        nn.init.normal_(weight, std=0.1 * weight[0].numel() ** -0.5)
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)


def frozen_statistics(_: Lab, trainee: Trainee) -> None:
    """BatchNorm trains with the running statistics that a pretrained network brought along."""
    norms = {
        name: one
        for name, one in trainee.model.named_modules()
        if isinstance(one, _BatchNorm) and one.running_mean is not None
    }
    if not norms:
        raise NotApplicable("The network has no BatchNorm with running statistics.")
    if not any(torch.as_tensor(one.running_mean).any() for one in norms.values()):
        raise NotApplicable("BatchNorm's statistics were fresh: none were learned before.")
    trainee.in_evaluation_mode = tuple(norms)


def add_batchnorm(lab: Lab, trainee: Trainee) -> None:
    """BatchNorm behind every convolution."""
    _need_weak_signal(lab)
    kinds = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
    if any(isinstance(one, kinds) for one in trainee.model.modules()):
        raise NotApplicable("The network has normalisation layers.")
    found = [
        (parent, name, child)
        for parent in trainee.model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Conv2d)
    ]
    if not found:
        raise NotApplicable("The network has no convolutions.")
    added = list[nn.Parameter]()
    for parent, name, child in found:
        norm = nn.BatchNorm2d(child.out_channels).to(child.weight.device)
        parent._modules[name] = nn.Sequential(child, norm)
        added += norm.parameters()
    attach(trainee, added)


def batch_first(lab: Lab, trainee: Trainee) -> None:
    """Attention and recurrent layers that get the batch first take it first."""
    found = given_batch_first(trainee.model, lab.material.batch)
    if not found:
        raise NotApplicable("No layer runs along the batch.")
    for name in found:
        trainee.model.get_submodule(name).batch_first = True  # type: ignore[assignment]


def no_dropout(lab: Lab, trainee: Trainee) -> None:
    """Dropout of probability 0, in layers, in attention and where forward calls it."""
    if not lab.material.training.dropout:
        raise NotApplicable("The network drops nothing out.")
    trainee.drops = False


def in_evaluation_mode(lab: Lab, trainee: Trainee) -> None:
    """Nothing drawn at random within the network, whatever draws it."""
    model = trainee.model
    if any(isinstance(one, _BatchNorm) for one in model.modules()):
        raise NotApplicable("BatchNorm needs training mode.")
    if lab.material.training.dropout:
        raise NotApplicable("What the network drops out is known; see dropout-off.")
    batch = lab.material.small_batch
    answers = []
    model.train()
    for seed in range(DRAWS):
        with seeded(seed), torch.no_grad():
            answers.append(scores_in(trainee.outputs(batch), n_rows=None))
    first = answers[0]
    if first is None or all(one is not None and torch.equal(first, one) for one in answers):
        raise NotApplicable("The network draws nothing at random.")
    trainee.in_evaluation_mode = ("",)


def full_precision(_: Lab, trainee: Trainee) -> None:
    """float32 weights and inputs, and nothing rounded after a step."""
    narrow = (torch.float16, torch.bfloat16)
    if trainee.rounding is not None:
        trainee.rounding = None
        return
    if not any(one.dtype in narrow for one in trainee.model.parameters()):
        raise NotApplicable("Weights are in full precision.")
    trainee.model.float()

    def widen(batch: CapturedBatch) -> CapturedBatch:
        def wide(value: Any) -> Any:
            return value.float() if isinstance(value, Tensor) and value.dtype in narrow else value

        args, keywords = pytree.tree_map(wide, (batch.args, dict(batch.keywords)))
        return replace(batch, args=args, keywords=keywords)

    trainee.alter_batch.append(widen)
