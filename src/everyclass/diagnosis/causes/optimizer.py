"""Whether steps are taken, on the right parameters, and of a size that counts.

Causes: parameters-not-optimised, parameters-frozen, gradients-not-cleared, step-not-taken,
learning-rate-too-low, weight-decay-too-strong. Whether a rate that does move the weights is too
low or too high is no matter of form: trials at other rates show that.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, names, passed
from everyclass.diagnosis.material import Material, held_by, plain_names

FORWARDS_WITHOUT_STEP = 100
"""Training batches without a step; accumulation over so many is not in use for images."""

STEPS_BEFORE_COMPARING = 3

LOWERED = 1e-3
"""Share of the largest rate below which a rate is called spent; cosine and one-cycle schedules
spend a few per cent of their steps there."""

UNMOVED_SHARE = 0.01
SAMPLED = 65_536
"""Weights of each tensor that are looked at one by one."""

DECAY_STEPS = 500
"""Steps in which decay alone would take a weight to 1/e; usual settings have 10,000 and more."""

DECAY_OVER_ADAM = 3.0
COUPLED_OVER_GRADIENT = 3.0

# Optimizers that apply decay beside the gradient, and those that divide by the gradient's size.
DECOUPLED = ("AdamW", "SGDW", "NAdamW", "RAdamW", "Lion", "Lamb")
ADAPTIVE = ("Adam", "Adamax", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta")


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
    if missing:
        return passed(
            f"{len(missing)} of {len(trainable)} trainable parameters are in no optimizer "
            f"({names(missing)}); the layers from some layer to the last are, as in fine-tuning.",
            evidence,
        )
    return passed(f"All {len(trainable)} trainable parameters are in an optimizer.", evidence)


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
    if case.initial_state is None or steps < STEPS_BEFORE_COMPARING:
        raise NotApplicable("Too few steps were seen to tell whether the weights move.")
    held = material.optimised()
    watched = {n: p for n, p in material.model.named_parameters() if id(p) in held}
    state = plain_names(case.initial_state)
    moved = [
        name
        for name, p in watched.items()
        if name in state and not torch.equal(state[name].cpu(), p.detach().cpu())
    ]
    evidence |= {"optimised": len(watched), "moved": len(moved)}
    if watched and not moved and max(_rates(case.optimizers), default=0) > 0:
        return accuse(
            "step-not-taken",
            f"After {steps:,} steps every one of {len(watched)} optimised parameters is, bit for "
            "bit, what it was at the start.",
            remedy=remedy,
            evidence=evidence,
        )
    return passed(f"{len(moved)} of {len(watched)} parameters moved in {steps:,} steps.", evidence)


def learning_rate(material: Material) -> Answer:
    """A rate of nothing: never set, driven down by a scheduler, or lost in rounding."""
    optimizers = material.case.optimizers
    if not optimizers:
        raise NotApplicable("No optimizer is known.")
    rates = _rates(optimizers)
    history = material.case.rates
    evidence: dict[str, Any] = {"rates": rates, "history": [list(one) for one in history[-20:]]}
    spent = _spent(material)
    if spent and not material.learned:
        peak, at, now, since = spent
        return accuse(
            "learning-rate-too-low",
            f"The learning rate fell from {figure(peak)} (step {at:,}) to below a thousandth of "
            f"that by step {since:,}, and is {figure(now)} since.",
            remedy="A scheduler meant for epochs is stepped once per batch: step it after each "
            "epoch, or give it its lengths in batches.",
            evidence=evidence,
        )
    scheduled = any("initial_lr" in g for o in optimizers for g in o.param_groups)
    if max(rates) == 0 and not scheduled and not history:
        return accuse(
            "learning-rate-too-low",
            "The learning rate is 0 in every group, and no scheduler is there to raise it.",
            remedy="Pass the learning rate to the optimizer.",
            evidence=evidence,
        )
    if max(rates) > 0:
        share = _movable_share(material)
        evidence["share_of_weights_a_step_can_change"] = share
        if share is not None and share < UNMOVED_SHARE:
            return accuse(
                "learning-rate-too-low",
                f"At rate {figure(max(rates))} a step is lost in rounding for "
                f"{figure(100 - 100 * share)} % of the weights: they cannot change.",
                remedy="Raise the learning rate.",
                evidence=evidence,
            )
    low, high = min(rates), max(rates)
    shown = figure(high) if low == high else f"{figure(low)} to {figure(high)}"
    return passed(f"The learning rate is {shown}.", evidence)


def weight_decay(material: Material) -> Answer:
    """Decay that outweighs the gradient."""
    worst: tuple[float, dict[str, Any]] | None = None
    seen = material.training
    by_id = {id(p): seen.gradients.get(n) for n, p in material.model.named_parameters()}
    for optimizer in material.case.optimizers:
        for group in optimizer.param_groups:
            facts = _decay_facts(optimizer, group, by_id)
            if facts and (worst is None or facts[0] > worst[0]):
                worst = facts
    if worst is None:
        raise NotApplicable("No optimizer decays weights that get a gradient.")
    excess, evidence = worst
    if excess > 1 and not material.learned:
        return accuse(
            "weight-decay-too-strong",
            f"Weight decay {figure(evidence['weight_decay'])} pulls "
            f"{figure(evidence['decay_over_gradient'])} times as hard as the gradient "
            f"({evidence['optimizer']}, rate {figure(evidence['lr'])}): weights shrink to nothing "
            "before they learn.",
            remedy="Usual values are 1e-4 to 5e-4 for SGD and 0.01 to 0.1 for AdamW.",
            evidence=evidence,
        )
    return passed(
        f"Weight decay {figure(evidence['weight_decay'])} pulls "
        f"{figure(evidence['decay_over_gradient'])} times as hard as the gradient.",
        evidence,
    )


def _decay_facts(
    optimizer: Optimizer, group: dict[str, Any], gradients: dict[int, Tensor | None]
) -> tuple[float, dict[str, Any]] | None:
    """How far beyond the limit decay is (above 1: too strong), with the numbers.

    - SGD adds decay to the gradient: too strong when it is the larger of the two and would alone
      take the weights to 1/e within `DECAY_STEPS` steps.
    - Adam and its kin divide the sum by its own size, so that the ratio alone counts.
    - AdamW's decay stands beside a step of about 1 per weight, whatever the gradient is.
    """
    decay, lr = float(group.get("weight_decay") or 0), float(group["lr"])
    pairs = [(p, g) for p in group["params"] if (g := gradients.get(id(p))) is not None]
    if not decay or not lr or not pairs:
        return None
    weight = _norm([p.detach() for p, _ in pairs])
    gradient = _norm([g for _, g in pairs])
    kind = type(optimizer).__name__
    beside = kind in DECOUPLED or bool(group.get("decoupled_weight_decay"))
    ratio = decay * weight / max(gradient, 1e-30)
    if beside:
        elements = sum(p.numel() for p, _ in pairs)
        ratio = decay * weight / elements**0.5
        excess = max(ratio / DECAY_OVER_ADAM, lr * decay / 0.1)
    elif kind in ADAPTIVE:
        excess = ratio / COUPLED_OVER_GRADIENT
    else:
        momentum = min(float(group.get("momentum") or 0), 0.99)
        excess = min(ratio, lr / (1 - momentum) * decay * DECAY_STEPS)
    return excess, {
        "optimizer": kind,
        "weight_decay": decay,
        "lr": lr,
        "weight_norm": weight,
        "gradient_norm": gradient,
        "decay_over_gradient": ratio,
    }


def _spent(material: Material) -> tuple[float, int, float, int] | None:
    """(largest rate, its step, rate now, step since when) of a rate that fell to nothing early:
    it has been spent for longer than it took to get there.
    """
    history = material.case.rates
    if len(history) < 2:
        return None
    at, peak = max(history, key=lambda one: one[1])
    last = material.case.steps or max((b.step for b in material.case.batches), default=0)
    last = max(last, history[-1][0])
    low = [step for step, rate in history if step > at and rate < LOWERED * peak]
    after = [rate for step, rate in history if low and step >= low[0]]
    if not low or any(rate >= LOWERED * peak for rate in after):
        return None
    return (peak, at, history[-1][1], low[0]) if last - low[0] >= low[0] - at else None


def _movable_share(material: Material) -> float | None:
    """Share of optimised weights with a gradient that one step of the current rate changes.

    Exact for plain SGD (w - lr g == w in the weight's own precision). For optimizers that divide by
    the gradient's size a step is about lr for every weight.
    """
    moved = total = 0
    by_id = {id(p): n for n, p in material.model.named_parameters()}
    for optimizer in material.case.optimizers:
        adaptive = isinstance(optimizer, _ADAPTIVE_CLASSES)
        if not adaptive and not isinstance(optimizer, torch.optim.SGD):
            return None
        for group in optimizer.param_groups:
            momentum = min(float(group.get("momentum") or 0), 0.99)
            lr = float(group["lr"]) / (1 - momentum)
            for parameter in group["params"]:
                gradient = material.training.gradients.get(by_id.get(id(parameter), ""))
                if gradient is None or parameter.ndim < 2:
                    continue
                weight = parameter.detach().flatten()[:SAMPLED]
                gradient = gradient.flatten()[:SAMPLED]
                step = lr * (gradient.sign() if adaptive else gradient)
                counted = gradient != 0
                moved += int(((weight - step != weight) & counted).sum())
                total += int(counted.sum())
    return moved / total if total else None


_ADAPTIVE_CLASSES = (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)


def _rates(optimizers: tuple[Optimizer, ...]) -> list[float]:
    return [float(group["lr"]) for one in optimizers for group in one.param_groups]


def _norm(tensors: list[Tensor]) -> float:
    return math.hypot(*(float(t.float().norm()) for t in tensors))


CHECKS = (
    Check(name="optimizer-coverage", run=optimizer_coverage, needs_finite=False),
    Check(name="trainable-parameters", run=trainable_parameters, needs_finite=False),
    Check(name="gradients-cleared", run=gradients_cleared, needs_finite=False),
    Check(name="step-taken", run=step_taken, needs_finite=False),
    Check(name="learning-rate", run=learning_rate),
    Check(name="weight-decay", run=weight_decay),
)
