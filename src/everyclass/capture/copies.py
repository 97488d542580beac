"""A copy of the watched network that is evaluated in its place with the statistics of its start.

Comes in: the network and its initial state, when an evaluation was seen that is not its own. Goes
out: a finding, or nothing. Hooks nothing: what exists is read.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from everyclass.capture.facts import stale_copy_finding
from everyclass.findings import Finding

SEARCHES = 3
"""Walks over all objects (0.1 s each), at most."""

LEAST_STEPS = 20
"""Steps until BatchNorm's statistics have left their start."""


class Copies:
    """Averages of weights are often kept in a copy whose buffers nobody updates."""

    def __init__(self) -> None:
        self._searches = 0
        self._step = -1

    def look(self, root: nn.Module, start: Mapping[str, Tensor], *, step: int) -> Finding | None:
        """The finding, if a copy in eval mode has other weights than `start` and its statistics.

        Args:
            root: the watched network, whose statistics have moved.
            start: its initial state.
            step: optimizer steps done.
        """
        if step < LEAST_STEPS or step == self._step or self._searches >= SEARCHES:
            return None
        if not _statistics(root) or _stale(root, start):
            return None
        self._step, self._searches = step, self._searches + 1
        own = {id(one) for one in root.modules()}
        for one in gc.get_objects():
            # By `type`: `isinstance` would wake proxies of other libraries.
            if type(one) is not type(root) or id(one) in own or one.training:
                continue
            if _stale(one, start) and _moved(one, start):
                layers = len(_statistics(root))
                return stale_copy_finding(type(root).__name__, layers=layers, step=step)
        return None


def _statistics(network: nn.Module) -> dict[str, Tensor]:
    return {
        f"{name}.running_mean": one.running_mean
        for name, one in network.named_modules()
        if isinstance(one, _BatchNorm) and one.running_mean is not None
    }


def _stale(network: nn.Module, start: Mapping[str, Tensor]) -> bool:
    found = _statistics(network)
    return bool(found) and all(
        name in start and torch.equal(value.detach().cpu(), start[name])
        for name, value in found.items()
    )


def _moved(network: nn.Module, start: Mapping[str, Tensor]) -> bool:
    return any(
        name in start
        and start[name].shape == one.shape
        and not torch.equal(one.detach().cpu(), start[name])
        for name, one in network.named_parameters()
    )
