"""Whether gradients start afresh at each step, and how large they are at first.

Comes in: an optimizer after its step, and the moment at which the next backward pass begins. Goes
out: an answer for the first steps. Reads a few small tensors then, and nothing afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

LOOKED_AT_STEPS = 20
LOOKED_AT_PARAMETERS = 4


class GradientWatch:
    """Looks at the gradients of the first steps of one optimizer."""

    def __init__(self) -> None:
        self._norms: list[tuple[int, Tensor]] = []
        self._watched: list[Tensor] = []
        self._fresh = 0
        self._old = 0

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer, step: int, network: nn.Module | None = None) -> None:
        """The optimizer has taken a step, `step` steps were done before.

        Args:
            network: whose gradients are looked at where it is known: what else the optimizer holds
                (class weights that are learned, centres of a loss) may get its gradient of the
                next backward pass before that is seen to begin.
        """
        self._watched = []
        if len(self._norms) >= LOOKED_AT_STEPS:
            return
        parameters = _with_gradient(optimizer)
        if not parameters:
            return
        gradients = [one.grad.detach() for one in parameters if one.grad is not None]
        norms = torch._foreach_norm(gradients)
        device = norms[0].device
        total = torch.stack([one.float().to(device) for one in norms]).norm()
        self._norms.append((step, total))
        own = None if network is None else {id(one) for one in network.parameters()}
        watched = [one for one in parameters if own is None or id(one) in own]
        self._watched = sorted(watched, key=Tensor.numel)[:LOOKED_AT_PARAMETERS]

    def after_own_step(self, optimizer: Optimizer) -> None:
        """The script has changed the weights itself, some time ago: it may have cleared since."""
        self._watched = []
        if self._fresh + self._old >= LOOKED_AT_STEPS:
            return
        held = _with_gradient(optimizer)
        if held:
            self._watched = sorted(held, key=Tensor.numel)[:LOOKED_AT_PARAMETERS]
        else:
            self._fresh += 1

    @property
    def waits(self) -> bool:
        """Whether the beginning of the next backward pass is of interest."""
        return bool(self._watched)

    def backward_begins(self) -> None:
        """The first backward pass after a step: what do the gradients hold?"""
        watched, self._watched = self._watched, []
        if not watched:
            return
        if any(one.grad is not None and bool(one.grad.detach().any()) for one in watched):
            self._old += 1
        else:
            self._fresh += 1

    def cleared(self) -> bool | None:
        """False when most steps began on old gradients, True when most did not, None unseen."""
        if self._fresh + self._old == 0:
            return None
        return self._fresh > self._old

    def norms(self) -> tuple[tuple[int, float], ...]:
        """(step, norm of all gradients together) of the first steps."""
        return tuple((step, float(norm)) for step, norm in self._norms)


def _with_gradient(optimizer: Optimizer) -> list[Tensor]:
    return [
        one
        for group in optimizer.param_groups
        for one in group["params"]
        if one.grad is not None and one.grad.layout is torch.strided
    ]
