"""What an adapter is given, and what it gives: the moments of a training, and what the peer said.

Comes in: the places that `inject` marked, as `Moment`. Goes out: `Said`, one for each message. An
adapter imports its peer when it is made, not before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message of a peer.

    Attributes:
        check: the peer's own name for what it looked at.
        level: the peer's own severity, on one scale.
        text: the message, with the causes that the peer lists.
        step: at which batch, from 0; None at the end or before the start.
    """

    check: str
    level: Level
    text: str
    step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A training batch, before its forward pass.

    Attributes:
        step: batches before it.
        model: what the script calls.
        inputs: what it is called with; to be asked for before the next batch.
        targets: the labels.
        loss_fn: the script's own lines, (output, targets) -> loss.
        optimizer: the last one that was made, None before.
        kind: who runs the loop.
    """

    step: int
    model: nn.Module
    inputs: Callable[[], Tensor]
    targets: Tensor
    loss_fn: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer | None
    kind: Literal["loop", "lightning", "huggingface"]

    @property
    def rate(self) -> float | None:
        """What a user logs as the learning rate."""
        return float(self.optimizer.param_groups[0]["lr"]) if self.optimizer else None


class Adapter:
    """The places at which a peer may be called; each does nothing unless an adapter fills it."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self._forms: set[tuple[str, Level, str]] = set()

    def say(self, check: str, level: Level, text: str, step: int | None = None) -> None:
        """Keep a message; one that differs from an earlier one in its numbers alone is not kept."""
        form = (check, level, re.sub(r"\d+", "#", text))
        if form not in self._forms:
            self._forms.add(form)
            self.said.append(Said(check=check, level=level, text=text, step=step))

    def batch(self, moment: Moment) -> None:
        """Before a forward pass."""

    def backward(self, moment: Moment, loss: float) -> None:
        """After the backward pass, before the step."""

    def evaluated(self, moment: Moment, loss: float) -> None:
        """After an evaluation, with its mean loss; `moment` is the last training batch."""

    def end(self) -> None:
        """After the script, also when it failed."""

    def stopped(self, error: BaseException) -> bool:
        """Whether this error is the peer's way of telling; if so, it has been kept."""
        return False


def gradient_norm(model: nn.Module) -> float | None:
    """What a user logs: the norm of all gradients together; None without any."""
    norms = [p.grad.detach().norm() for p in model.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else None


def output_width(model: nn.Module) -> int | None:
    """Outputs of the last linear layer: what a user knows as the number of classes."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return layers[-1].out_features if layers else None
