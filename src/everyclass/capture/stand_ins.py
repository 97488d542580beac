"""Optimizers of torch that stand for what is none: fastai's own, and updates written by hand.

Comes in: a fastai optimizer after its step; or, where nothing steps, a network at each of its
training passes. Goes out: an optimizer that holds the same parameters at the same settings and
never steps itself: checks read it, and copies are trained by it. Reads a few numbers of each
parameter in the first steps and of one afterwards.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

NUMBERS = 256
LOOKED_AT_STEPS = 12
ALIKE = 1e-3
"""What a rule may leave unexplained of a change, as a share of it; rounding is allowed besides."""
UNKNOWN_RATE = 1e-3


class FastaiOptimizers:
    """Stand-ins of fastai's optimizers, one each."""

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[Any, Optimizer] = weakref.WeakKeyDictionary()

    def stand_in(self, optimizer: Any) -> tuple[Optimizer, bool]:
        """Its stand-in at its present settings, and whether that is new.

        Args:
            optimizer: a `fastai.optimizer.Optimizer`: `param_lists`, `hypers`, `state` and `cbs`,
                the functions that make up its step.
        """
        known = self._known.get(optimizer)
        rules = {getattr(one, "__name__", type(one).__name__) for one in optimizer.cbs}
        groups = list(_fastai_groups(optimizer, adaptive="average_sqr_grad" in rules))
        if known is not None and len(known.param_groups) == len(groups):
            for old, new in zip(known.param_groups, groups, strict=True):
                old.update({key: value for key, value in new.items() if key != "params"})
            return known, False
        if "average_sqr_grad" not in rules:
            made: Optimizer = SGD(groups)
        else:
            made = (AdamW if "weight_decay" in rules else Adam)(groups)
        self._known[optimizer] = made
        return made, True


def _fastai_groups(optimizer: Any, *, adaptive: bool) -> Iterable[dict[str, Any]]:
    """torch's groups: each of fastai's, apart by whether its parameters decay."""
    for parameters, hyper in zip(optimizer.param_lists, optimizer.hypers, strict=True):
        settings: dict[str, Any] = {"lr": float(hyper["lr"])}
        momentum = float(hyper.get("mom", 0.0))
        if adaptive:
            settings |= {"betas": (momentum, float(hyper.get("sqr_mom", 0.99)))}
            settings |= {"eps": float(hyper.get("eps", 1e-5))}
        else:
            settings["momentum"] = momentum
        for decays in (True, False):
            state = optimizer.state
            own = [one for one in parameters if state.get(one, {}).get("do_wd", True) is decays]
            if own:
                decay = float(hyper.get("wd", 0.0)) if decays else 0.0
                yield {"params": own, **settings, "weight_decay": decay}


@dataclass(slots=True, weakref_slot=True)
class _Looked:
    """One parameter between two passes."""

    parameter: Tensor
    before: Tensor
    gradient: Tensor | None = None


class HandUpdates:
    """Whether a script changes a network's weights by itself, and by which rule.

    Attributes:
        optimizer: plain gradient descent at the rate that the first changes show; None while
            nothing has changed.
        note: what is to be told of the rule, "" while nothing has changed.
    """

    def __init__(self) -> None:
        self.optimizer: SGD | None = None
        self.note = ""
        self._network: weakref.ref[nn.Module] | None = None
        self._looked: list[_Looked] = []
        self._handles: list[Any] = []
        self._steps = 0

    @torch.no_grad()
    def pass_begins(self, network: nn.Module) -> bool:
        """A training pass begins. Returns whether the weights are others than at the last one."""
        if self._network is None:
            self._network = weakref.ref(network)
            self._look(network)
            return False
        if self._network() is not network:
            return False
        changed = [one for one in self._looked if not torch.equal(one.before, _some(one.parameter))]
        if not changed:
            return False
        if self._steps < LOOKED_AT_STEPS:
            self._learn(changed)
        self._steps += 1
        if self._steps == LOOKED_AT_STEPS:
            self.leave()
            self._looked = sorted(changed, key=lambda one: one.parameter.numel())[:1]
        for one in self._looked:
            one.before, one.gradient = _some(one.parameter).clone(), None
        return True

    def leave(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _look(self, network: nn.Module) -> None:
        for parameter in network.parameters():
            if parameter.requires_grad and parameter.layout is torch.strided:
                looked = _Looked(parameter, _some(parameter).clone())
                self._looked.append(looked)
                register: Any = parameter.register_post_accumulate_grad_hook
                self._handles.append(register(_keeper(weakref.ref(looked))))

    def _learn(self, changed: list[_Looked]) -> None:
        rules = [found for one in changed if (found := _rule(one)) is not None]
        rate = _median([one for one, _ in rules])
        decay = _median([one for _, one in rules])
        if self.optimizer is None:
            parameters = [one.parameter for one in changed]
            if rate is None or rate <= 0:
                rate, decay = UNKNOWN_RATE, 0.0
                self.note = (
                    "The script changes the weights itself, by a rule that is not plain gradient "
                    f"descent: copies are trained by SGD at {rate:g} in its place."
                )
            else:
                self.note = (
                    "The script changes the weights itself, without an optimizer: copies are "
                    f"trained by SGD at the rate that the changes show, {rate:g}."
                )
            self.optimizer = SGD(parameters, lr=rate, weight_decay=max(0.0, decay or 0.0))
            return
        held = {id(one) for one in self.optimizer.param_groups[0]["params"]}
        late = [one.parameter for one in changed if id(one.parameter) not in held]
        self.optimizer.param_groups[0]["params"] += late
        if rate is not None and rate > 0:
            self.optimizer.param_groups[0]["lr"] = rate


def _some(parameter: Tensor) -> Tensor:
    return parameter.detach().flatten()[:NUMBERS]


def _keeper(looked: weakref.ref[_Looked]) -> Any:
    """A hook that keeps the gradient as the pass leaves it: a script may clear it at once."""

    def keep(parameter: Tensor) -> None:
        one = looked()
        if one is not None and parameter.grad is not None:
            one.gradient = parameter.grad.detach().flatten()[:NUMBERS].clone()

    return keep


def _rule(one: _Looked) -> tuple[float, float] | None:
    """(rate, decay) where the change is -rate (gradient + decay weights); None where it is not."""
    if one.gradient is None:
        return None
    gradient, before = one.gradient.double().cpu(), one.before.double().cpu()
    change = before - _some(one.parameter).double().cpu()
    size = float(gradient.square().sum())
    if size == 0:
        return None
    # Rounding of the weights: what a change of their size can be told by.
    least = float(before.norm()) * torch.finfo(one.before.dtype).eps
    rate = float((gradient * change).sum()) / size
    if float((change - rate * gradient).norm()) <= ALIKE * float(change.norm()) + least:
        return rate, 0.0
    both = torch.stack([gradient, before], 1)
    solved = torch.linalg.lstsq(both, change[:, None]).solution[:, 0]
    if float((change - both @ solved).norm()) > ALIKE * float(change.norm()) + least:
        return None
    return float(solved[0]), float(solved[1] / solved[0]) if solved[0] else 0.0


def _median(values: list[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None
