"""Losses for imbalanced classes. Comes in: logits and targets of a batch. Goes out: one number.

Each loss is a mean over the *images* of the batch. The library's weighted cross-entropy divides by
the sum of the weights in the batch instead, and with that: scaling the weights changes nothing; at
batch size 1 the weights are ignored; a batch's gradient depends on who else is in it, so that
gradient accumulation and averaging over processes give other gradients than one large batch
(pytorch #61309, #72047). A mean over images has none of this.

Nothing here waits for the accelerator: values are not checked, shapes are.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from everyclass.imbalance.answers import (
    check_batch,
    full_precision,
    mean_over_images,
    smoothed,
)

LEAST_LOG_PRIOR = math.log(1e-12)
"""Stands for log 0 in a loss. No real class is rarer than one image in 10^12."""


def weighted_cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Mean over the images of w_y times the smoothed cross-entropy.

    For a class id y: w_y ((1 - e)(-log p_y) + (e/C) sum_c (-log p_c)). The weight of the image's
    own class multiplies the whole; the weights of the other classes have no say. In the library's
    loss each smoothing term carries the weight of *its* class, so that for an image of a class of
    small weight the best answer becomes the rare class (pytorch #104776).

    For soft targets q (mixup, CutMix): sum_y q_y times the loss of class id y. The loss of a
    mixture is the mixture of the losses; a one-hot q gives what the class id gives, and the mean
    stays one over images, so that switching mixup on rescales nothing.

    Args:
        logits: (B, C) float; half precision is computed in float32.
        targets: (B,) int64 class ids, or (B, C) float rows that sum to 1. Smooth them by
            `label_smoothing`, not beforehand: mass that sits in q is weighted as its class.
        weights: (C,) float, see `weights.py`. A mean of 1 over the images keeps the loss's scale.
        label_smoothing: e in [0, 1].
    Returns:
        () float32, or float64 for float64 logits.
    Raises:
        InputError: shapes do not fit together, or label_smoothing outside [0, 1].
    """
    check_batch(logits, targets, weights)
    return mean_over_images(_loss_of_each_answer(logits, label_smoothing), targets, weights)


def logit_adjusted_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    log_prior: Tensor,
    *,
    tau: float = 1.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean over the images of the cross-entropy of logits + tau * log_prior.

    The rare class has to win against its own rarity while training; without the addition, at
    prediction, the raw logits are then those for balanced classes (tau = 1, the balanced softmax).
    Train with it, predict without it.

    A class of prior 0 counts as one of prior 1e-12, so that nothing becomes infinite or, at
    tau = 0, NaN; such a class gets no gradient to speak of and is better left out of the outputs.

    Args:
        logits: (B, C) float; half precision is computed in float32.
        targets: (B,) int64 class ids, or (B, C) float rows that sum to 1.
        log_prior: (C,) float, log frequencies of the classes in the stream that is trained on
            (`prior.log_prior`).
        tau: strength; 0 is plain cross-entropy, 1 the full correction.
        label_smoothing: in [0, 1], spread evenly over the classes.
    Returns:
        () float32, or float64 for float64 logits.
    Raises:
        InputError: shapes do not fit together, or label_smoothing outside [0, 1].
    Source: Menon et al. 2021, arXiv:2007.07314, equation 10; tau = 1: Ren et al. 2020,
        arXiv:2007.10740.
    """
    check_batch(logits, targets, log_prior, name="log_prior")
    offset = tau * log_prior.clamp(min=LEAST_LOG_PRIOR)
    return mean_over_images(
        _loss_of_each_answer(full_precision(logits) + offset, label_smoothing), targets
    )


def _loss_of_each_answer(logits: Tensor, label_smoothing: float) -> Tensor:
    """(B, C): entry (i, y) is the smoothed cross-entropy of image i if its class were y."""
    return smoothed(-functional.log_softmax(full_precision(logits), dim=1), label_smoothing)
