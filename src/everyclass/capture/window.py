"""Which losses between two optimizer steps belong to training, and which to an evaluation.

Comes in: losses as they are computed. Goes out: training losses and evaluation losses. Told apart
by gradients, never by `model.training`: a forgotten `eval()`, or one left on, must not change the
answer. Knows no model and no monitor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from everyclass.capture.losses import LossCall
from everyclass.capture.models import ModelCall
from everyclass.capture.sites import Site

LARGEST_WINDOW = 64
"""Losses that wait for an optimizer step; more are decided without one."""


@dataclass(slots=True)
class LossRecord:
    """One computed loss.

    Args:
        call: the loss with its arguments.
        site: the script's line.
        step: optimizer steps done before.
        model_call: the call that it judges, None when it was not seen.
        position: which of the model's outputs the loss got; -1 when not known.
        fits_call: whether the loss got as many rows as the call answered.
        parts: (call, first row, row after the last) where answers of several calls were joined and
            judged at once, as those of a whole evaluation are.
        value: what it returned, detached.
        differentiable: whether the value depends on something that requires gradients.
        gradients: whether gradients were enabled.
        reached: whether a backward pass came through it.
        on_backward: called when a backward pass comes through.
        copied: (inputs, targets) on the CPU, when the reservoir wanted the batch.
        number: the reservoir's number of it, with `copied`.
    """

    call: LossCall
    site: Site | None
    step: int
    model_call: ModelCall | None = None
    position: int = -1
    fits_call: bool = True
    parts: tuple[tuple[ModelCall, int, int], ...] = ()
    value: Tensor | None = None
    differentiable: bool = False
    gradients: bool = True
    reached: bool = False
    on_backward: Callable[[], None] | None = None
    copied: tuple[Tensor, Tensor] | None = None
    number: int = 0

    def mark_reached(self, gradient: Tensor) -> None:
        """The hook of the loss: a backward pass came through. Changes no gradient."""
        self.reached = True
        if self.on_backward is not None:
            self.on_backward()

    def same_role(self, main: LossRecord) -> bool:
        """Computed by the same line on the same output of the network, as far as is known."""
        same_output = self.position == main.position or -1 in (self.position, main.position)
        return self.site == main.site and same_output

    def mean_loss(self) -> Tensor | None:
        """The value an image, as far as the reduction tells."""
        if self.value is None or self.value.dim() > 0:
            return None if self.value is None else self.value.mean()
        summed = self.call.options.get("reduction", "mean") == "sum"
        return self.value / max(1, len(self.call.inputs)) if summed else self.value

    @property
    def attacked(self) -> bool:
        """The inputs themselves are being optimised."""
        return self.model_call is not None and self.model_call.attacked


@dataclass(slots=True)
class Sorted:
    """The losses of a window, in their order.

    Args:
        records: with whether each is a training loss.
        reached: whether a backward pass came through a training loss.
    """

    records: tuple[tuple[LossRecord, bool], ...]
    reached: bool

    def training(self) -> tuple[LossRecord, ...]:
        """Those of training."""
        return tuple(one for one, training in self.records if training)


@dataclass(slots=True)
class Window:
    """Losses since the last optimizer step.

    Args:
        ever_reached: whether a backward pass ever came through a loss: then what it does not
            reach is an evaluation.
    """

    ever_reached: bool = False
    _waiting: list[LossRecord] = field(default_factory=list)

    def add(self, record: LossRecord) -> bool:
        """Take a loss that has been computed.

        Returns:
            True when it is an evaluation's for sure and does not wait.
        """
        if self.ever_reached and not (record.gradients and record.differentiable):
            return True
        self._waiting.append(record)
        return False

    @property
    def full(self) -> bool:
        """Too many losses without a step."""
        return len(self._waiting) >= LARGEST_WINDOW

    @property
    def waiting(self) -> Sequence[LossRecord]:
        """Losses that are not decided."""
        return self._waiting

    def settle(self, *, stepped: bool, all_but_last: bool = False) -> Sorted:
        """Decide about all that wait.

        Args:
            stepped: an optimizer has stepped.
            all_but_last: the newest was computed just now; its backward pass may be to come.

        With a backward pass through some of them, these are training. Without any, where none ever
        came: a step was taken, so the last loss before it was meant to train, with those of the
        same line; without a step, those that could be differentiated. Attacks on inputs are none.
        """
        kept = 1 if all_but_last and self._waiting else 0
        cut = len(self._waiting) - kept
        waiting, self._waiting = self._waiting[:cut], self._waiting[cut:]
        # Inputs that ask for a gradient where nothing else is computed before a step: a penalty on
        # input gradients, or a map of what mattered, and no attack.
        attacks = {id(one) for one in waiting if one.attacked}
        if stepped and len(attacks) == len(waiting):
            attacks = set()
        reached = any(one.reached and id(one) not in attacks for one in waiting)
        if reached or (self.ever_reached and not stepped):
            chosen = [one.reached for one in waiting]
        elif stepped and waiting:
            chosen = [one.site == waiting[-1].site for one in waiting]
        else:
            chosen = [one.gradients and one.differentiable for one in waiting]
        self.ever_reached = self.ever_reached or reached
        return Sorted(
            records=tuple(
                (one, training and id(one) not in attacks) for one, training in zip(waiting, chosen)
            ),
            reached=reached,
        )
