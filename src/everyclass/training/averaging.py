"""A moving average of the weights that follows closely at first.

torch's AveragedModel knows no such beginning, and reads its counter from the device at every step.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

WARM_UP = 10
"""The average reaches back over about a ninth of the steps done, until `decay` says less."""

LOOKS = 5
"""How often, at least, the weights are looked at within that reach. Neighbouring steps are much
alike, and to read and write all weights twice costs 6 % of a step of a small network."""


class MovingAverage:
    """The exponential moving average of a model's parameters and buffers.

    The first step is copied. After n of them the average keeps the share
    min(decay, (1 + n) / (WARM_UP + n)) of itself at each step: with a fixed one a short training
    would be judged by weights that lie long behind. It moves every k-th step by the share to the
    power of k, k a fifth of its reach 1 / (1 - share). Integers (batches counted by BatchNorm) are
    copied.

    Attributes:
        module: the model with averaged weights, on the device of the given one.
        decay: in (0, 1), the largest share that is kept.
        steps: seen so far.
    Source: the rule of TensorFlow's ExponentialMovingAverage with `num_updates`; the wait is ours.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.steps = 0
        self._moved = 0  # at which step

    def update(self, model: nn.Module) -> None:
        """After a step: move towards the weights of a model of the same kind, in place, when it is
        time. Never waits for the device."""
        self.steps += 1
        share = min(self.decay, self.steps / (WARM_UP - 1 + self.steps))
        waited = self.steps - self._moved
        if waited < int(1 / (1 - share) / LOOKS):
            return
        self._move(model, 1 - share**waited if self._moved else 1.0)
        self._moved = self.steps

    @torch.no_grad()
    def _move(self, model: nn.Module, weight: float) -> None:
        averages, values = _tensors(self.module), _tensors(model)
        for average, value in zip(averages, values, strict=True):
            if not average.is_floating_point():
                average.copy_(value)
        torch._foreach_lerp_(
            [one for one in averages if one.is_floating_point()],
            [one for one in values if one.is_floating_point()],
            weight,
        )

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        counts = {"steps": self.steps, "moved": self._moved}
        return {"module": self.module.state_dict(), **counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.module.load_state_dict(state["module"])
        self.steps, self._moved = state["steps"], state["moved"]


def _tensors(model: nn.Module) -> list[Tensor]:
    return [one.detach() for one in chain(model.parameters(), model.buffers())]
