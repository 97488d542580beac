"""Loss weights from class counts. Comes in: (C,) counts. Goes out: (C,) weights, never a loss.

Two normalisations are in use, and a rate tuned under one is off by their ratio under the other:
- *over classes*: the weights sum to C, so their mean over the classes is 1;
- *over images*: sum_c p_c w_c = 1, so their mean over the images is 1 and a weighted loss keeps
  the scale of the plain one. With the mean-over-images losses of `losses.py`, this one keeps the
  learning rate.

At the counts 4323/583/491/264/183/80/60, inverse frequency over images reaches 14.2, over classes
2.75: the same weights, five times the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from everyclass.errors import InputError

MeanOver = Literal["classes", "images"]


def inverse_frequency_weights(counts: Tensor, *, classes: Sequence[str] = ()) -> Tensor:
    """w_c proportional to 1/n_c, summing to C.

    Args:
        counts: (C,) int64, images per class in the train split, each > 0.
        classes: (C,) names for messages; ids when left out.
    Returns:
        (C,) float32 on the device of `counts`.
    Raises:
        InputError: a class without images (named).
    Example:
        >>> inverse_frequency_weights(torch.tensor([1, 3]))
        tensor([1.5000, 0.5000])
    """
    return _finish(1 / _checked(counts, classes), counts, "classes")


def balanced_weights(counts: Tensor, *, classes: Sequence[str] = ()) -> Tensor:
    """w_c = N / (C n_c): inverse frequency with mean 1 over the images.

    What scikit-learn calls `class_weight="balanced"`. Arguments, result and errors as for
    `inverse_frequency_weights`.

    Source: King and Zeng 2001, "Logistic regression in rare events data", section 4.
    Example:
        >>> balanced_weights(torch.tensor([1, 3]))
        tensor([2.0000, 0.6667])
    """
    return _finish(1 / _checked(counts, classes), counts, "images")


def square_root_weights(
    counts: Tensor, *, mean_over: MeanOver = "classes", classes: Sequence[str] = ()
) -> Tensor:
    """w_c proportional to 1/sqrt(n_c): half of the correction, on the scale of logarithms.

    Args:
        counts: (C,) int64, images per class in the train split, each > 0.
        mean_over: "classes" (the weights sum to C) or "images" (sum_c p_c w_c = 1).
        classes: (C,) names for messages; ids when left out.
    Returns:
        (C,) float32 on the device of `counts`.
    Raises:
        InputError: a class without images (named).
    Example:
        >>> square_root_weights(torch.tensor([1, 9]))
        tensor([1.5000, 0.5000])
    """
    return _finish(_checked(counts, classes).rsqrt(), counts, mean_over)


def effective_number_weights(counts: Tensor, *, beta: float, classes: Sequence[str] = ()) -> Tensor:
    """Loss weights from the effective number of images of each class.

    w_c is proportional to (1 - beta) / (1 - beta**n_c); the weights sum to C. beta = 0 gives equal
    weights; beta near 1 gives inverse frequency, and "near" is measured in images: 0.9999 is
    inverse frequency for every class under some thousand images. To mean something in between,
    1/(1 - beta) has to be about the size of a middling class.

    Args:
        counts: (C,) int64, images per class in the train split, each > 0.
        beta: in [0, 1).
        classes: (C,) names for messages; ids when left out.
    Returns:
        (C,) float32 on the device of `counts`.
    Raises:
        InputError: a class without images (named), or beta outside [0, 1).
    Source: Cui et al. 2019, arXiv:1901.05555, proposition 1.
    Example:
        >>> effective_number_weights(torch.tensor([1, 100]), beta=0.99)
        tensor([1.9689, 0.0311])
    """
    if not 0 <= beta < 1:
        raise InputError(f"beta is {beta}; the effective number needs 0 <= beta < 1.")
    images = _checked(counts, classes)
    if beta == 0:
        return _finish(torch.ones_like(images), counts, "classes")
    # 1 - beta**n loses its digits for beta near 1; expm1 keeps them.
    effective = -torch.expm1(images * torch.log(torch.tensor(beta, dtype=torch.float64)))
    return _finish(1 / effective, counts, "classes")


def normalise(weights: Tensor, counts: Tensor, *, classes: Sequence[str] = ()) -> Tensor:
    """The same weights with mean 1 over the images: sum_c p_c w_c = 1.

    Args:
        weights: (C,) float, not negative, not all 0.
        counts: (C,) int64, images per class in the train split, each > 0.
        classes: (C,) names for messages; ids when left out.
    Returns:
        (C,) float32 on the device of `counts`.
    Raises:
        InputError: a class without images (named), lengths that differ, or weights that are
            negative, not finite or all 0.
    """
    _checked(counts, classes)
    given = weights.detach().to("cpu", torch.float64)
    if given.shape != counts.shape:
        raise InputError(
            f"{given.numel()} weights for {counts.numel()} classes; one for each is expected."
        )
    if not bool(torch.isfinite(given).all()) or float(given.min()) < 0 or float(given.max()) == 0:
        raise InputError(
            "weights must be finite, not negative and not all 0; they reach from "
            f"{float(given.min()):.4g} to {float(given.max()):.4g}."
        )
    return _finish(given, counts, "images")


def _finish(weights: Tensor, counts: Tensor, mean_over: MeanOver) -> Tensor:
    if mean_over == "classes":
        mean = weights.mean()
    else:
        images = counts.detach().to("cpu", torch.float64)
        mean = (weights * images).sum() / images.sum()
    return (weights / mean).to(counts.device, torch.float32)


def _checked(counts: Tensor, classes: Sequence[str]) -> Tensor:
    """The counts as float64 on the CPU (MPS has no float64), each above 0."""
    if counts.ndim != 1 or counts.numel() == 0:
        raise InputError(f"counts have shape {tuple(counts.shape)}; (C,) with C > 0 is expected.")
    images = counts.detach().to("cpu", torch.float64)
    refuse_empty_classes(images, classes)
    return images


def refuse_empty_classes(counts: Tensor, classes: Sequence[str] = ()) -> None:
    """Raise InputError naming the classes without images: no weight and no prior fits them.

    Args:
        counts: (C,) images per class.
        classes: (C,) names; ids when left out.
    """
    if classes and len(classes) != counts.numel():
        raise InputError(
            f"{len(classes)} class names for {counts.numel()} counts; one for each is expected."
        )
    empty = [int(i) for i in torch.nonzero(counts <= 0)]
    if not empty:
        return
    named = [f"'{classes[i]}'" if classes else f"{i}" for i in empty[:5]]
    more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
    noun = "Class" if len(empty) == 1 else "Classes"
    raise InputError(
        f"{noun} {', '.join(named)}{more} without training images: a correction for imbalance "
        "divides by the count.",
        remedy="Add images of each or leave the class out.",
    )
