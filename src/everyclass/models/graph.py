"""A classifier and its decision as one graph that other programs run.

Comes in: a saved model. Goes out: a module from uint8 images of any size to probabilities and
scores, whose course depends on no size: one trace of it holds for all. Knows no file format.

`models.resizing` takes one of several ways for each size of image. Here all sizes go one way, with
the same values: steps that change nothing for a size are done all the same, with the identity as
their matrix and 0 as their weight. What lies beyond the 2 S pixels that the first step leaves at
most, and beyond the border, repeats the last pixel. Only that step sees the size of the image;
after it all shapes are fixed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from everyclass.images.resizing import UNIT
from everyclass.models.file import SavedModel

PROBABILITIES, BALANCED_SCORES = "probabilities", "balanced_scores"
OUTPUTS = (PROBABILITIES, BALANCED_SCORES)
INPUT = "images"


class DecidedClassifier(nn.Module):
    """Images in, answers out: preprocessing, network, temperature, prior and softmax.

    With f the logits (`models.decision`): `probabilities` is softmax((f + log p - log g) / T), the
    calibrated posterior at the training frequencies p; `balanced_scores` is f - tau log p, whose
    largest is the decision for the highest mean recall.

    Args:
        model: in evaluation mode; its network is shared, not copied.
    """

    mean: Tensor
    std: Tensor
    natural_shift: Tensor
    balanced_shift: Tensor

    def __init__(self, model: SavedModel) -> None:
        super().__init__()
        decision, preprocessing = model.decision, model.classifier.preprocessing
        self.network = model.classifier.network
        self.side, self.scale = preprocessing.side, preprocessing.scale
        self.temperature = decision.temperature
        self.register_buffer("mean", model.classifier.mean)
        self.register_buffer("std", model.classifier.std)
        # In float64 first, as `Decision` computes them.
        natural = torch.tensor(decision.natural_prior, dtype=torch.float64).log()
        implied = torch.tensor(decision.logits_prior, dtype=torch.float64).log()
        self.register_buffer("natural_shift", (natural - implied).float())
        self.register_buffer("balanced_shift", (-decision.tau * natural).float())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """`OUTPUTS`, each (B, C) float32, of (B, 3, H, W) uint8 RGB images."""
        values = resized_any(images.float(), self.side)
        logits = self.network((values / self.scale - self.mean) / self.std).float()
        return {
            PROBABILITIES: ((logits + self.natural_shift) / self.temperature).softmax(dim=1),
            BALANCED_SCORES: logits + self.balanced_shift,
        }


def resized_any(values: Tensor, side: int) -> Tensor:
    """As `models.resizing.resized`, by one way for all sizes (module docstring).

    Args:
        values: (B, C, H, W) float32 of whole values in [0, 255].
        side: pixels.
    Returns:
        (B, C, side, side) float32.
    """
    high, wide = values.shape[-2:]
    values = _whole(_areas(high, side, values) @ values @ _areas(wide, side, values).T)
    before, own, after = values[..., :-2, :], values[..., 1:-1, :], values[..., 2:, :]
    values = own + (before + after - 2 * own) * _smoothing(high, side, values)
    before, own, after = values[..., :-2], values[..., 1:-1], values[..., 2:]
    values = _whole(own + (before + after - 2 * own) * _smoothing(wide, side, values))
    low, next_to_it, part = _places(wide, side, values)
    values = values[..., low] * (1 - part) + values[..., next_to_it] * part
    low, next_to_it, part = _places(high, side, values)
    part = part[:, None]
    return _whole(values[..., low, :] * (1 - part) + values[..., next_to_it, :] * part)


def _left(n: int, side: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """n and m, what the first step leaves of it, as tensors: a number would be fixed in a trace."""
    size = torch.full((), n, dtype=torch.int64, device=like.device)
    return size, size.clamp(max=2 * side)


def _areas(n: int, side: int, like: Tensor) -> Tensor:
    """(2 side + 2, n): row k + 1 has the share of each of n pixels in area k of m, the first and
    the last area standing for what lies beyond."""
    _, m = _left(n, side, like)
    area = torch.arange(-1, 2 * side + 1, device=like.device)
    area = torch.minimum(area.clamp(min=0), m - 1)[:, None]
    place = torch.arange(n, device=like.device)
    # In units of 1 / (n m) of the axis, whole numbers: exact up to the division.
    inside = torch.minimum((area + 1) * n, (place + 1) * m) - torch.maximum(area * n, place * m)
    return (inside.clamp(min=0).double() / n).to(like.dtype)


def _smoothing(n: int, side: int, like: Tensor) -> Tensor:
    """`images.resizing.smoothing_weight` / 256, a scalar."""
    size, m = _left(n, side, like)
    share = (m.double() / size.double()) ** 2
    areas = torch.where(size % m == 0, 1 - share, 1 + share)
    areas = torch.where(size == m, torch.zeros_like(areas), areas)
    weight = (UNIT * (((m.double() / side) ** 2 - 1) / 12 - areas / 24)).round()
    return torch.where(m > side, weight / UNIT, torch.zeros_like(weight)).to(like.dtype)


def _places(n: int, side: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(side,) each: the two pixels around the middle of each new one, and the second one's share;
    as `interpolate` computes them, in float32."""
    _, m = _left(n, side, like)
    middle = torch.arange(side, device=like.device) + 0.5
    at = (middle * (m.to(like.dtype) / side) - 0.5).clamp(min=0)
    low = at.floor().to(torch.int64)
    return low, torch.minimum(low + 1, m - 1), at - low


def _whole(values: Tensor) -> Tensor:
    return (values + 0.5).floor()
