"""How far one step goes: a few that are nearly as large as the weights leave nothing of them.

Cause: learning-rate-too-high. Judged at the weights that training began with: where it has gone
astray they have grown, and no step is large beside them any more. Smaller rates that are too high
all the same are no matter of form: trials at other rates show them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.material import Material, loaded

MOST_STEP, MOST_STEP_BY_GRADIENT = 0.3, 1.0
"""Of the size of all weights together, that a step may have: where it is of about the rate, and
where it goes by the gradient, which is largest in the first steps. Usual settings are below: on
small CNNs, VGG, ResNets and a ViT Adam at 1e-3 takes 0.01 to 0.06, SGD at 0.1 with momentum 0.9
0.05 to 0.08; SGD at 0.05 on a network of 2,000 weights 0.15, and 0.37 with class weights."""

MOST_MOMENTUM = 0.99

OF_ABOUT_THE_RATE = (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)
"""A step of a weight is about the rate, whatever the gradient is (Kingma and Ba 2015, section
2.1)."""


def step_size(material: Material) -> Answer:
    """A step that is larger than what it changes, in a training that has learned nothing."""
    if not material.case.optimizers:
        raise NotApplicable("No optimizer is known.")
    share, rate, kind = _at_start(material)
    evidence = {"step_over_weights": share, "rate": rate, "optimizer": kind}
    if share < _most(material) or material.learned is not False:
        return passed(
            f"At the first weights a step goes {figure(100 * share)} % of their size.", evidence
        )
    size = f"{figure(share)} times" if share >= 1.5 else f"{figure(100 * share)} %"
    return accuse(
        "learning-rate-too-high",
        f"At rate {figure(rate)} a step of {kind} is {size} as large as the first weights: "
        f"{'nothing' if share >= 1 else 'after a few steps nothing'} of them is left.",
        remedy="Lower the learning rate: 1e-3 is usual for Adam, 0.01 to 0.1 for SGD with a loss "
        "that is a mean over the batch.",
        evidence=evidence,
    )


def too_large(material: Material, factor: float) -> bool:
    """Whether steps at the rate times the factor are known to be too large all the same."""
    try:
        return factor * _at_start(material)[0] >= _most(material)
    except NotApplicable:
        return False


def _most(material: Material) -> float:
    by_rate = isinstance(material.case.optimizers[0], OF_ABOUT_THE_RATE)
    return MOST_STEP if by_rate else MOST_STEP_BY_GRADIENT


def _at_start(material: Material) -> tuple[float, float, str]:
    state = material.case.initial_state
    if material.initial or state is None:
        return _share(material, material.training.gradients)
    start = material.start
    with loaded(material.model, state):
        return _share(material, start.gradients)


def _share(material: Material, gradients: Mapping[str, Tensor | None]) -> tuple[float, float, str]:
    """(norm of a step over that of the weights, largest rate, optimizer), over all matrices."""
    by_id = {id(one): gradients.get(name) for name, one in material.model.named_parameters()}
    # The captured course of the rate is one; of several optimizers it tells nothing of each.
    single = len(material.case.optimizers) == 1
    peak = max((rate for _, rate in material.case.rates), default=0.0) if single else 0.0
    steps: list[float] = []
    weights: list[float] = []
    rates: list[float] = []
    for optimizer in material.case.optimizers:
        highest = max((float(group["lr"]) for group in optimizer.param_groups), default=0.0)
        raised = max(1.0, peak / highest) if highest else 1.0
        for group in optimizer.param_groups:
            rates.append(float(group["lr"]) * raised)
            for parameter in group["params"]:
                gradient = by_id.get(id(parameter))
                if gradient is not None and parameter.ndim > 1 and not gradient.is_sparse:
                    steps.append(_step(optimizer, group, gradient, rates[-1]))
                    weights.append(float(parameter.detach().float().norm()))
    size = math.hypot(*weights)
    if not size or not math.isfinite(size):
        raise NotApplicable("No weights that a step could be compared with get a gradient.")
    share = math.hypot(*steps) / size
    if not math.isfinite(share):
        raise NotApplicable("Gradients at the first weights are not finite.")
    return share, max(rates), type(material.case.optimizers[0]).__name__


def _step(
    optimizer: Optimizer, group: Mapping[str, object], gradient: Tensor, rate: float
) -> float:
    """Norm of the step of one tensor, with what momentum adds up to."""
    if isinstance(optimizer, OF_ABOUT_THE_RATE):
        return rate * math.sqrt(int((gradient != 0).sum()))
    if not isinstance(optimizer, torch.optim.SGD):
        raise NotApplicable(f"How far a step of {type(optimizer).__name__} goes is not known.")
    momentum = min(float(group.get("momentum") or 0.0), MOST_MOMENTUM)  # type: ignore[arg-type]
    return rate * float(gradient.float().norm()) / (1 - momentum)


CHECKS = (Check(name="step-size", run=step_size, needs_finite=False),)
