"""Mixed images with targets that say in what shares. Comes in: a batch. Goes out: a batch, its
targets rows that sum to 1.

Every loss of this package takes such rows as they are: the loss of a mixture is the mixture of the
losses, weights and label smoothing included (`weighted_cross_entropy`). Smooth and weight there,
not here: smoothing put into the rows beforehand would be weighted as if images had those classes.

What is random comes from the generator alone, so that a batch is mixed the same way on any device
and after a resume that seeds it by the step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.imbalance.weights import refuse_empty_classes


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """A batch of mixed images.

    Attributes:
        images: (B, ...) of the type and device that came in.
        targets: (B, C) float32, rows sum to 1.
    """

    images: Tensor
    targets: Tensor


def mixup(
    images: Tensor,
    targets: Tensor,
    *,
    n_classes: int,
    generator: torch.Generator,
    alpha: float = 1.0,
) -> Mixed:
    """Each image faded into another one of the batch: l x_i + (1 - l) x_j, targets alike.

    One share l for the batch, Beta(alpha, alpha), and one permutation of it.

    Args:
        images: (B, ...) uint8 or floating point. uint8 is mixed in float32 and rounded.
        targets: (B,) int64 class ids, or (B, C) float rows.
        n_classes: C.
        generator: a CPU generator.
        alpha: > 0; 1 is even shares, small ones leave most batches nearly as they are.
    Raises:
        InputError: shapes or types do not fit, or alpha is not positive.
    Source: Zhang et al. 2018, arXiv:1710.09412, section 2.
    """
    rows = _rows(images, targets, n_classes)
    share, partners = _drawn(len(images), alpha, generator, images.device)
    return Mixed(
        images=faded(images, partners, share=share), targets=faded(rows, partners, share=share)
    )


def cutmix(
    images: Tensor,
    targets: Tensor,
    *,
    n_classes: int,
    generator: torch.Generator,
    alpha: float = 1.0,
) -> Mixed:
    """Each image with a rectangle of another one in it, targets by the area that each kept.

    The share left to the first image is Beta(alpha, alpha) before the rectangle is cut off at the
    edges, and after that what the pixels say, exactly.

    Args:
        images: (B, ..., H, W), any type.
        targets: (B,) int64 class ids, or (B, C) float rows.
        n_classes: C.
        generator: a CPU generator.
        alpha: > 0.
    Raises:
        InputError: shapes or types do not fit, or alpha is not positive.
    Source: Yun et al. 2019, arXiv:1905.04899, equation 2 and section 3.1.
    """
    rows = _rows(images, targets, n_classes)
    wished, partners = _drawn(len(images), alpha, generator, images.device)
    pasted_images, share = pasted(images, partners, share=wished, generator=generator)
    return Mixed(images=pasted_images, targets=faded(rows, partners, share=share))


def remix(
    images: Tensor,
    targets: Tensor,
    counts: Tensor,
    *,
    generator: torch.Generator,
    alpha: float = 1.0,
    kappa: float = 3.0,
    tau: float = 0.5,
) -> Mixed:
    """Mixup that gives the label to the smaller class (`remix_shares`), the pixels as in `mixup`.

    This moves the frequencies of the labels that are trained on towards small classes: it is a
    correction of imbalance, to be the only one.

    Args:
        images: (B, ...) uint8 or floating point.
        targets: (B,) int64 class ids.
        counts: (C,) int64, images per class in the train split, each > 0.
        generator: a CPU generator.
        alpha, kappa, tau: of `mixup` and `remix_shares`.
    Raises:
        InputError: shapes or types do not fit, a class without images, a parameter out of range.
    Source: Chou et al. 2020, arXiv:2007.03943, equations 5 to 7.
    """
    rows = _rows(images, targets, len(counts))
    share, partners = _drawn(len(images), alpha, generator, images.device)
    shares = remix_shares(targets, targets[partners], counts, share=share, kappa=kappa, tau=tau)
    mixed = shares[:, None] * rows + (1 - shares[:, None]) * rows[partners]
    return Mixed(images=faded(images, partners, share=share), targets=mixed)


def remix_shares(
    targets: Tensor,
    partners: Tensor,
    counts: Tensor,
    *,
    share: float,
    kappa: float = 3.0,
    tau: float = 0.5,
) -> Tensor:
    """What is left of each label when an image of class i keeps `share` of its pixels.

    0 where i is the larger class, n_i / n_j >= kappa, and keeps less than tau; 1 where it is the
    smaller one, n_j / n_i >= kappa, and gives away less than tau; `share` elsewhere.

    Args:
        targets: (B,) int64, the class i of each image.
        partners: (B,) int64, the class j of what is mixed in.
        counts: (C,) int64, images per class, each > 0.
        share: in [0, 1], of the pixels (with CutMix, of the area).
        kappa: ratio from which a class is the larger one, >= 1.
        tau: in [0, 1]; 0 is plain mixing.
    Returns:
        (B,) float32 on the device of `targets`.
    Raises:
        InputError: a class without images, kappa below 1, tau outside [0, 1].
    Source: Chou et al. 2020, arXiv:2007.03943, equation 7.
    Example:
        >>> ours, theirs = torch.tensor([0, 1, 0]), torch.tensor([1, 0, 0])
        >>> remix_shares(ours, theirs, torch.tensor([90, 10]), share=0.4)
        tensor([0.0000, 0.4000, 0.4000])
    """
    if kappa < 1 or not 0 <= tau <= 1:
        raise InputError(f"kappa is {kappa} and tau {tau}; kappa >= 1 and tau in [0, 1] are due.")
    if counts.device.type == "cpu":  # elsewhere looking would wait for the device
        refuse_empty_classes(counts)
    images = counts.to(targets.device, torch.float32)
    ratio = images[targets] / images[partners]
    shares = torch.full(targets.shape, float(share), dtype=torch.float32, device=targets.device)
    shares[(ratio >= kappa) & (share < tau)] = 0.0
    shares[(ratio <= 1 / kappa) & (1 - share < tau)] = 1.0
    return shares


def faded(values: Tensor, partners: Tensor, *, share: float) -> Tensor:
    """share x_i + (1 - share) x_j, j = partners[i].

    Args:
        values: (B, ...) uint8 or floating point; uint8 is rounded, halves to even.
        partners: (B,) int64.
        share: in [0, 1].
    Returns:
        (B, ...), type and device of `values`.
    """
    whole = not values.is_floating_point()
    own = values.float() if whole else values
    mixed = share * own + (1 - share) * own[partners]
    return mixed.round_().to(values.dtype) if whole else mixed.to(values.dtype)


def pasted(
    images: Tensor, partners: Tensor, *, share: float, generator: torch.Generator
) -> tuple[Tensor, float]:
    """Images with one rectangle, the same for all, taken from their partners.

    Its sides are sqrt(1 - share) of the image's, its centre is anywhere, and what falls outside is
    cut off.

    Args:
        images: (B, ..., H, W).
        partners: (B,) int64.
        share: of the area that the image keeps, before cutting off.
        generator: a CPU generator.
    Returns:
        New images, and the share that they kept.
    """
    height, width = images.shape[-2:]
    y = int(torch.randint(height, (), generator=generator))
    x = int(torch.randint(width, (), generator=generator))
    part = 0.5 * math.sqrt(1 - share)
    half_height, half_width = int(part * height), int(part * width)
    top, bottom = max(y - half_height, 0), min(y + half_height, height)
    left, right = max(x - half_width, 0), min(x + half_width, width)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images[partners][..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _drawn(
    size: int, alpha: float, generator: torch.Generator, device: torch.device
) -> tuple[float, Tensor]:
    """A share and a permutation."""
    if not alpha > 0:
        raise InputError(f"alpha is {alpha}; the Beta distribution of the shares needs alpha > 0.")
    seed = int(torch.randint(2**62, (), generator=generator))
    # torch's own gamma samplers take no generator.
    share = float(np.random.Generator(np.random.Philox(seed)).beta(alpha, alpha))
    return share, torch.randperm(size, generator=generator).to(device)


def _rows(images: Tensor, targets: Tensor, n_classes: int) -> Tensor:
    """(B, C) float32 of class ids or rows."""
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise InputError(f"images are {images.dtype}; uint8 or floating point is expected.")
    ids = targets.shape == images.shape[:1] and not targets.is_floating_point()
    rows = targets.shape == (images.shape[0], n_classes) and targets.is_floating_point()
    if not ids and not rows:
        raise InputError(
            f"targets have shape {tuple(targets.shape)} and type {targets.dtype} for "
            f"{images.shape[0]} images; class ids or (B, {n_classes}) float rows are expected."
        )
    return functional.one_hot(targets.long(), n_classes).float() if ids else targets.float()
