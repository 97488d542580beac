"""Parameters on sampled steps: gradient norms, update-to-weight ratios, units without gradient.

Comes in: a model and its optimizer. Goes out: figures a group of layers. Works from the gradients
that the script computes anyway, in hooks of the optimizer: no hook on a module, no extra pass, no
copy of all parameters. Sampled at every 64th step, and once early.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from everyclass.monitoring.summary import LayerFigures

SAMPLE_EVERY = 64
EARLY_SAMPLE = 8
SAMPLED_ELEMENTS = 4096
"""Of each tensor, for the ratio of update and weight: a bounded copy."""

MOST_GROUPS = 64


@dataclass(slots=True)
class _Group:
    name: str
    parameters: list[tuple[str, nn.Parameter]]
    gradient_norm: Tensor | None = None
    update_ratio: Tensor | None = None
    dead: dict[str, Tensor] = field(default_factory=dict)
    before: list[Tensor] = field(default_factory=list)


class LayerWatch:
    """Hooks on one optimizer; figures stay on the device until somebody asks.

    Args:
        model: whose parameters are named.
        optimizer: whose steps are watched.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self._model = model
        self._optimizer = optimizer
        self._groups = list(_groups(model))
        self._steps = 0
        self._sampled = False
        self._handles: list[Any] = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def learning_rate(self) -> float | None:
        """Of the first parameter group; None when it is a tensor on a device (reading waits)."""
        rate = self._optimizer.param_groups[0]["lr"]
        if isinstance(rate, Tensor):
            return float(rate) if rate.device.type == "cpu" else None
        return float(rate)

    def report(self) -> tuple[LayerFigures, ...]:
        """The last sampled figures, a group of layers each, in the order of the model."""
        return tuple(
            LayerFigures(
                name=group.name,
                gradient_norm=_read(group.gradient_norm),
                update_ratio=_read(group.update_ratio),
                dead_share=_dead_share(group),
            )
            for group in self._groups
            if group.gradient_norm is not None
        )

    def scalars(self) -> dict[str, float]:
        """The same for a logger."""
        values = {}
        for one in self.report():
            for key in ("gradient_norm", "update_ratio", "dead_share"):
                value = getattr(one, key)
                if math.isfinite(value):
                    values[f"{key}/{one.name}"] = value
        return values

    def first_non_finite(self) -> str | None:
        """The first parameter or gradient, in the order of the model, that is NaN or infinite."""
        for name, parameter in self._model.named_parameters():
            if not bool(torch.isfinite(parameter.detach()).all()):
                return f"parameter {name}"
            gradient = parameter.grad
            if gradient is not None and not bool(torch.isfinite(gradient).all()):
                return f"gradient of {name}"
        for name, buffer in self._model.named_buffers():
            if buffer.is_floating_point() and not bool(torch.isfinite(buffer).all()):
                return f"buffer {name}"
        return None

    def _due(self) -> bool:
        return self._steps % SAMPLE_EVERY == 0 or self._steps == EARLY_SAMPLE

    @torch.no_grad()
    def _before_step(self, _: Optimizer, args: object, keywords: object) -> None:
        self._sampled = self._due()
        self._steps += 1
        if not self._sampled:
            return
        for group in self._groups:
            group.before = [_sample(p).clone() for _, p in group.parameters]

    @torch.no_grad()
    def _after_step(self, _: Optimizer, args: object, keywords: object) -> None:
        if not self._sampled:
            return
        self._sampled = False
        for group in self._groups:
            # Gradients are read here and not before the step: where the step is given a closure
            # (Lightning does), they only exist by now.
            gradients = [p.grad.detach() for _, p in group.parameters if p.grad is not None]
            gradients = [one for one in gradients if not one.is_sparse]
            if gradients:
                group.gradient_norm = torch.stack(torch._foreach_norm(gradients)).float().norm()
                for name, silent in _silent_units(group.parameters):
                    known = group.dead.get(name)
                    group.dead[name] = silent if known is None else known & silent
            change = [_sample(p) - old for (_, p), old in zip(group.parameters, group.before)]
            moved = torch.stack(torch._foreach_norm(change)).float().norm()
            weight = torch.stack(torch._foreach_norm(group.before)).float().norm()
            group.update_ratio = moved / weight.clamp(min=1e-12)
            group.before = []


def _groups(model: nn.Module) -> Iterator[_Group]:
    """Parameters by the module that holds them; of very many modules, by a shorter name."""
    for depth in (99, 4, 3, 2, 1):
        found: dict[str, list[tuple[str, nn.Parameter]]] = {}
        for name, parameter in model.named_parameters():
            if parameter.is_floating_point():
                key = ".".join(name.split(".")[:-1][:depth]) or name
                found.setdefault(key, []).append((name, parameter))
        if len(found) <= MOST_GROUPS:
            break
    for key, parameters in found.items():
        yield _Group(key, parameters)


def _silent_units(
    parameters: list[tuple[str, nn.Parameter]],
) -> Iterator[tuple[str, Tensor]]:
    """For each weight matrix or kernel: (units,) whether no gradient reaches the unit.

    By its bias where it has one: weights get no gradient either when all that comes in is zero.
    """
    gradients = {name: p.grad.detach() for name, p in parameters if p.grad is not None}
    for name, gradient in gradients.items():
        if gradient.dim() >= 2 and not gradient.is_sparse:
            bias = gradients.get(name.removesuffix("weight") + "bias")
            if bias is not None and bias.shape == gradient.shape[:1]:
                yield name, bias == 0
            else:
                yield name, (gradient.flatten(1) == 0).all(dim=1)


def _sample(parameter: nn.Parameter) -> Tensor:
    return parameter.detach().flatten()[:SAMPLED_ELEMENTS]


def _read(value: Tensor | None) -> float:
    return math.nan if value is None else float(value)


def _dead_share(group: _Group) -> float:
    units = sum(len(one) for one in group.dead.values())
    return sum(int(one.sum()) for one in group.dead.values()) / units if units else math.nan
