"""From a loss for every possible answer to one number. What the losses of this package share.

Comes in: (B, C) losses, entry (i, y) being that of image i if its class were y. Goes out: their
mean over the images at the targets. Written so, a loss knows class ids, soft targets, smoothing
and weights at once, and means the same by each: a one-hot row gives what the class id gives, and
the loss of a mixture is the mixture of the losses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from everyclass.errors import InputError


def full_precision(logits: Tensor) -> Tensor:
    """The logits in float32, or in float64 if they are that."""
    # log_softmax in half precision loses the tail's probabilities: bfloat16 keeps three digits.
    return logits if logits.dtype == torch.float64 else logits.float()


def smoothed(losses: Tensor, label_smoothing: float) -> Tensor:
    """(B, C): (1 - e) times the loss of an answer, plus e times the mean loss of all answers.

    Raises:
        InputError: label_smoothing e outside [0, 1].
    """
    if not 0 <= label_smoothing <= 1:
        raise InputError(f"label_smoothing is {label_smoothing}, outside [0, 1].")
    if label_smoothing == 0:
        return losses
    return (1 - label_smoothing) * losses + label_smoothing * losses.mean(dim=1, keepdim=True)


def mean_over_images(losses: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """() mean over the images of sum_y q_y w_y loss_y, q the one-hot row or the soft target.

    Args:
        losses: (B, C).
        targets: (B,) int64 class ids, or (B, C) float rows that sum to 1.
        weights: (C,) of the classes; None for 1 each.
    """
    if weights is not None:
        losses = weights.to(losses.dtype) * losses
    if targets.ndim == 1:
        return losses.gather(1, targets[:, None]).mean()
    return (targets.to(losses.dtype) * losses).sum(dim=1).mean()


def check_batch(
    logits: Tensor, targets: Tensor, per_class: Tensor | None = None, *, name: str = "weights"
) -> None:
    """Shapes only: reading a value would wait for the accelerator.

    Args:
        logits: (B, C).
        targets: (B,) whole numbers or (B, C) floating point.
        per_class: (C,), or None.
        name: what messages call `per_class`.
    Raises:
        InputError: anything else.
    """
    if logits.ndim != 2:
        raise InputError(f"logits have shape {tuple(logits.shape)}; (B, C) is expected.")
    batch, n_classes = logits.shape
    if per_class is not None and per_class.shape != (n_classes,):
        raise InputError(
            f"{name} have shape {tuple(per_class.shape)}; ({n_classes},) is expected, as the "
            f"logits have {n_classes} columns."
        )
    as_ids = targets.shape == (batch,) and not targets.is_floating_point()
    as_rows = targets.shape == (batch, n_classes) and targets.is_floating_point()
    if not as_ids and not as_rows:
        raise InputError(
            f"targets have shape {tuple(targets.shape)} and type {targets.dtype}; ({batch},) class "
            f"ids or ({batch}, {n_classes}) floating-point rows are expected."
        )
