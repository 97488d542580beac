"""A temperature for each class while training (CDT). Comes in: counts, logits, targets. Goes out:
temperatures, and one number.

What a network overfits on is its small classes: on their few images its values for them are high,
on new ones they are not. Divided by a temperature in training, they have to be higher still, and
without it at prediction the gap is made up for. That is no shift of the prior: the logits of the
trained network, undivided, belong to no set of frequencies exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.imbalance.answers import check_batch, full_precision, mean_over_images, smoothed
from everyclass.imbalance.weights import refuse_empty_classes


def class_temperatures(
    counts: Tensor, *, gamma: float = 0.2, classes: Sequence[str] = ()
) -> Tensor:
    """a_c = (n_max / n_c)^gamma: 1 for the largest class, more for smaller ones.

    Args:
        counts: (C,) int64, images per class in the train split, each > 0.
        gamma: >= 0; 0 is plain training.
        classes: (C,) names for messages; ids when left out.
    Returns:
        (C,) float32 on the device of `counts`.
    Raises:
        InputError: a class without images (named), or gamma negative.
    Source: Ye et al. 2020, arXiv:2001.01385, section 4.
    Example:
        >>> class_temperatures(torch.tensor([100, 1]), gamma=0.5)
        tensor([ 1., 10.])
    """
    if gamma < 0:
        raise InputError(f"gamma is {gamma}; temperatures need gamma >= 0.")
    refuse_empty_classes(counts, classes)
    images = counts.detach().to("cpu", torch.float64)
    return ((images.max() / images) ** gamma).to(counts.device, torch.float32)


def class_temperature_cross_entropy(
    logits: Tensor, targets: Tensor, temperatures: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Mean over the images of the cross-entropy of logits / a_c. Predict without the a_c.

    Args:
        logits: (B, C) float; half precision is computed in float32.
        targets: (B,) int64 class ids, or (B, C) float rows that sum to 1.
        temperatures: (C,) float > 0, `class_temperatures`.
        label_smoothing: in [0, 1], spread evenly over the classes.
    Returns:
        () float32, or float64 for float64 logits.
    Raises:
        InputError: shapes do not fit together, or label_smoothing outside [0, 1].
    Source: Ye et al. 2020, arXiv:2001.01385, equation 5.
    """
    check_batch(logits, targets, temperatures, name="temperatures")
    values = full_precision(logits)
    losses = -functional.log_softmax(values / temperatures.to(values.dtype), dim=1)
    return mean_over_images(smoothed(losses, label_smoothing), targets)
