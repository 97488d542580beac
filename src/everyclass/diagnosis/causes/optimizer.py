"""Whether steps are taken, afresh each time, and on the right parameters.

Causes: parameters-not-optimised, parameters-frozen, gradients-not-cleared, step-not-taken, and
graph-detached where steps were seen to be taken without a gradient through the network's answer,
precision-loss where weights are rounded after each step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, names, passed
from everyclass.diagnosis.case import Case
from everyclass.diagnosis.material import Material, held_by, rates_of
from everyclass.diagnosis.nested import plain_names

FORWARDS_WITHOUT_STEP = 100
"""Training batches without a step; accumulation over so many is not in use for images."""

RARE_STEPS = 40
LEAST_EPOCH, EPOCH_SHARE = 8, 0.9
"""Batches of an epoch from which a step that comes about once in it is called rare."""

"""Batches a step, beyond which steps are called rare when nothing is learned."""

STEPS_BEFORE_COMPARING = 3


def optimizer_coverage(material: Material) -> Answer:
    """Trainable parameters that no optimizer holds."""
    held = material.optimised()
    trainable = {n: p for n, p in material.model.named_parameters() if p.requires_grad}
    if not trainable:
        raise NotApplicable("No parameter asks for a gradient; see trainable-parameters.")
    missing = [name for name, p in trainable.items() if id(p) not in held]
    own = {id(p) for p in material.model.parameters()}
    foreign = sum(id(p) not in own for o in material.case.optimizers for p in held_by(o))
    evidence: dict[str, Any] = {
        "trainable": len(trainable),
        "optimised": len(trainable) - len(missing),
        "missing": missing[:50],
        "foreign": foreign,
    }
    remedy = (
        "Build the optimizer after the model is complete, from the parameters of this very model: "
        "optimizer = ...(model.parameters(), ...) after any replaced layer and any second "
        "instance."
    )
    if len(missing) == len(trainable):
        held_what = f"{foreign} tensors of another model" if foreign else "nothing that trains"
        return accuse(
            "parameters-not-optimised",
            f"None of the model's {len(trainable)} trainable parameters is in an optimizer; it "
            f"holds {held_what}.",
            remedy=remedy,
            evidence=evidence,
        )
    left = _left_behind(material, held)
    if left:
        of = f"; the optimizer also holds {foreign} tensors of another model" if foreign else ""
        return accuse(
            "parameters-not-optimised",
            f"In no optimizer: {names(left)}, though layers before them are trained{of}.",
            remedy=remedy,
            evidence=evidence,
        )
    unheld = _made_in_passing(material.case)
    if unheld and not material.learned:
        return accuse(
            "parameters-not-optimised",
            f"The network's answer hangs on weights that are no parameters of it ({unheld}): they "
            "are in no optimizer and in no state_dict, as layers are that forward makes.",
            remedy="Make layers in __init__, as attributes of the module, and build the optimizer "
            "after that.",
            evidence=evidence | {"unheld": unheld},
        )
    hidden = _unregistered(material.model)
    if hidden and not material.learned:
        return accuse(
            "parameters-not-optimised",
            f"{names(hidden)} hold{'s' if len(hidden) == 1 else ''} layers in a plain list or "
            "dict: parameters() does not know them, so they are in no optimizer and in no "
            "state_dict.",
            remedy="Use nn.ModuleList or nn.ModuleDict for layers that a network holds.",
            evidence=evidence | {"unregistered": hidden},
        )
    held_names = [name for name in trainable if name not in missing]
    vectors = bool(missing) and all(trainable[name].ndim < 2 for name in held_names)
    if vectors and not material.learned:
        return accuse(
            "parameters-not-optimised",
            f"The optimizer holds {len(held_names)} of the model's {len(trainable)} trainable "
            f"parameters and no weight matrix among them: {names(held_names)}.",
            remedy=remedy,
            evidence=evidence,
        )
    if missing:
        return passed(
            f"{len(missing)} of {len(trainable)} trainable parameters are in no optimizer "
            f"({names(missing)}); the layers from some layer to the last are, as in fine-tuning.",
            evidence,
        )
    return passed(f"All {len(trainable)} trainable parameters are in an optimizer.", evidence)


def _made_in_passing(case: Case) -> str:
    """Shapes of weight matrices that the answer hangs on beside the network's own; "" without."""
    leaves = case.answer_leaves
    if leaves is None or not leaves.own:
        return ""
    return ", ".join("x".join(map(str, one)) for one in leaves.foreign[:4] if len(one) > 1)


def _unregistered(model: nn.Module) -> list[str]:
    """Attributes that hold networks with parameters which the model does not know as its own."""
    own = {id(parameter) for parameter in model.parameters()}
    found = []
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute.startswith("_") or not isinstance(value, (list, tuple, dict)):
                continue
            held = value.values() if isinstance(value, dict) else value
            parameters = (p for one in held if isinstance(one, nn.Module) for p in one.parameters())
            if any(id(p) not in own and p.requires_grad for p in parameters):
                found.append(f"{name}.{attribute}".lstrip("."))
    return found


def _left_behind(material: Material, held: set[int]) -> list[str]:
    """Weight matrices in no optimizer that run after one which is trained.

    To train the last layers only is a way of fine-tuning; to train earlier ones and leave later
    ones at random is not. Scales and biases alone are no fault.
    """
    found, trained_before = [], False
    for layer in material.training.layers:
        weights = [
            (name, p)
            for name, p in layer.module.named_parameters(prefix=layer.name)
            if p.requires_grad and p.ndim >= 2
        ]
        in_use = [
            (name, p) for name, p in weights if material.training.gradients.get(name) is not None
        ]
        absent = [name for name, p in in_use if id(p) not in held]
        if trained_before:
            found += absent
        trained_before |= any(id(p) in held for _, p in weights)
    return found


def trainable_parameters(material: Material) -> Answer:
    """Frozen where learning is needed."""
    parameters = dict(material.model.named_parameters())
    frozen = [name for name, p in parameters.items() if not p.requires_grad]
    evidence: dict[str, Any] = {"parameters": len(parameters), "frozen": len(frozen)}
    remedy = "Set requires_grad to True for the last layer after freezing the others."
    if len(frozen) == len(parameters):
        return accuse(
            "parameters-frozen",
            f"All {len(parameters)} parameters are frozen: nothing can be learned.",
            remedy=remedy,
            evidence=evidence,
        )
    head = material.head
    weights = [p for p in head.module.parameters() if p.ndim >= 2]
    evidence["head"] = head.name
    if weights and not any(p.requires_grad for p in weights):
        return accuse(
            "parameters-frozen",
            f"The last layer '{head.name}' is frozen, as are {len(frozen)} of {len(parameters)} "
            "parameters.",
            remedy=remedy,
            evidence=evidence,
        )
    if frozen:
        return passed(
            f"{len(frozen)} of {len(parameters)} parameters are frozen; the last layer "
            f"('{head.name}') is trained.",
            evidence,
        )
    return passed("No parameter is frozen.", evidence)


def gradients_cleared(material: Material) -> Answer:
    """Gradients of one step that still hold those of the last."""
    cleared = material.case.gradients_cleared
    if cleared is None:
        raise NotApplicable(
            "Nobody saw two steps: whether gradients are cleared between them shows only then."
        )
    norms = material.case.gradient_norms
    evidence: dict[str, Any] = {"gradient_norms": [list(one) for one in norms]}
    if cleared:
        return passed("Each step begins with gradients of its own.", evidence)
    growth = ""
    if len(norms) >= 2:
        growth = (
            f" (norm {figure(norms[0][1])} at step {norms[0][0]}, {figure(norms[-1][1])} at step "
            f"{norms[-1][0]})"
        )
    return accuse(
        "gradients-not-cleared",
        f"Gradients add up from step to step{growth}.",
        remedy="Call optimizer.zero_grad() once per step, before backward().",
        evidence=evidence,
    )


def answers_reached(material: Material) -> Answer:
    """Gradients come by way of the network's answer, not only from elsewhere in the loss."""
    case = material.case
    if case.answers_reached is None:
        raise NotApplicable("Nobody saw the network's answers before a step.")
    norms = [norm for _, norm in case.gradient_norms]
    evidence: dict[str, Any] = {"reached": case.answers_reached, "gradient_norms": norms}
    if case.answers_reached or not any(norms) or material.learned:
        return passed("Backward passes come through the network's answer.", evidence)
    return accuse(
        "graph-detached",
        "In the first steps no backward pass came through the network's answer, though parameters "
        f"got a gradient (norm {figure(norms[0])} at first): it comes from something else in the "
        "loss, as from a penalty on the weights.",
        remedy="Keep tensors in the graph from the model to the loss: no detach(), .data, .item(), "
        "argmax, numpy or torch.tensor(...) on the way.",
        evidence=evidence,
    )


def step_taken(material: Material) -> Answer:
    """The optimizer steps at all, and the weights move."""
    case = material.case
    steps = case.steps if case.steps is not None else max((b.step for b in case.batches), default=0)
    forwards = case.forwards if case.forwards is not None else len(case.label_counts or ())
    evidence: dict[str, Any] = {"forwards": forwards, "steps": steps}
    remedy = (
        "Call optimizer.step() after backward(): look for a condition that never holds, and for "
        "scaler.step() without scaler.update()."
    )
    if steps == 0 and forwards >= FORWARDS_WITHOUT_STEP:
        return accuse(
            "step-not-taken",
            f"{forwards:,} training batches went by without one optimizer step.",
            remedy=remedy,
            evidence=evidence,
        )
    epoch = case.epoch_batches or 0
    rare = RARE_STEPS if epoch < LEAST_EPOCH else min(RARE_STEPS, EPOCH_SHARE * epoch)
    if steps and forwards >= rare * steps and not material.learned:
        return accuse(
            "step-not-taken",
            f"One optimizer step in {forwards / steps:.0f} training batches ({steps:,} in "
            f"{forwards:,}).",
            remedy="Indent optimizer.step() into the loop over batches; accumulate gradients over "
            "fewer of them.",
            evidence=evidence,
        )
    if case.initial_state is None or steps < STEPS_BEFORE_COMPARING:
        raise NotApplicable("Too few steps were seen to tell whether the weights move.")
    held = material.optimised()
    named = material.model.named_parameters()
    watched = {name: p for name, p in named if id(p) in held and p.requires_grad}
    state = plain_names(case.initial_state)
    moved = [
        name
        for name, p in watched.items()
        if name in state and not torch.equal(state[name].cpu(), p.detach().cpu())
    ]
    evidence |= {"optimised": len(watched), "moved": len(moved)}
    if not moved and case.gradient_norms and not any(norm for _, norm in case.gradient_norms):
        raise NotApplicable("Every gradient was 0, so no step could move a weight.")
    rates = [*rates_of(case.optimizers), *(rate for _, rate in case.rates)]
    if watched and not moved and max(rates, default=0) > 0:
        if case.steps is not None and case.gradients_cleared is None and not case.gradient_norms:
            return _no_gradient_came(case, steps, len(watched), evidence)
        return accuse(
            "step-not-taken",
            f"After {steps:,} steps every one of {len(watched)} optimised parameters is, bit for "
            "bit, what it was at the start.",
            remedy=remedy,
            evidence=evidence,
        )
    return passed(f"{len(moved)} of {len(watched)} parameters moved in {steps:,} steps.", evidence)


def _no_gradient_came(case: Case, steps: int, watched: int, evidence: dict[str, Any]) -> Answer:
    """Why so many steps found no gradient at any of the optimizer's parameters."""
    leaves = case.answer_leaves
    if leaves is not None and not leaves.own and leaves.foreign:
        return accuse(
            "graph-detached",
            f"The network's answer hangs on {len(leaves.foreign)} tensors that are none of "
            f"its parameters, as copies of them are: in {steps:,} steps no parameter in "
            "the optimizer had a gradient.",
            remedy="Call the network with its own parameters: no detach(), .data or clone "
            "of them, as in functional_call or in an optimizer built before.",
            evidence=evidence | {"foreign": [list(one) for one in leaves.foreign[:20]]},
        )
    if case.answers_reached:
        return accuse(
            "parameters-frozen",
            f"Backward passes came through the network's answer, yet at each of {steps:,} "
            "steps no parameter in the optimizer had a gradient, and every one of "
            f"{watched} is what it was at the start: gradients are taken away before "
            "the step.",
            remedy="Look between backward() and step() for what sets .grad to None (by "
            "name, or a zero_grad() too late).",
            evidence=evidence,
        )
    return accuse(
        "graph-detached",
        f"{steps:,} steps were taken, and not one gradient reached the optimizer: every "
        f"one of {watched} optimised parameters is what it was at the start.",
        remedy="Keep tensors in the graph from the model to the loss: no detach(), .data, "
        ".item(), argmax, numpy or torch.tensor(...) on the way.",
        evidence=evidence,
    )


CHECKS = (
    Check(name="optimizer-coverage", run=optimizer_coverage, needs_finite=False),
    Check(name="trainable-parameters", run=trainable_parameters, needs_finite=False),
    Check(name="gradients-cleared", run=gradients_cleared, needs_finite=False),
    Check(name="answers-reached", run=answers_reached, needs_finite=False),
    Check(name="step-taken", run=step_taken, needs_finite=False),
)
