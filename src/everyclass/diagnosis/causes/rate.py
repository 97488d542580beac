"""The size of a step: a rate of nothing, and decay that outweighs the gradient.

Causes: learning-rate-too-low, weight-decay-too-strong; learning-rate-too-high only where decay at
that rate takes the weights away, or where a schedule goes far beyond what was asked for, or rises
late. Whether any other rate is too low or
too high is no matter of form: trials at other rates show that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.case import Case
from everyclass.diagnosis.material import Material, fits, loaded, rates_of
from everyclass.diagnosis.nested import plain_names
from everyclass.diagnosis.trace import Pass

LOWERED = 1e-3
"""Share of the largest rate below which a rate is called spent; cosine and one-cycle schedules
spend a few per cent of their steps there."""

STEPS_OF_WARM_UP, WARM_UP_SHARE = 100, 0.01
"""Steps after which a warm-up that has not reached this share of its rate is called too long."""

LOST_RATE = 1e-6
"""At larger rates it is the gradient that is too small for the weights, not the rate."""

LEAST_RUN, EARLY_SHARE, LATE_RISE = 40, 0.25, 5.0
"""Steps of a run from which it has a first quarter; and how many times the largest rate of that
quarter a later one must be. A linear warm-up over the whole run rises fourfold after it, a
one-cycle schedule by a fifth."""

STEPS_TO_MOVE, MOVED_SHARE = 100, 0.01
"""Steps after which weights that can have moved by no more than this share of their usual size say
that the rate is too low; by as much less after fewer steps. Fine-tuning at 1e-5 moves them by
several times as much."""

FEWEST_STEPS = 20
"""With fewer nothing is said about how far they led."""

OVERSHOT, LARGE_RATE = 10.0, 0.15
"""Times the rate that the optimizer was made with, and the rate, from which a schedule is called
too high; a cyclic one may well rise tenfold to what is usual for SGD."""

UNMOVED_SHARE = 0.01
SAMPLED = 65_536
"""Weights of each tensor that are looked at one by one."""

DECAY_STEPS = 500
"""Steps in which decay alone would take a weight to 1/e; usual settings have 10,000 and more."""

MOST_LOST = 0.1
"""Share of every weight that decay beside the gradient may take away in one step."""

MOST_LOST_BY_HAND = 2e-3
"""The same where the script itself takes it away, after each step: half of it in 350."""

USUAL_DECAY = 0.3
"""Up to here it is the rate that is unusual."""

DECAY_OVER_ADAM = 3.0
COUPLED_OVER_GRADIENT = 3.0

# Optimizers that apply decay beside the gradient, and those that divide by the gradient's size.
DECOUPLED = ("AdamW", "SGDW", "NAdamW", "RAdamW", "Lion", "Lamb")
ADAPTIVE = ("Adam", "Adamax", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rates:
    """What is known of the rates of a training.

    Attributes:
        now: of each group.
        history: (step, rate) where it changed.
        asked: what groups were made with, where a scheduler tells.
        reached: the largest of all.
        steps: taken in all.
        evidence: numbers for any answer; what is measured on the way is added.
    """

    now: list[float]
    history: tuple[tuple[int, float], ...]
    asked: list[float]
    reached: float
    steps: int
    evidence: dict[str, Any]


def learning_rate(material: Material) -> Answer:
    """A rate of nothing (never set, driven down by a scheduler, lost in rounding), or one that a
    schedule takes far beyond what was asked for."""
    optimizers = material.case.optimizers
    if not optimizers:
        raise NotApplicable("No optimizer is known.")
    now, history = rates_of(optimizers), material.case.rates
    groups = [group for one in optimizers for group in one.param_groups]
    rates = _Rates(
        now=now,
        history=history,
        asked=[float(group["initial_lr"]) for group in groups if "initial_lr" in group],
        reached=max([*now, *(rate for _, rate in history)]),
        steps=material.case.steps or 0,
        evidence={"rates": now, "history": [list(one) for one in history[-20:]]},
    )
    always = (_nothing, _lost_in_rounding)
    tests = always if material.learned else (_of_schedule, *always, _too_short_steps, _risen_late)
    for test in tests:
        answer = test(material, rates)
        if answer is not None:
            return answer
    low, high = min(now), max(now)
    shown = figure(high) if low == high else f"{figure(low)} to {figure(high)}"
    return passed(f"The learning rate is {shown}.", rates.evidence)


def _of_schedule(material: Material, rates: _Rates) -> Answer | None:
    """What a scheduler makes of the rate: far too much, nothing any more, or nothing yet."""
    over = overshot(material.case)
    if over is not None:
        peak, step, meant = over
        return accuse(
            "learning-rate-too-high",
            f"The learning rate was {figure(peak)} at step {step:,}"
            + (f", {figure(peak / meant)} times" if math.isfinite(peak) else "; it was")
            + f" {figure(meant)} when the optimizer was made.",
            remedy="Look for what the schedule multiplies the rate with: a factor of 1 is the rate "
            "that the optimizer was given, and step numbers begin at 0.",
            evidence=rates.evidence | {"peak": peak, "step": step, "meant": meant},
        )
    fell = _fell(material, rates)
    if fell is not None:
        return fell
    asked = max(rates.asked, default=0.0)
    if rates.steps < STEPS_OF_WARM_UP or rates.reached >= WARM_UP_SHARE * asked:
        return None
    return accuse(
        "learning-rate-too-low",
        f"In {rates.steps:,} steps the learning rate got no further than {figure(rates.reached)}, "
        f"{figure(100 * rates.reached / asked)} % of the {figure(asked)} asked for.",
        remedy="The warm-up is longer than the run: give its length in the unit in which the "
        "scheduler is stepped.",
        evidence=rates.evidence | {"asked": asked, "reached": rates.reached, "steps": rates.steps},
    )


def _fell(material: Material, rates: _Rates) -> Answer | None:
    spent = _spent(material)
    if not spent:
        return None
    peak, at, now, since = spent
    return accuse(
        "learning-rate-too-low",
        f"The learning rate fell from {figure(peak)} (step {at:,}) to below a thousandth of that "
        f"by step {since:,}, and is {figure(now)} since.",
        remedy="A scheduler meant for epochs is stepped once per batch: step it after each epoch, "
        "or give it its lengths in batches.",
        evidence=rates.evidence,
    )


def _nothing(_: Material, rates: _Rates) -> Answer | None:
    if max(rates.now) or rates.asked or rates.history:
        return None
    return accuse(
        "learning-rate-too-low",
        "The learning rate is 0 in every group, and no scheduler is there to raise it.",
        remedy="Pass the learning rate to the optimizer.",
        evidence=rates.evidence,
    )


def _lost_in_rounding(material: Material, rates: _Rates) -> Answer | None:
    if not 0 < max(rates.now) < LOST_RATE:
        return None
    share = _movable_share(material)
    rates.evidence["share_of_weights_a_step_can_change"] = share
    if share is None or share >= UNMOVED_SHARE:
        return None
    fell = _fell(material, rates)
    if fell is not None:
        return fell
    return accuse(
        "learning-rate-too-low",
        f"At rate {figure(max(rates.now))} a step is lost in rounding for "
        f"{figure(100 - 100 * share)} % of the weights: they cannot change.",
        remedy="Raise the learning rate.",
        evidence=rates.evidence,
    )


def _too_short_steps(material: Material, rates: _Rates) -> Answer | None:
    """Steps whose size the optimizer sets, whatever the gradient, and that go nowhere."""
    if rates.steps < FEWEST_STEPS:
        return None
    least = MOVED_SHARE * min(1.0, rates.steps / STEPS_TO_MOVE)
    reach = most_moved(material)
    if reach is not None:
        rates.evidence["most_that_a_weight_moved"] = reach
        # After an explosion the weights are such that any step beside them is short.
        if reach < least and (_distance(material) or 0.0) < 10 * reach + MOVED_SHARE:
            return accuse(
                "learning-rate-too-low",
                f"In {rates.steps:,} steps at rates to {figure(rates.reached)} this optimizer can "
                f"have moved no weight by more than about {figure(100 * reach)} % of a usual "
                "weight's size.",
                remedy="Raise the learning rate: 1e-3 is usual for training from scratch, 1e-5 to "
                "1e-4 for fine-tuning.",
                evidence=rates.evidence | {"steps": rates.steps},
            )
    moved = _moved_share(material)
    if moved is None or rates.steps < STEPS_TO_MOVE:
        return None
    rates.evidence["moved"] = moved
    if moved >= MOVED_SHARE:
        return None
    return accuse(
        "learning-rate-too-low",
        f"After {rates.steps:,} steps of {type(material.case.optimizers[0]).__name__} at rates to "
        f"{figure(rates.reached)} the weights lie {figure(100 * moved)} % of their size from where "
        "they began.",
        remedy="Raise the learning rate: usual are 1.0 for Adadelta, 1e-2 for Adagrad, 1e-3 for "
        "RMSprop and Adam.",
        evidence=rates.evidence | {"steps": rates.steps},
    )


def _risen_late(material: Material, rates: _Rates) -> Answer | None:
    rise = late_rise(material.case)
    if rise is None:
        return None
    early, later, step = rise
    return accuse(
        "learning-rate-too-high",
        f"The learning rate rose to {figure(later)} at step {step:,}, {figure(later / early)} "
        f"times the largest of the first quarter of the run ({figure(early)}).",
        remedy="Look for what multiplies the rate: a decay factor above 1, or a restart at "
        "another rate.",
        evidence=rates.evidence | {"early": early, "later": later, "step": step},
    )


def weight_decay(material: Material) -> Answer:
    """Decay that outweighs the gradient."""
    factor = material.case.weights_times
    if factor < 1 - MOST_LOST_BY_HAND and not material.learned:
        return accuse(
            "weight-decay-too-strong",
            f"Between the optimizer's steps the script multiplies all weights by {figure(factor)}: "
            f"after 100 steps {figure(100 * factor**100)} % would be left of them.",
            remedy="Decay by hand is multiplied by the learning rate: weights times "
            "(1 - rate * decay); or leave it to AdamW's weight_decay.",
            evidence={"weights_times": factor},
        )
    worst = _worst_decay(material, material.training)
    state = material.case.initial_state
    if state is not None and fits(material.model, state):
        # Afterwards the weights may be gone, and decay has nothing left to pull at.
        start = material.start
        with loaded(material.model, state):
            worst = max(worst, _worst_decay(material, start), key=lambda one: one[0])
    excess, evidence = worst
    if not evidence:
        raise NotApplicable("No optimizer decays weights that get a gradient.")
    if excess > 1 and not material.learned:
        lost = evidence["lost_a_step"]
        if lost is not None and lost > MOST_LOST:
            too_high = evidence["weight_decay"] <= USUAL_DECAY
            return accuse(
                "learning-rate-too-high" if too_high else "weight-decay-too-strong",
                f"{evidence['optimizer']} at rate {figure(evidence['lr'])} with weight decay "
                f"{figure(evidence['weight_decay'])} takes {figure(100 * lost)} % off every "
                "weight at each step.",
                remedy="Usual rates of AdamW are 1e-4 to 3e-3, usual decays 0.01 to 0.1.",
                evidence=evidence,
            )
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


def _worst_decay(material: Material, seen: Pass) -> tuple[float, dict[str, Any]]:
    """Of all groups, at the weights as they are now; (0, {}) without decay."""
    by_id = {id(p): seen.gradients.get(n) for n, p in material.model.named_parameters()}
    peak = max((rate for _, rate in material.case.rates), default=0.0)
    found = [
        facts
        for optimizer in material.case.optimizers
        for group in optimizer.param_groups
        if (facts := _decay_facts(optimizer, group, by_id, lr=max(float(group["lr"]), peak)))
    ]
    return max(found, key=lambda one: one[0], default=(0.0, {}))


def _decay_facts(
    optimizer: Optimizer,
    group: dict[str, Any],
    gradients: dict[int, Tensor | None],
    *,
    lr: float,
) -> tuple[float, dict[str, Any]] | None:
    """How far beyond the limit decay is (above 1: too strong), with the numbers.

    - SGD adds decay to the gradient: too strong when it is the larger of the two and would alone
      take the weights to 1/e within `DECAY_STEPS` steps.
    - Adam and its kin divide the sum by its own size, so that the ratio alone counts.
    - AdamW's decay stands beside a step of about 1 per weight, whatever the gradient is.
    """
    decay = float(group.get("weight_decay") or 0)
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
        excess = max(ratio / DECAY_OVER_ADAM, lr * decay / MOST_LOST)
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
        "lost_a_step": lr * decay if beside else None,
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


def late_rise(case: Case) -> tuple[float, float, int] | None:
    """(largest rate of the first quarter of the run, largest of all, its step) of a rate that
    grows when the training is well under way; None where it does not."""
    steps = case.steps or 0
    history = sorted(one for one in case.rates if one[0] < steps)
    if steps < LEAST_RUN or len(history) < 2:
        return None
    early = max((rate for step, rate in history if step < EARLY_SHARE * steps), default=0.0)
    step, later = max(history, key=lambda one: one[1])
    return (early, later, step) if 0 < LATE_RISE * early <= later else None


def overshot(case: Case) -> tuple[float, int, float] | None:
    """(largest rate, its step, the rate that the optimizer was made with) of a schedule that goes
    far beyond what was asked for; None where none does, and where a largest rate was given."""
    groups = [group for one in case.optimizers for group in one.param_groups]
    if not case.rates or any("max_lr" in group for group in groups):
        return None
    meant = max((float(group.get("initial_lr", 0.0)) for group in groups), default=0.0)
    step, peak = next(
        (one for one in case.rates if not math.isfinite(one[1])),
        max(case.rates, key=lambda one: one[1]),
    )
    if not math.isfinite(peak) or (meant > 0 and peak >= max(OVERSHOT * meant, LARGE_RATE)):
        return peak, step, meant
    return None


def most_moved(material: Material) -> float | None:
    """The sum of all rates over the size (RMS) of the weights; None where steps have no known size.

    Adam's step of a weight is at most about the rate, whatever the gradient (Kingma and Ba 2015,
    section 2.1).
    """
    optimizers = material.case.optimizers
    if not all(isinstance(one, (torch.optim.Adam, torch.optim.AdamW)) for one in optimizers):
        return None
    steps, history = material.case.steps or 0, dict(material.case.rates)
    current = max(rates_of(optimizers))
    turns = [*sorted(history.items()), (steps, current)]
    if len(turns) > 1:
        spans = pairwise(turns)
        travelled = sum(rate * max(0, then - at) for (at, rate), (then, _) in spans)
    else:
        travelled = steps * current
    sizes = [
        float(p.detach().float().square().mean().sqrt())
        for one in optimizers
        for group in one.param_groups
        for p in group["params"]
        if p.ndim >= 2
    ]
    # The median: one matrix of another scale says nothing of all others.
    size = median(sizes) if sizes else 0.0
    return travelled / size if size and math.isfinite(size) else None


def _moved_share(material: Material) -> float | None:
    """How far the trained matrices are from the start; None where steps depend on the size of the
    gradient (then a small gradient is as likely the reason)."""
    free = (torch.optim.Adadelta, torch.optim.Adagrad, torch.optim.RMSprop)
    if not all(isinstance(one, free) for one in material.case.optimizers):
        return None
    return _distance(material)


def _distance(material: Material) -> float | None:
    """Of the trained matrices from the start, over their size; None where they get no gradient."""
    state = material.case.initial_state
    if state is None:
        return None
    held, known = material.optimised(), plain_names(state)
    distance = size = gradient = 0.0
    for name, parameter in material.model.named_parameters():
        start = known.get(name)
        if id(parameter) in held and parameter.ndim >= 2 and start is not None:
            now = parameter.detach().float().cpu()
            distance += float((now - start.float().cpu()).square().sum())
            size += float(now.square().sum())
            seen = material.training.gradients.get(name)
            gradient += 0.0 if seen is None else float(seen.float().square().sum())
    return (distance / size) ** 0.5 if size and gradient else None


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


def _norm(tensors: list[Tensor]) -> float:
    return math.hypot(*(float(t.float().norm()) for t in tensors))


CHECKS = (
    Check(name="learning-rate", run=learning_rate),
    Check(name="weight-decay", run=weight_decay),
)
