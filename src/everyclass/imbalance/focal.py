"""Focal losses. Comes in: logits and targets of a batch. Goes out: one number.

The focal loss turns away from images that are recognised already. It knows nothing of counts, and
alone it is no cure of imbalance (CIFAR-10-LT at ratio 100: 71.6 % where plain cross-entropy has
70.4 to 72.0); with class weights it is one (75.2 %).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.imbalance.answers import check_batch, full_precision, mean_over_images, smoothed
from everyclass.imbalance.weights import effective_number_weights, normalise

LEAST_MISS = 1e-12
"""Below this, 1 - p is a constant: for gamma < 1 its power has an infinite slope at 0."""


def focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma: float = 2.0,
    weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean over the images of w_y (1 - p_y)^gamma (-log p_y), p = softmax(logits).

    p_y is that of the network, untouched by the weight, which multiplies outside. Implementations
    that take exp(-weighted cross-entropy) for p_y focus by p_y^(w_y) instead, and with large
    weights on nothing at all. This is the softmax form: its outputs are one distribution over the
    classes, where the sigmoid form has C answers to yes or no.

    Args:
        logits: (B, C) float; half precision is computed in float32.
        targets: (B,) int64 class ids, or (B, C) float rows that sum to 1 (then the loss is the
            mixture of those of the class ids).
        gamma: >= 0; 0 is (weighted) cross-entropy.
        weights: (C,) float, see `weights.py`; None for none.
        label_smoothing: e in [0, 1]: (1 - e) times the loss plus e times its mean over answers.
    Returns:
        () float32, or float64 for float64 logits.
    Raises:
        InputError: shapes do not fit together, gamma negative, label_smoothing outside [0, 1].
    Source: Lin et al. 2017, arXiv:1708.02002, equation 4.
    Example:
        >>> focal_loss(torch.zeros(1, 2), torch.tensor([0]))  # 1/4 ln 2
        tensor(0.1733)
    """
    check_batch(logits, targets, weights)
    if gamma < 0:
        raise InputError(f"gamma is {gamma}; the focal loss needs gamma >= 0.")
    log_probs = functional.log_softmax(full_precision(logits), dim=1)
    losses = -log_probs
    if gamma:
        losses = (-torch.expm1(log_probs)).clamp(min=LEAST_MISS) ** gamma * losses
    return mean_over_images(smoothed(losses, label_smoothing), targets, weights)


class ClassBalancedFocalLoss(nn.Module):
    """Focal loss with the weights of the effective numbers of images.

    The weights have mean 1 over the images, so that the learning rate means what it means without
    them. `focal_loss` with any other weights is one call away.

    Args:
        counts: (C,) int64, images per class in the train split, each > 0.
        beta: in [0, 1), see `effective_number_weights`.
        gamma: >= 0, of the focal loss.
        classes: (C,) names for messages.
    Raises:
        InputError: a class without images (named), beta or gamma outside its range.
    Source: Cui et al. 2019, arXiv:1901.05555, section 4.3 (there with sigmoids).
    """

    weights: Tensor

    def __init__(
        self,
        counts: Tensor,
        *,
        beta: float = 0.999,
        gamma: float = 1.0,
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if gamma < 0:
            raise InputError(f"gamma is {gamma}; the focal loss needs gamma >= 0.")
        self.gamma = gamma
        own = effective_number_weights(counts, beta=beta, classes=classes)
        self.register_buffer("weights", normalise(own, counts), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """() loss of a batch; arguments as for `focal_loss`."""
        return focal_loss(logits, targets, gamma=self.gamma, weights=self.weights)
