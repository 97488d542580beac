"""What a script does to the weights between the optimizer's steps.

Comes in: an optimizer after its step, and the moment at which the network is called again. Goes
out: the factor by which all weights are multiplied there, as decay by hand does it. Copies a few
numbers in the first steps, waits for nothing on the device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

LOOKED_AT_STEPS = 12
MATRICES, NUMBERS = 3, 256
"""That are looked at, and numbers of each."""

LEAST_CHANGES = 3
ALIKE = 1e-4
"""What is left over where all numbers were multiplied by one factor, as a share of their size."""


class BetweenSteps:
    """Compares what a step left with what the next pass finds, for one optimizer."""

    def __init__(self) -> None:
        self._steps = 0
        self._left: list[tuple[Tensor, Tensor]] = []
        self._pairs: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        """The optimizer has taken a step."""
        self._left = []
        if self._steps >= LOOKED_AT_STEPS:
            return
        self._steps += 1
        matrices = [
            one
            for group in optimizer.param_groups
            for one in group["params"]
            if one.ndim > 1 and one.layout is torch.strided and one.grad is not None
        ]
        matrices.sort(key=Tensor.numel, reverse=True)
        self._left = [(one, _some(one).clone()) for one in matrices[:MATRICES]]

    @torch.no_grad()
    def network_begins(self) -> None:
        """The network is called for the first time after a step."""
        left, self._left = self._left, []
        self._pairs += [(before, _some(one).clone()) for one, before in left]

    def factor(self) -> float:
        """By which the script multiplies all weights after each step; 1 where it does not, or does
        something else with them."""
        factors, changes = [], 0
        for before, after in self._pairs:
            found = _factor(before.double().cpu(), after.double().cpu())
            if found is None:
                return 1.0
            factors.append(found)
            changes += found != 1
        if changes < LEAST_CHANGES or 2 * changes < len(factors):
            return 1.0
        return float(torch.tensor(factors).median())


def _some(one: Tensor) -> Tensor:
    return one.detach().flatten()[:NUMBERS]


def _factor(before: Tensor, after: Tensor) -> float | None:
    """1 where nothing changed; None where the change is no multiplication."""
    size = before.square().sum()
    if torch.equal(before, after):
        return 1.0
    if not float(size) > 0:
        return None
    factor = (before * after).sum() / size
    rest = (after - factor * before).norm()
    return float(factor) if float(rest) <= ALIKE * float(after.norm()) else None
