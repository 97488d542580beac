"""What a call of one of torch's losses says about classes.

Comes in: the name of the loss, its arguments. Goes out: scores (B, C) and targets (B,) for the
monitor, and a `LossSpec`; or the reason why the call is not about classes of images. Knows no
training and nothing of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from everyclass.diagnosis.case import REGRESSION_LOSSES, LossName, LossSpec
from everyclass.diagnosis.nested import plain
from everyclass.monitoring.measures import ScoreKind

WATCHED_LOSSES: tuple[LossName, ...] = tuple(
    name for name in get_args(LossName) if name != "by_hand"
)

_ARGUMENTS: Mapping[LossName, tuple[str, ...]] = {
    "cross_entropy": (
        *("input", "target", "weight", "size_average", "ignore_index", "reduce", "reduction"),
        "label_smoothing",
    ),
    "nll_loss": (
        *("input", "target", "weight", "size_average", "ignore_index", "reduce", "reduction"),
    ),
    "binary_cross_entropy_with_logits": (
        *("input", "target", "weight", "size_average", "reduce", "reduction", "pos_weight"),
    ),
    "binary_cross_entropy": (
        *("input", "target", "weight", "size_average", "reduce", "reduction"),
    ),
    "mse_loss": ("input", "target", "size_average", "reduce", "reduction", "weight"),
    "l1_loss": ("input", "target", "size_average", "reduce", "reduction", "weight"),
    "smooth_l1_loss": ("input", "target", "size_average", "reduce", "reduction", "beta"),
    "huber_loss": ("input", "target", "reduction", "delta", "weight"),
    "kl_div": ("input", "target", "size_average", "reduce", "reduction", "log_target"),
    "multi_margin_loss": (
        *("input", "target", "p", "margin", "weight", "size_average", "reduce", "reduction"),
    ),
}
_EPSILON = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class LossCall:
    """The arguments of one call, by name, and what kind of loss it is.

    Args:
        name: the function of `torch.nn.functional`.
        inputs: its first argument, detached.
        targets: its second argument, detached.
        options: the other arguments that were given.
    """

    name: LossName
    inputs: Tensor
    targets: Tensor
    options: Mapping[str, Any]

    def spec(self) -> LossSpec:
        """Kind and arguments, for checks and trials."""
        options = self.options
        soft = self.targets.is_floating_point() and self.targets.dim() == 2
        return LossSpec(
            name=self.name,
            weight=options.get("weight"),
            pos_weight=options.get("pos_weight"),
            label_smoothing=float(options.get("label_smoothing", 0.0)),
            ignore_index=int(options.get("ignore_index", -100)),
            reduction=str(options.get("reduction", "mean")),
            soft_targets=soft and self.targets.shape[1] > 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A call in the monitor's terms.

    Args:
        scores: (B, C) float; of a single sigmoid unit z the two columns 0 and z.
        targets: (B,) int64; what does not count is negative.
        kind: what the scores are.
    """

    scores: Tensor
    targets: Tensor
    kind: ScoreKind


def bind_loss(
    name: LossName, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> LossCall | None:
    """The call's arguments by name; None when inputs or targets are not plain tensors.

    Tensors of other types (distributed, fake, inside `torch.func`) must not outlive the call.
    """
    given = dict(zip(_ARGUMENTS[name], arguments))
    given.update(keywords)
    inputs, targets = (_plain(given.pop(name, None)) for name in ("input", "target"))
    if inputs is None or targets is None:
        return None
    if torch._C._functorch.is_functorch_wrapped_tensor(inputs):
        return None
    if inputs.is_cuda and torch.cuda.is_current_stream_capturing():
        return None
    options = {key: value for key, value in given.items() if value is not None}
    return LossCall(name=name, inputs=inputs.detach(), targets=targets.detach(), options=options)


def _plain(value: Any) -> Tensor | None:
    return plain(value) if isinstance(value, Tensor) else None


def read_loss(call: LossCall, *, look: bool) -> Reading | str:
    """Scores and targets of a call, or why it is not about classes.

    Args:
        look: whether values may be read (which waits for the device): one-hot targets and binary
            ones cannot be told from numbers to be regressed by their shape. Without it the
            targets are taken to be what they were when somebody looked.
    """
    if not call.inputs.is_floating_point():
        return f"{call.name} got inputs of {call.inputs.dtype}"
    if call.inputs.numel() == 0:
        return f"{call.name} got an empty batch"
    if call.name in ("cross_entropy", "nll_loss", "multi_margin_loss"):
        return _read_class_ids(call)
    return _read_columns(call, look=look)


def class_ids_as_probabilities(call: LossCall) -> int | None:
    """The largest target, where a binary cross-entropy got class ids; None where it did not.

    softplus(z) - t z has no minimum for t > 1: the output of such an image grows without end. A
    loss that is not reduced may be masked afterwards, so it is not looked at. Reads values.
    """
    if call.name != "binary_cross_entropy_with_logits" or call.targets.numel() == 0:
        return None
    if call.options.get("reduction", "mean") == "none":
        return None
    targets = call.targets.float()
    largest = float(targets.max())
    whole = bool((targets == targets.round()).all()) and float(targets.min()) >= 0
    return int(largest) if whole and largest >= 2 else None


SpreadShapes = tuple[Sequence[int], Sequence[int], Sequence[int]]
"""Of outputs, of targets, and what both are spread to."""


def spread_shapes(call: LossCall) -> SpreadShapes | None:
    """Shapes that torch spreads to a larger one than either has; None where they fit.

    Losses of differences alone take such shapes, with a warning. Reads no value.
    """
    given, wanted = call.inputs.shape, call.targets.shape
    if call.name not in REGRESSION_LOSSES or given == wanted:
        return None
    try:
        both: torch.Size = torch.broadcast_shapes(given, wanted)  # type: ignore[no-untyped-call]
    except RuntimeError:
        return None
    return (given, wanted, both) if both.numel() > max(given.numel(), wanted.numel()) else None


def ids_spread_over_classes(call: LossCall) -> int | None:
    """The largest class id, where a loss of differences got a column of ids for columns of scores,
    so that each class's output is to be the id; None where it did not. Reads values.
    """
    inputs, targets = call.inputs, call.targets
    if call.name not in REGRESSION_LOSSES or inputs.dim() != 2 or targets.numel() == 0:
        return None
    if inputs.shape[1] < 3 or tuple(targets.shape) != (inputs.shape[0], 1):
        return None
    values = targets.float()
    whole = bool((values == values.round()).all()) and float(values.min()) >= 0
    largest = int(values.max())
    return largest if whole and 2 <= largest < inputs.shape[1] else None


def _read_class_ids(call: LossCall) -> Reading | str:
    inputs, targets = call.inputs, call.targets
    if inputs.dim() == 1:
        inputs, targets = inputs[None], targets[None]
    elif inputs.dim() > 2:
        if inputs[0, 0].numel() > 1:
            return (
                f"{call.name} got outputs of shape {tuple(call.inputs.shape)}: an answer a pixel "
                "or a position, which is not image classification"
            )
        inputs, targets = inputs.flatten(1), targets.flatten(1)
    if inputs.shape[1] < 2:
        return f"{call.name} got one output column: softmax over one unit is always 1"
    if targets.is_floating_point():
        if targets.shape != inputs.shape:
            return f"{call.name} got targets of shape {tuple(call.targets.shape)}"
        targets = targets.argmax(1)
    if targets.dim() != 1 or targets.dtype is not torch.int64:
        targets = targets.reshape(-1).long()
    if targets.shape[0] != inputs.shape[0]:
        return f"{call.name} got {len(inputs)} rows of outputs and {len(targets)} targets"
    ignored = int(call.options.get("ignore_index", -100))
    if 0 <= ignored < inputs.shape[1]:
        targets = torch.where(targets == ignored, -100, targets)
    kind: ScoreKind = "scores" if call.name == "multi_margin_loss" else "logits"
    return Reading(scores=inputs, targets=targets, kind=kind)


def _read_columns(call: LossCall, *, look: bool) -> Reading | str:
    inputs, targets = call.inputs, call.targets
    if call.name == "kl_div":
        return _read_distributions(call, look=look)
    if inputs.dim() >= 2 and inputs.shape[1] > 1 and inputs.numel() > inputs.shape[0]:
        return _read_one_hot(call, look=look)
    z, y = inputs.reshape(-1), targets.reshape(-1).float()
    if inputs.dim() > 1 and len(z) != len(inputs):
        return (
            f"{call.name} got outputs of shape {tuple(inputs.shape)}: an answer a pixel or a "
            "position, which is not image classification"
        )
    if len(z) != len(y):
        return f"{call.name} got {len(z)} outputs and {len(y)} targets"
    if look and not bool(((y == 0) | (y == 1)).all()):
        return f"{call.name} got targets other than 0 and 1: numbers, not classes"
    zero = torch.zeros_like(z)
    if call.name == "binary_cross_entropy_with_logits":
        scores, kind = torch.stack([zero, z], 1), "logits"
    elif call.name == "binary_cross_entropy":
        p = z.clamp(_EPSILON, 1 - _EPSILON)
        scores, kind = torch.stack([zero, p.logit()], 1), "logits"
    else:
        scores, kind = torch.stack([zero, z - 0.5], 1), "scores"
    return Reading(scores=scores, targets=(y > 0.5).long(), kind=kind)  # type: ignore[arg-type]


def _read_distributions(call: LossCall, *, look: bool) -> Reading | str:
    inputs, targets = call.inputs, call.targets
    if inputs.dim() != 2 or inputs.shape[1] < 2 or targets.shape != inputs.shape:
        return f"kl_div got shapes {tuple(inputs.shape)} and {tuple(targets.shape)}"
    if look:
        shares = targets.exp() if call.options.get("log_target") else targets
        top = shares.max(dim=1).values
        if not bool(((shares.sum(dim=1) - 1).abs() < 1e-3).all()) or bool((top < 0.5).any()):
            return "kl_div got targets without one class an image, as in distillation"
    return Reading(scores=inputs, targets=targets.argmax(1), kind="logits")


def _read_one_hot(call: LossCall, *, look: bool) -> Reading | str:
    inputs, targets = call.inputs, call.targets
    if inputs.dim() != 2 or targets.shape != inputs.shape:
        return (
            f"{call.name} got outputs of shape {tuple(inputs.shape)} and targets of shape "
            f"{tuple(targets.shape)}, not one row of class columns an image"
        )
    if look and not bool((((targets == 0) | (targets == 1)).all(1) & (targets.sum(1) == 1)).all()):
        return f"{call.name} got targets that are not one-hot: several labels an image, or numbers"
    return Reading(scores=inputs, targets=targets.argmax(1), kind="scores")


def loss_function(
    call: LossCall, original: Callable[..., Tensor]
) -> Callable[[Tensor, Tensor], Tensor]:
    """The same loss with the same other arguments, as a function of inputs and targets.

    Args:
        original: torch's function, without a watch on it.
    """
    options = dict(call.options)

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        return original(inputs, targets, **options)

    return loss


TRANSFORMS: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    ("", lambda x: x),
    ("log_softmax", lambda x: F.log_softmax(x.float(), dim=1)),
    ("softmax", lambda x: torch.softmax(x.float(), dim=1)),
    ("sigmoid", lambda x: torch.sigmoid(x)),
)
"""What scripts put between the model and the loss, tried in this order."""


@torch.no_grad()
def find_transform(
    outputs: Tensor, inputs: Tensor
) -> tuple[str, Callable[[Tensor], Tensor]] | None:
    """The step from the model's output to what the loss got, recognised by its values.

    Args:
        outputs, inputs: of the same batch, on the same device.
    Returns:
        Its name ("" for none) and the function, which also restores the shape; None when it is
        none of `TRANSFORMS`.
    """
    if outputs.numel() != inputs.numel():
        return None
    shape = inputs.shape[1:]
    for name, transform in TRANSFORMS:
        if name and outputs.dim() < 2:
            continue
        there = transform(outputs).reshape(inputs.shape).to(inputs.dtype)
        if torch.allclose(there, inputs, rtol=1e-4, atol=1e-5, equal_nan=True):
            return name, _Step(transform, tuple(shape))
    return None


class _Step:
    """A transform followed by the shape that the loss saw."""

    def __init__(self, transform: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
        self._transform = transform
        self._shape = shape

    def __call__(self, outputs: Tensor) -> Tensor:
        return self._transform(outputs).reshape(-1, *self._shape)
