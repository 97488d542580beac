"""Repeat-factor sampling: rare classes more often, and no image left out. Comes in: labels or
counts. Goes out: factors, the stream's prior, one order an epoch.

r_c = max(1, sqrt(t / p_c)): a class rarer than t is repeated, by the square root of what it lacks;
others come as they are. Class-balanced sampling at ratio 72 shows each of 60 images 14 times an
epoch and leaves 82 % of the largest class out; repeat factors with t = 1/C show them 3.8 times and
leave nothing out.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from everyclass.errors import InputError
from everyclass.imbalance.sampling import Order, checked_labels, order_of_draws, whole_draws

Floats = NDArray[np.float64]


def repeat_factors(counts: Tensor, *, threshold: float | None = None) -> Tensor:
    """How often an image of each class comes in an epoch, on average.

    Args:
        counts: (C,) int64, images per class, not all 0.
        threshold: t, the share below which a class is repeated, > 0; 1/C when left out, C the
            number of classes with images.
    Returns:
        (C,) float32 on the device of `counts`, each >= 1.
    Raises:
        InputError: counts are not (C,), negative or all 0, or a threshold that is not positive.
    Source: Gupta, Dollar and Girshick 2019 (LVIS), arXiv:1908.03195, appendix B.2, for images of
        one class each.
    Example:
        >>> repeat_factors(torch.tensor([90, 10]), threshold=0.4)
        tensor([1., 2.])
    """
    factors = _factors(_checked(counts), threshold)
    return torch.from_numpy(factors).to(torch.float32).to(counts.device)


def repeat_factor_prior(counts: Tensor, *, threshold: float | None = None) -> Tensor:
    """The class frequencies of the stream: n_c r_c / sum_j n_j r_j. Exact, see `epoch_order`.

    Args, errors: as `repeat_factors`.

    Returns:
        (C,) float32 on the device of `counts`, sums to 1.
    """
    images = _checked(counts)
    mass = images * _factors(images, threshold)
    return torch.from_numpy(mass / mass.sum()).to(torch.float32).to(counts.device)


def repeat_factor_order(
    labels: ArrayLike,
    *,
    seed: int,
    epoch: int,
    threshold: float | None = None,
    draws: int | None = None,
) -> Order:
    """The rows to visit in one epoch, in order: class c is drawn n_c r_c times, to within one.

    A pure function of its arguments, as `epoch_order`; over epochs, too, each class is within one
    of its share. Where LVIS rounds each image's factor by chance, here a class goes through its
    images in shuffled rounds: images of a class that is not repeated come once an epoch, and
    visits of two images of any class differ by one at most, however many epochs there were.

    Args:
        labels: (N,) integers >= 0, N > 0; the class of each row.
        seed: any integer.
        epoch: from 0.
        threshold: as for `repeat_factors`.
        draws: rows of an epoch. Left out: sum_c n_c r_c, to within C. With N an epoch costs what a
            natural one costs, the shares stay (each class to within two), and the large classes
            are gone through in somewhat more than one epoch.
    Returns:
        (M,) int64 rows in [0, N).
    Raises:
        InputError: labels as for `epoch_order`, a negative epoch, a threshold that is not positive,
            or so few draws that a class would have less than one.
    """
    ids = checked_labels(labels)
    if epoch < 0:
        raise InputError(f"epoch is {epoch}; the first is 0.")
    images = np.bincount(ids).astype(np.float64)
    wished = images * _factors(images, threshold)
    if draws is None:
        # Class by class, so that a whole number of draws stays that number.
        starts, stops = (np.floor(e * wished).astype(np.int64) for e in (epoch, epoch + 1))
        return order_of_draws(ids, starts, stops, seed=seed, epoch=epoch)
    wished *= draws / wished.sum()
    least = float(wished[images > 0].min())
    if least < 1 - 1e-9:
        raise InputError(
            f"{draws} draws leave {least:.2g} of an epoch to a class.",
            remedy="Draw more an epoch, or leave `draws` out.",
        )
    starts, stops = whole_draws(epoch * wished), whole_draws((epoch + 1) * wished)
    return order_of_draws(ids, starts, stops, seed=seed, epoch=epoch)


def _factors(images: Floats, threshold: float | None) -> Floats:
    present = images > 0
    limit = 1 / int(present.sum()) if threshold is None else threshold
    if not limit > 0:
        raise InputError(f"the threshold is {threshold}; a share above 0 is expected.")
    shares = np.where(present, images, images.sum()) / images.sum()
    factors: Floats = np.maximum(1.0, np.sqrt(limit / shares))
    return factors


def _checked(counts: Tensor) -> Floats:
    images: Floats = counts.detach().cpu().numpy().astype(np.float64)
    if images.ndim != 1 or images.size == 0 or images.min() < 0 or images.max() == 0:
        raise InputError(
            f"counts have shape {tuple(counts.shape)}; (C,) numbers >= 0, not all 0, are expected."
        )
    return images
