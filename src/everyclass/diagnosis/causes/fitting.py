"""Whether a few images can be learned by heart: on a copy, with a control.

Causes: parameters-not-optimised, learning-rate-too-low, poor-initialisation. The loss must fall
under the user's own optimizer or under Adam at 1e-3, from the same weights on the same images.
Alone this says little (it accused healthy runs in every tool measured), so one arm that works is
enough to pass, and two that fail accuse only a network whose signal is seen to fade.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.case import CapturedBatch
from everyclass.diagnosis.causes.network import dead_layers
from everyclass.diagnosis.causes.rate import LOST_RATE
from everyclass.diagnosis.material import Material, first_rows, held_by, rates_of
from everyclass.diagnosis.snapshot import copied_together, seeded
from everyclass.diagnosis.trace import FOREIGN_ERRORS, SEED

IMAGES = 8
STEPS, LEAST_STEPS = 24, 4
SECONDS, TOO_SLOW_SECONDS = 1.0, 2.0
"""Of each arm at most, once it has made its least steps; of a first step beyond which none is
made.
"""

LAST = 3
FALLEN = 0.98
"""The lowest of the last losses must undercut this share of the first."""

CONTROL_RATE = 1e-3
FAINT = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One optimizer on one copy.

    Attributes:
        losses: before each step.
        moved: a parameter of the copy changed.
    """

    losses: tuple[float, ...]
    moved: bool

    @property
    def fell(self) -> bool:
        """The loss went down; NaN is no fall."""
        return min(self.losses[-LAST:]) < FALLEN * self.losses[0]

    @property
    def words(self) -> str:
        """From where to where."""
        return f"{figure(self.losses[0])} to {figure(min(self.losses[-LAST:]))}"


def one_batch_fits(material: Material) -> Answer:
    """A few images, learned by heart."""
    loss_function = material.case.loss_function
    if loss_function is None:
        raise NotApplicable("No loss is known.")
    seen = material.training
    if seen.loss is None or not seen.loss_has_graph or not bool(torch.isfinite(seen.loss)):
        raise NotApplicable("The loss gives no gradient to follow.")
    batch = first_rows(material.batch, IMAGES)
    own = None
    if material.case.optimizers:
        own = _run_arm(material, batch, loss_function, own=True)
        if own.fell:
            return passed(
                f"On a copy its own optimizer takes the loss of {IMAGES} images from {own.words}.",
                {"losses": list(own.losses), "moved": own.moved},
            )
    control = _run_arm(material, batch, loss_function, own=False)
    evidence: dict[str, Any] = {"control_losses": list(control.losses)}
    if own is None:
        return passed(
            f"On a copy Adam at {CONTROL_RATE} takes the loss of {IMAGES} images from "
            f"{control.words}.",
            evidence,
        )
    evidence |= {"losses": list(own.losses), "moved": own.moved}
    facts = (
        f"in {len(own.losses)} steps on {IMAGES} images of a copy the loss went from {own.words} "
        f"with its own optimizer, from {control.words} with Adam at {CONTROL_RATE}"
    )
    if not own.moved and control.moved and _has_rate(material.case.optimizers):
        return _unmoved(material, facts, evidence)
    if not own.fell and not control.fell and _signal_fades(material):
        return accuse(
            "poor-initialisation",
            f"Neither of two optimizers learns a few images by heart: {facts}.",
            remedy="Initialise with He's scheme for ReLU, or put a normalisation between layers.",
            evidence=evidence,
        )
    return passed(f"{facts[0].upper()}{facts[1:]}.", evidence)


def _unmoved(material: Material, facts: str, evidence: dict[str, Any]) -> Answer:
    held = material.optimised()
    if not any(id(p) in held for p in material.model.parameters()):
        return accuse(
            "parameters-not-optimised",
            f"Not one weight moved under its own optimizer: {facts}.",
            remedy="Build the optimizer from the parameters of this very model.",
            evidence=evidence,
        )
    if max(rates_of(material.case.optimizers)) >= LOST_RATE:
        raise NotApplicable("The gradient is too small to move a weight at this rate.")
    return accuse(
        "learning-rate-too-low",
        f"Not one weight moved under its own optimizer: {facts}.",
        remedy="Raise the learning rate: its steps are lost in rounding.",
        evidence=evidence,
    )


def _run_arm(
    material: Material,
    batch: CapturedBatch,
    loss_function: Callable[[Any, Tensor], Tensor],
    *,
    own: bool,
) -> Arm:
    model, optimizers = _copies(material.model, material.case.optimizers if own else ())
    if not own:
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizers = (torch.optim.Adam(trained, lr=CONTROL_RATE),)
    before = [p.detach().clone() for p in model.parameters()]
    # The batch may be written to by the model; each arm has its own.
    batch = copy.deepcopy(replace(batch, outputs=None))
    losses: list[float] = []

    def closure() -> Tensor:
        for parameter in model.parameters():
            parameter.grad = None
        assert batch.targets is not None
        loss = loss_function(model(*batch.args, **batch.keywords), batch.targets)
        loss = loss if loss.ndim == 0 else loss.float().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(float(loss.detach()))
        return loss

    try:
        with seeded(SEED), torch.enable_grad():
            model.train()
            _steps(optimizers, closure, losses)
    except FOREIGN_ERRORS as error:
        raise NotApplicable(
            f"The copy could not be trained: {type(error).__name__}: {error}"
        ) from error
    moved = any(not torch.equal(p.detach(), old) for p, old in zip(model.parameters(), before))
    return Arm(losses=tuple(losses), moved=moved)


def _steps(
    optimizers: Sequence[Optimizer], closure: Callable[[], Tensor], losses: Sequence[float]
) -> None:
    """Until the loss has clearly fallen, or the steps or the time are used up."""
    start = time.monotonic()
    for step in range(STEPS):
        spent = time.monotonic() - start
        if step == 1 and spent > TOO_SLOW_SECONDS:
            raise NotApplicable(f"A step on {IMAGES} images takes {spent:.1f} s here.")
        late = step >= LEAST_STEPS and spent > SECONDS
        if late or (step > LAST and max(losses[-2:]) < FALLEN * losses[0]):
            break
        first, *others = optimizers
        # With a closure, optimizers that evaluate the loss several times a step work too.
        first.step(closure)  # type: ignore[arg-type]
        for other in others:
            other.step()


def _copies(
    model: nn.Module, optimizers: Sequence[Optimizer]
) -> tuple[nn.Module, tuple[Optimizer, ...]]:
    """Copied together, so that the copied optimizers hold the copied parameters."""
    try:
        return copied_together(model, optimizers)
    except FOREIGN_ERRORS as error:
        raise NotApplicable(
            f"The model cannot be copied: {type(error).__name__}: {error}"
        ) from error


def _has_rate(optimizers: Sequence[Optimizer]) -> bool:
    """Some group that holds something has a rate above 0 (a warm-up starts at 0)."""
    return any(
        float(group["lr"]) > 0 for one in optimizers if held_by(one) for group in one.param_groups
    )


def _signal_fades(material: Material) -> bool:
    try:
        head = material.start.last_matrix
    except NotApplicable:
        return False
    if dead_layers(material.start):
        return False  # told by dead-units
    return head is not None and head.input_variation is not None and head.input_variation < FAINT


CHECKS = (Check(name="one-batch-fits", run=one_batch_fits),)
