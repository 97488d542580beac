"""Margins that grow as classes get smaller (LDAM). Comes in: counts, scaled cosines, targets.
Goes out: margins, one number, and the head that gives such cosines.

Logits here are *already scaled*, s cos(w_c, x): what the head gives in training is what it gives at
prediction. The margins are cosines, and the loss multiplies them by s, once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.imbalance.answers import check_batch, full_precision, mean_over_images, smoothed
from everyclass.imbalance.weights import refuse_empty_classes

LARGEST_MARGIN = 0.5
SCALE = 30.0


def ldam_margins(
    counts: Tensor, *, largest: float = LARGEST_MARGIN, classes: Sequence[str] = ()
) -> Tensor:
    """m_c = largest n_c^(-1/4) / max_j n_j^(-1/4): the smallest class has the largest margin.

    Args:
        counts: (C,) int64, images per class in the train split, each > 0.
        largest: margin of the smallest class, a cosine, >= 0.
        classes: (C,) names for messages; ids when left out.
    Returns:
        (C,) float32 on the device of `counts`.
    Raises:
        InputError: a class without images (named), or `largest` negative.
    Source: Cao et al. 2019, arXiv:1906.07413, equation 13.
    Example:
        >>> ldam_margins(torch.tensor([16, 1]))
        tensor([0.2500, 0.5000])
    """
    if largest < 0:
        raise InputError(f"the largest margin is {largest}; it must not be negative.")
    refuse_empty_classes(counts, classes)
    images = counts.detach().to("cpu", torch.float64)
    margins = largest * (images / images.min()) ** -0.25
    return margins.to(counts.device, torch.float32)


def ldam_loss(
    logits: Tensor,
    targets: Tensor,
    margins: Tensor,
    *,
    scale: float = SCALE,
    weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean over the images of w_y times the cross-entropy with s m_y taken off the logit of y.

    -log(exp(f_y - s m_y) / (exp(f_y - s m_y) + sum_(c != y) exp f_c)).

    Args:
        logits: (B, C) float, s times cosines (`CosineLinear`); half precision is computed in
            float32.
        targets: (B,) int64 class ids, or (B, C) float rows that sum to 1.
        margins: (C,) float, `ldam_margins`.
        scale: s, the one that the logits carry.
        weights: (C,) float for the late epochs (`deferred_weights`); None for none.
        label_smoothing: e in [0, 1]: (1 - e) times the loss plus e times its mean over answers.
    Returns:
        () float32, or float64 for float64 logits.
    Raises:
        InputError: shapes do not fit together, label_smoothing outside [0, 1].
    Source: Cao et al. 2019, arXiv:1906.07413, equation 12. Their code multiplies cosines by s
        inside the loss: the same number.
    """
    check_batch(logits, targets, margins, name="margins")
    check_batch(logits, targets, weights)
    values = full_precision(logits)
    lead = _log_sum_of_others(values) - values + scale * margins.to(values.dtype)
    return mean_over_images(smoothed(functional.softplus(lead), label_smoothing), targets, weights)


def _log_sum_of_others(values: Tensor) -> Tensor:
    """(B, C): entry (i, y) is log sum_(c != y) exp f_c.

    The sum of all, less its own share: log sum exp f + log(1 - p_y). Only the most probable class
    can have p above 1/2, where 1 - p loses its digits; its entry is summed anew.
    """
    top = values.argmax(dim=1, keepdim=True)
    rest = values.scatter(1, top, float("-inf")).logsumexp(dim=1, keepdim=True)
    probs = functional.softmax(values, dim=1).clamp(max=0.5)
    others = values.logsumexp(dim=1, keepdim=True) + torch.log1p(-probs)
    return others.scatter(1, top, rest)


class CosineLinear(nn.Module):
    """A last layer without lengths: s cos(w_c, x). A class cannot win by a long row of weights.

    Args:
        in_features: D.
        out_features: C.
        scale: s; logits lie in [-s, s].
    Source: Cao et al. 2019, arXiv:1906.07413, section 3.2; their `NormedLinear` with s.
    """

    def __init__(self, in_features: int, out_features: int, *, scale: float = SCALE) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.normal_(self.weight)  # lengths do not matter, directions are even

    def forward(self, features: Tensor) -> Tensor:
        """(..., C) logits of (..., D) features; a row of zeros gives zeros."""
        rows = functional.normalize(self.weight, dim=1)
        return self.scale * functional.linear(functional.normalize(features, dim=-1), rows)
