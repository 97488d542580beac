"""Label smoothing by class size (MiSLAS). Comes in: counts, logits, targets. Goes out: a smoothing
for each class, and one number.

A network is surest of its largest classes, and more so than it is right. Smoothing them more than
the small ones takes that back, and leaves the few images of the small ones their full say. It is
made for a second stage on class-balanced batches; it moves confidence, and hardly the prior.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.imbalance.answers import check_batch, full_precision, mean_over_images
from everyclass.imbalance.weights import refuse_empty_classes


def label_aware_smoothing(
    counts: Tensor, *, head: float = 0.4, tail: float = 0.1, classes: Sequence[str] = ()
) -> Tensor:
    """e_c = tail + (head - tail) sin(pi/2 (n_c - n_min) / (n_max - n_min)).

    Args:
        counts: (C,) int64, images per class in the train split, each > 0.
        head: smoothing of the largest class, in [0, 1].
        tail: smoothing of the smallest class, in [0, 1].
        classes: (C,) names for messages; ids when left out.
    Returns:
        (C,) float32 on the device of `counts`; `tail` everywhere where classes are equally large.
    Raises:
        InputError: a class without images (named), or a smoothing outside [0, 1].
    Source: Zhong et al. 2021, arXiv:2104.00466, equation 5 (the concave form).
    Example:
        >>> label_aware_smoothing(torch.tensor([100, 10]))
        tensor([0.4000, 0.1000])
    """
    for name, value in (("head", head), ("tail", tail)):
        if not 0 <= value <= 1:
            raise InputError(f"the smoothing of the {name} is {value}, outside [0, 1].")
    refuse_empty_classes(counts, classes)
    images = counts.detach().to("cpu", torch.float64)
    span = images.max() - images.min()
    place = (images - images.min()) / span if float(span) else torch.zeros_like(images)
    smoothing = tail + (head - tail) * torch.sin(math.pi / 2 * place)
    return smoothing.to(counts.device, torch.float32)


def label_aware_cross_entropy(
    logits: Tensor, targets: Tensor, smoothing: Tensor, *, weights: Tensor | None = None
) -> Tensor:
    """Mean over the images of w_y ((1 - e_y)(-log p_y) + (e_y / C) sum_c (-log p_c)).

    Args:
        logits: (B, C) float; half precision is computed in float32.
        targets: (B,) int64 class ids, or (B, C) float rows that sum to 1.
        smoothing: (C,) float in [0, 1], `label_aware_smoothing`.
        weights: (C,) float, see `weights.py`; None for none.
    Returns:
        () float32, or float64 for float64 logits.
    Raises:
        InputError: shapes do not fit together.
    Source: Zhong et al. 2021, arXiv:2104.00466, equation 4. There e_y goes to the C - 1 other
        classes; here to all C, as label smoothing does elsewhere: e_y (C - 1)/C instead of e_y.
    """
    check_batch(logits, targets, smoothing, name="smoothing")
    check_batch(logits, targets, weights)
    surprise = -functional.log_softmax(full_precision(logits), dim=1)
    share = smoothing.to(surprise.dtype)
    losses = (1 - share) * surprise + share * surprise.mean(dim=1, keepdim=True)
    return mean_over_images(losses, targets, weights)
