"""Gradients that are clipped to next to nothing.

Causes: precision-loss, where they are clipped while a gradient scaler has multiplied them, which
makes the limit smaller by the scaler's factor; learning-rate-too-low, where the limit itself is so
small that steps go nowhere.
"""

from __future__ import annotations

import math
from statistics import median

import torch

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.case import Clipping
from everyclass.diagnosis.causes.rate import ADAPTIVE
from everyclass.diagnosis.lab import Lab
from everyclass.diagnosis.material import Material
from everyclass.diagnosis.trainee import Trainee
from everyclass.findings import CauseId

LEFT_OVER = 1e-3
"""Share of a gradient below which clipping has left nothing of it. Usual limits, 0.1 to 5 on norms
of 0.5 to 50, leave a hundredth or more."""

TIMES_EPSILON = 10.0
"""Adam divides by the gradient's own size plus epsilon: what is cut matters from about there."""


def clipping(material: Material) -> Answer:
    """How much clipping leaves of the gradients."""
    known = material.case.clipping
    if known is None:
        raise NotApplicable("No gradients were seen to be clipped.")
    left = _left(known)
    evidence = {
        "kind": known.kind,
        "limit": known.limit,
        "scale": known.scale,
        "left_of_the_gradient": left,
    }
    if not _nothing_left(known, left, material) or material.learned is not False:
        return passed(
            f"Gradients are clipped to {known.kind} {figure(known.limit)}"
            + ("." if left is None else f": {figure(100 * left)} % of them is left."),
            evidence,
        )
    of_it = "" if left is None else f", {figure(100 * left)} % of the gradient"
    if known.scale > 1:
        return accuse(
            "precision-loss",
            f"Gradients are clipped to {known.kind} {figure(known.limit)} while the gradient "
            f"scaler has multiplied them by {figure(known.scale)}: what the optimizer gets has "
            f"{figure(known.limit / known.scale)} at most{of_it}.",
            remedy="Call scaler.unscale_(optimizer) before clipping.",
            evidence=evidence,
        )
    return accuse(
        "learning-rate-too-low",
        f"Gradients are clipped to {known.kind} {figure(known.limit)}{of_it}: steps go nowhere.",
        remedy="Raise the limit: 1 to 5 is usual for the norm.",
        evidence=evidence,
    )


def _left(known: Clipping) -> float | None:
    """Median share of the gradient's norm that clipping leaves; None where norms are not told."""
    if known.kind != "norm" or not known.norms:
        return None
    norm = median(known.norms)
    return min(1.0, known.limit / norm) if math.isfinite(norm) and norm > 0 else None


def _nothing_left(known: Clipping, left: float | None, material: Material) -> bool:
    optimizers = material.case.optimizers
    numbers = sum(p.numel() for one in optimizers for g in one.param_groups for p in g["params"])
    if not optimizers or not numbers:
        return False
    limit = known.limit / known.scale
    usual = limit if known.kind == "value" else limit / math.sqrt(numbers)
    if type(optimizers[0]).__name__ in ADAPTIVE or isinstance(optimizers[0], torch.optim.AdamW):
        epsilon = min(float(g.get("eps", 1e-8)) for one in optimizers for g in one.param_groups)
        return usual < TIMES_EPSILON * epsilon
    return (left is not None and left < LEFT_OVER) or (known.scale > 1 and left != 1.0)


def clipping_cause(lab: Lab) -> CauseId:
    """Which of the two it is."""
    known = lab.case.clipping
    return "precision-loss" if known is not None and known.scale > 1 else "learning-rate-too-low"


def without_clipping(lab: Lab, trainee: Trainee) -> None:
    """Gradients as they are; clipped at the same limit once a scaler's factor is gone."""
    known = lab.case.clipping
    if known is None:
        raise NotApplicable("No gradients were seen to be clipped.")
    if not _nothing_left(known, _left(known), lab.material):
        raise NotApplicable("Clipping leaves enough of the gradients.")
    if known.scale > 1:
        trainee.clip = known.unscaled
    else:
        trainee.clip = None


CHECKS = (Check(name="clipping", run=clipping),)
