"""Eyes on one pass through a model: which layers ran, how the loss was called, what was rectified.

Comes in: a model, about to be run. Goes out: `Layer`, `Rectifier` and `LossCall` values. Layers are
watched by forward hooks, functions by a `TorchFunctionMode`. No backward hook is used: they break
networks that rectify in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from everyclass.diagnosis.case import LossName, LossSpec
from everyclass.diagnosis.dropout import bound_arguments, dropout_of
from everyclass.diagnosis.nested import tensors_in

LOSS_NAMES = frozenset(get_args(LossName)) - {"by_hand"}
RECTIFIERS = frozenset(
    {
        *("relu", "relu_", "relu6", "hardswish", "hardshrink", "softshrink"),
        *("threshold", "threshold_", "clamp", "clamp_", "clamp_min", "clamp_min_", "clip"),
    }
)
"""Functions whose value may be 0 for a whole range of arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A module with weights of its own, the first time it ran.

    Attributes:
        name: in the model.
        module: itself.
        matrix: it has a weight of two or more dimensions (else a normalisation or a scale).
        inputs: its floating input; kept for the first layer only.
        variation: standard deviation of its output between images over the output's root mean
            square, pooled over units; None with fewer than 2 rows.
        input_variation: the same of its input.
        input_size: root mean square of its input; None without one.
        finite: the output holds no NaN and no infinity.
        with_graph: the output is part of a graph that reaches parameters or inputs.
    """

    name: str
    module: nn.Module
    matrix: bool
    inputs: Tensor | None
    variation: float | None
    input_variation: float | None
    input_size: float | None
    finite: bool
    with_graph: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectifier:
    """A ReLU or its like, and how many of its units no image of the batch switches on.

    Attributes:
        after: the layer that ran before it.
        units: channels of a convolution, features of a linear layer.
        dead: units that are 0 for every image at every place.
    """

    after: str
    units: int
    dead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LossCall:
    """How one of torch's losses was called.

    Attributes:
        spec: which, with its arguments.
        scores, targets: its first two arguments.
    """

    spec: LossSpec
    scores: Tensor
    targets: Tensor


class LayerWatch:
    """Forward hooks on every module that holds parameters itself."""

    def __init__(
        self, model: nn.Module, change_first_input: Callable[[Tensor], Tensor] | None
    ) -> None:
        self.current = ""
        self.after_convolution = False
        self._change = change_first_input
        self._found: list[Layer] = []
        self._inputs: dict[str, Tensor] = {}
        self._first = ""
        self._handles: list[Any] = []
        for name, module in model.named_modules():
            if _is_layer(module):
                before, after = self._hooks(name)
                self._handles += [
                    module.register_forward_pre_hook(before, with_kwargs=True),
                    module.register_forward_hook(after),
                ]

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def layers(self) -> tuple[Layer, ...]:
        """What ran so far."""
        return tuple(self._found)

    def _hooks(self, name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
        def before(module: nn.Module, args: Any, keywords: Any) -> Any:
            return self._before(name, args, keywords)

        def after(module: nn.Module, args: Any, output: Any) -> None:
            self._after(name, module, output)

        return before, after

    def _before(self, name: str, args: Any, keywords: Any) -> Any:
        tensor = next(
            (one for one in tensors_in((args, keywords)) if one.is_floating_point()), None
        )
        if tensor is None:
            return None
        self._inputs[name] = tensor.detach()
        if self._first:
            return None
        self._first = name
        if self._change is None or not args or args[0] is not tensor:
            return None
        return (self._change(tensor), *args[1:]), keywords

    def _after(self, name: str, module: nn.Module, output: Any) -> None:
        self.current = name
        if _has_matrix(module):
            self.after_convolution = isinstance(module, _ConvNd)
        inputs = self._inputs.pop(name, None)
        if any(one.name == name for one in self._found):
            return
        given = next((one for one in tensors_in(output) if one.is_floating_point()), None)
        layer = Layer(
            name=name,
            module=module,
            matrix=_has_matrix(module),
            inputs=inputs if name == self._first else None,
            variation=_variation(given),
            input_variation=_variation(inputs),
            input_size=None if inputs is None else float(inputs.float().square().mean().sqrt()),
            finite=given is None or bool(torch.isfinite(given).all()),
            with_graph=given is not None and given.requires_grad,
        )
        self._found.append(layer)


class FunctionWatch(TorchFunctionMode):
    """Calls of torch's functions: losses with their arguments, rectifiers, squares by broadcast."""

    def __init__(self, layers: LayerWatch) -> None:
        super().__init__()
        self.in_loss = False
        self.broadcast: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        self.calls: list[LossCall] = []
        self.dropout = 0.0
        self.rectifiers: list[Rectifier] = []
        self._layers = layers

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        keywords = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in LOSS_NAMES:
            self._note_loss(name, func, args, keywords)
        if not self.in_loss:
            self.dropout = max(self.dropout, dropout_of(func, args, keywords) or 0.0)
        result = func(*args, **keywords)
        if name in RECTIFIERS and not self.in_loss and isinstance(result, Tensor):
            self._note_rectifier(result)
        if self.in_loss and self.broadcast is None and isinstance(result, Tensor):
            self.broadcast = _square_by_mistake(args, result)
        return result

    def _note_loss(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        keywords: Mapping[str, Any],
    ) -> None:
        given = bound_arguments(func, args, keywords)
        scores, targets = given.get("input"), given.get("target")
        if not isinstance(scores, Tensor) or not isinstance(targets, Tensor):
            return
        spec = LossSpec(
            name=cast(LossName, name),
            weight=given.get("weight"),
            pos_weight=given.get("pos_weight"),
            label_smoothing=float(given.get("label_smoothing") or 0.0),
            ignore_index=int(given.get("ignore_index", -100)),
            reduction=str(given.get("reduction", "mean")),
            soft_targets=name == "cross_entropy" and targets.is_floating_point(),
        )
        self.calls.append(LossCall(spec=spec, scores=scores, targets=targets))

    def _note_rectifier(self, result: Tensor) -> None:
        if result.ndim < 2 or result.numel() == 0:
            return
        off = result.detach() == 0
        # (B, T, F) after a linear layer has its features last; all others have them second.
        if off.ndim == 3 and not self._layers.after_convolution:
            off = off.flatten(0, 1)
        dead = off.flatten(2).all(dim=2).all(dim=0) if off.ndim > 2 else off.all(dim=0)
        self.rectifiers.append(
            Rectifier(after=self._layers.current, units=dead.numel(), dead=int(dead.sum()))
        )


def _square_by_mistake(
    args: tuple[Any, ...], result: Tensor
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The shapes (N, 1) and (N,), when one belongs to the model, one does not, and (N, N) came out.

    Losses that compare every row with every other make squares too, but of two labels or of two
    outputs.
    """
    operands = [one for one in args if isinstance(one, Tensor)]
    if len(operands) != 2:
        return None
    left, right = operands
    n = max(left.numel(), right.numel())
    shapes = {tuple(left.shape), tuple(right.shape)}
    if n < 2 or shapes != {(n, 1), (n,)} or tuple(result.shape) != (n, n):
        return None
    if left.requires_grad == right.requires_grad:
        return None
    return tuple(left.shape), tuple(right.shape)


def _is_layer(module: nn.Module) -> bool:
    """It holds parameters itself and no other layer (a parametrization is no layer)."""
    children = {name for name, _ in module.named_children()}
    if children - {"parametrizations"}:
        return False
    return next(iter(module.parameters()), None) is not None


def _has_matrix(module: nn.Module) -> bool:
    if isinstance(module, (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.Embedding)):
        return False
    return any(parameter.ndim >= 2 for parameter in module.parameters())


def _variation(values: Tensor | None) -> float | None:
    if values is None or values.ndim < 2 or values.shape[0] < 2 or values.numel() == 0:
        return None
    rows = values.detach().flatten(1).float()
    size = rows.square().mean().sqrt()
    between = rows.var(dim=0, unbiased=False).mean().sqrt()
    return float(between / size.clamp(min=1e-30))
