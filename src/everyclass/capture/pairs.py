"""Pairs of an output and a tensor of a batch: could they be scores and targets, and of which loss?

Comes in: tensors, and nested values that hold some. Goes out: `Reading` values, and the loss whose
value a pair reproduces. Knows no model and no training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everyclass.capture.losses import LossCall, Reading, read_loss
from everyclass.diagnosis.case import LossName
from everyclass.monitoring.measures import ScoreKind

Path = tuple[Any, ...]
"""Keys, positions and field names from a nested value down to one tensor."""

DEPTH = 4

TARGET_NAMES = ("labels", "label", "targets", "target", "y", "class", "class_id", "class_ids")
"""Keys under which batches hold their targets."""

TOLERANCE = 1e-3
"""Relative difference of two values of one loss, one of them perhaps from half precision."""

_LOSS_MODULES: tuple[tuple[type[nn.Module], LossName], ...] = (
    (nn.CrossEntropyLoss, "cross_entropy"),
    (nn.NLLLoss, "nll_loss"),
    (nn.BCEWithLogitsLoss, "binary_cross_entropy_with_logits"),
    (nn.BCELoss, "binary_cross_entropy"),
    (nn.MSELoss, "mse_loss"),
    (nn.L1Loss, "l1_loss"),
    (nn.SmoothL1Loss, "smooth_l1_loss"),
    (nn.HuberLoss, "huber_loss"),
    (nn.KLDivLoss, "kl_div"),
    (nn.MultiMarginLoss, "multi_margin_loss"),
)
_COLUMN_LOSSES: tuple[LossName, ...] = (
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "kl_div",
)


def read_loss_module(module: nn.Module, inputs: Sequence[Any]) -> Reading | None:
    """What a call of one of torch's loss modules says; None for other modules.

    Args:
        inputs: that the module was called with.
    """
    name = next((name for kind, name in _LOSS_MODULES if isinstance(module, kind)), None)
    tensors = [one for one in inputs if isinstance(one, Tensor)]
    if name is None or len(tensors) != 2:
        return None
    ignored = getattr(module, "ignore_index", -100)
    reading = read_pair(name, tensors[0], tensors[1], ignore_index=ignored)
    return reading if isinstance(reading, Reading) else None


def read_pair(
    name: LossName,
    scores: Tensor,
    targets: Tensor,
    *,
    ignore_index: int = -100,
    look: bool = False,
) -> Reading | str:
    """Scores and targets by the rules of a loss, or why they do not fit it.

    Args:
        targets: (B,) or (B, 1) class ids, or (B, C) one-hot rows of any type.
        look: whether values may be read, see `losses.read_loss`.
    """
    targets = targets.detach().to(scores.device)
    if name == "cross_entropy" and targets.dim() == 2:
        targets = targets.squeeze(1) if targets.shape[1] == 1 else targets.float()
    options = {"ignore_index": ignore_index}
    call = LossCall(name=name, inputs=scores.detach(), targets=targets, options=options)
    return read_loss(call, look=look)


@torch.no_grad()
def reproduces(
    loss: float, scores: Tensor, targets: Tensor
) -> tuple[LossName, ScoreKind | None] | None:
    """The loss that gives this value for the pair, and the kind of scores if it implies another.

    Args:
        loss: mean over the images.
    Returns:
        None when it is no plain loss of the pair (weights, smoothing, mixed images).
    """
    scores = scores.float()
    targets = targets.to(scores.device)
    reading = read_pair("cross_entropy", scores, targets, look=True)
    if isinstance(reading, Reading):
        counts = (reading.targets >= 0) & (reading.targets < reading.scores.shape[1])
        rows, own = reading.scores[counts], reading.targets[counts]
        if len(rows) and _close(float(F.cross_entropy(rows, own)), loss):
            return "cross_entropy", None
        if len(rows) and _are_probabilities(rows):
            likelihood = rows.gather(1, own[:, None]).clamp(min=1e-12)
            if _close(float(-likelihood.log().mean()), loss):
                return "cross_entropy", "probabilities"
    for name in _COLUMN_LOSSES:
        if not isinstance(read_pair(name, scores, targets, look=True), Reading):
            continue
        if name == "binary_cross_entropy" and not in_unit_interval(scores):
            continue
        value = getattr(F, name)(scores, targets.float().reshape(scores.shape))
        if _close(float(value), loss):
            return name, None
    return None


def could_be(scores: Tensor, targets: Tensor) -> bool:
    """By shape and type: (B, C) with (B,), (B, 1) or (B, C); (B,) or (B, 1) with (B,) or (B, 1)."""
    if scores.dim() not in (1, 2) or targets.dim() not in (1, 2) or len(scores) != len(targets):
        return False
    columns = scores.shape[1] if scores.dim() == 2 else 1
    wide = targets.shape[1] if targets.dim() == 2 else 1
    if not scores.is_floating_point() or len(scores) == 0:
        return False
    if columns > 1 and wide == 1:
        return not targets.is_floating_point()
    return wide == columns


def within_classes(scores: Tensor, targets: Tensor) -> bool:
    """Whether the values could be class ids of these columns; negative ones do not count."""
    columns = scores.shape[1] if scores.dim() == 2 else 1
    if targets.dim() == 2 and targets.shape[1] > 1:
        return True
    known = targets[targets >= 0]
    return bool((known < max(columns, 2)).all()) and bool((known == known.round()).all())


def in_unit_interval(scores: Tensor) -> bool:
    """Whether all are in [0, 1]."""
    return bool(((scores >= 0) & (scores <= 1)).all())


def _are_probabilities(scores: Tensor) -> bool:
    return in_unit_interval(scores) and bool(((scores.sum(dim=1) - 1).abs() < 1e-3).all())


def _close(value: float, loss: float) -> bool:
    return abs(value - loss) <= TOLERANCE * abs(loss) + 1e-6


# -- nested values ---------------------------------------------------------------------------------


def tensor_paths(value: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Tensors inside tuples, lists, mappings and dataclasses, each with the way to it."""
    if isinstance(value, Tensor):
        yield path, value
    elif len(path) < DEPTH:
        for key, one in _parts(value):
            yield from tensor_paths(one, (*path, key))


def tensor_at(path: Path, value: Any) -> Tensor | None:
    """The tensor at the end of the way; None when it leads nowhere."""
    for key in path:
        value = next((one for name, one in _parts(value) if name == key), None)
    return value if isinstance(value, Tensor) else None


def shapes_in_words(value: Any) -> str:
    """The shapes of the tensors inside, with the way to each; at most six."""
    found = [
        f"{path_in_words(path)} {tuple(one.shape)}".strip() for path, one in tensor_paths(value)
    ]
    return ", ".join(found[:6])


def path_in_words(path: Path) -> str:
    """As one would index: [0]['labels']."""
    return "".join(f"[{key!r}]" for key in path)


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, (tuple, list)):
        yield from enumerate(value)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from ((one.name, getattr(value, one.name)) for one in fields(value))
