"""Random changes to a batch, in one vectorised pass on the batch's device.

Comes in: prepared inputs (B, 3, S, S). Goes out: the same shape. Every number is drawn from the
generator handed in, on the CPU, so a batch is changed in the same way on every device and after
every resume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Augmentation = Literal[
    "crop", "flip", "vertical-flip", "quarter-turns", "rotation", "mixup", "cutmix"
]
"""The last two mix images of a batch and are no business of `augment`: see `steps`."""

SMALLEST_CROP = 0.75  # of the side: 56 % of the area at least, so that the object survives
LARGEST_ROTATION_DEGREES = 20.0


def augment(
    inputs: Tensor,
    kinds: Sequence[Augmentation],
    generator: torch.Generator,
    *,
    among: tuple[slice, int] | None = None,
) -> Tensor:
    """Augmented inputs.

    - crop: a square of 75 to 100 % of the side, anywhere, enlarged to the whole.
    - flip, vertical-flip: mirrored left-right, up-down, with probability 1/2.
    - quarter-turns: turned by 0, 90, 180 or 270 degrees, equally likely.
    - rotation: turned by -20 to 20 degrees; corners are filled by reflection.

    Args:
        inputs: (B, 3, S, S) float.
        kinds: which changes; the order does not matter.
        generator: a CPU generator.
        among: places of the inputs in a larger batch, and its size: each is changed as it would be
            there, and the generator moves on as far. None where they are all.
    Returns:
        (B, 3, S, S), a new tensor unless `kinds` is empty.
    """
    own, size = (slice(None), inputs.shape[0]) if among is None else among
    if "flip" in kinds:
        inputs = _mirror(inputs, 3, torch.rand(size, generator=generator)[own])
    if "vertical-flip" in kinds:
        inputs = _mirror(inputs, 2, torch.rand(size, generator=generator)[own])
    if "quarter-turns" in kinds:
        turns = torch.randint(4, (size,), generator=generator)
        inputs = _quarter_turns(inputs, turns[own])
    if "crop" in kinds or "rotation" in kinds:
        inputs = _affine(inputs, _matrices(size, kinds, generator)[own])
    return inputs


class TrainingForward(nn.Module):
    """A classifier whose passes in training mode are those of a training: images augmented, in the
    training's precision. For trials, which know no Fabric and hand over no augmentation.

    Args:
        classifier: takes images and an optional change of the prepared inputs.
        kinds: which changes; empty for none.
        dtype: of autocast; None for full precision.
    """

    def __init__(
        self,
        classifier: nn.Module,
        kinds: Sequence[Augmentation],
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.kinds = tuple(kinds)
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """(B, C) logits; what is drawn follows torch's own generator."""
        change = None
        if self.training and self.kinds:
            seed = int(torch.randint(2**62, (), device="cpu"))
            generator = torch.Generator().manual_seed(seed)
            change = partial(augment, kinds=self.kinds, generator=generator)
        half = self.dtype is not None
        with torch.autocast(images.device.type, dtype=self.dtype, enabled=half):
            logits: Tensor = self.classifier(images, change)
        return logits


def _mirror(inputs: Tensor, dimension: int, draw: Tensor) -> Tensor:
    chosen = _beside((draw < 0.5).view(-1, 1, 1, 1), inputs)
    return torch.where(chosen, inputs.flip(dimension), inputs)


def _quarter_turns(inputs: Tensor, turns: Tensor) -> Tensor:
    turns = _beside(turns.view(-1, 1, 1, 1), inputs)
    odd = torch.where(turns % 2 == 1, inputs.rot90(1, (2, 3)), inputs)
    return torch.where(turns >= 2, odd.flip((2, 3)), odd)


def _matrices(size: int, kinds: Sequence[Augmentation], generator: torch.Generator) -> Tensor:
    """(size, 2, 3) float32, where each pixel comes from."""
    scale = torch.ones(size)
    shift = torch.zeros(size, 2)
    angle = torch.zeros(size)
    if "crop" in kinds:
        scale = 1 - (1 - SMALLEST_CROP) * torch.rand(size, generator=generator)
        # In units of half the side, a crop of relative size s may move by up to 1 - s.
        shift = (2 * torch.rand(size, 2, generator=generator) - 1) * (1 - scale)[:, None]
    if "rotation" in kinds:
        largest = math.radians(LARGEST_ROTATION_DEGREES)
        angle = (2 * torch.rand(size, generator=generator) - 1) * largest
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    return torch.stack(
        [
            torch.stack([cosine, -sine, shift[:, 0]], dim=1),
            torch.stack([sine, cosine, shift[:, 1]], dim=1),
        ],
        dim=1,
    )


def _affine(inputs: Tensor, matrices: Tensor) -> Tensor:
    matrix = _beside(matrices.to(inputs.dtype), inputs)
    grid = functional.affine_grid(matrix, list(inputs.shape), align_corners=False)
    return functional.grid_sample(
        inputs, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _beside(drawn: Tensor, inputs: Tensor) -> Tensor:
    """What was drawn, on the device of the inputs; a graphics card is not waited for."""
    if inputs.device.type == "cuda":
        return drawn.contiguous().pin_memory().to(inputs.device, non_blocking=True)
    return drawn.to(inputs.device)
