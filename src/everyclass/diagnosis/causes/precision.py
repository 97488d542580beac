"""Numbers that are kept in fewer bits than they look: weights, and the optimizer's own. Cause:
precision-loss.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.material import Material
from everyclass.diagnosis.rounding import NARROW, fits_into

LEAST_NUMBERS = 1_000
"""Of a state, that it tells something."""


def weights_rounded(material: Material) -> Answer:
    """Weights that stand on a coarse grid, which steps smaller than half of it cannot leave."""
    if not material.case.steps:
        raise NotApplicable("No step is known after which weights might be rounded.")
    rounding = material.rounding
    if rounding is None:
        return passed("No sign of weights that are rounded after a step.", {})
    evidence: dict[str, Any] = {"rounded": rounding.words}
    if material.learned:
        return passed(f"Weights are rounded {rounding.words}; it learns all the same.", evidence)
    return accuse(
        "precision-loss",
        f"Every large weight matrix holds numbers rounded {rounding.words}, though they are kept "
        "in float32: a step of less than half of that is lost.",
        remedy="Keep the weights that are trained in float32, and round a copy (quantise after "
        "training, or with fake quantisation in the forward pass).",
        evidence=evidence,
    )


def state_rounded(material: Material) -> Answer:
    """The optimizer keeps its moments in the precision of its weights."""
    kept: dict[str, list[Tensor]] = {}
    for optimizer in material.case.optimizers:
        for parameter, state in optimizer.state.items():
            if not isinstance(parameter, Tensor) or parameter.dtype is not torch.float32:
                continue
            for name, value in state.items():
                if isinstance(value, Tensor) and value.numel() >= LEAST_NUMBERS:
                    kept.setdefault(str(name), []).append(value.detach())
    if not kept:
        raise NotApplicable("The optimizer keeps nothing of the weights' size.")
    for name, values in kept.items():
        narrow = next((one for one in NARROW if _narrow(values, one)), None)
        if narrow is None or material.learned:
            continue
        told = str(narrow).removeprefix("torch.")
        zeros = float(torch.stack([(one == 0).float().mean() for one in values]).mean())
        return accuse(
            "precision-loss",
            f"What the optimizer keeps as '{name}' fits into {told}, though weights are float32: "
            f"{figure(100 * zeros)} % of it are exactly 0. Squares of small gradients are lost "
            "there, and steps become far too long.",
            remedy="Keep the optimizer's state in float32.",
            evidence={"state": name, "fits": told, "zeros": zeros},
        )
    return passed("The optimizer keeps its state in full precision.", {"state": sorted(kept)})


def _narrow(values: list[Tensor], dtype: torch.dtype) -> bool:
    """Whether every number fits into sixteen bits, and some number is there; what was too large for
    them is infinite."""
    known = [one[torch.isfinite(one)] for one in values]
    return all(fits_into(one, dtype) for one in known) and any(bool(one.any()) for one in known)


CHECKS = (
    Check(name="weights-rounded", run=weights_rounded),
    Check(name="state-rounded", run=state_rounded, needs_finite=False),
)
