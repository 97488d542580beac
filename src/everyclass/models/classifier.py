"""The classifier: raw uint8 RGB in, logits out, with the preprocessing inside.

Comes in: (B, 3, H, W) uint8 images of any size. Goes out: (B, C) float32 logits. What is trained,
saved, exported and served is this one module, so normalisation can be neither forgotten nor
doubled. Knows no data, no classes' names and no decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from everyclass.errors import InputError
from everyclass.models.resizing import resized

LEAST_CHANNELS = 8
"""Of a 1x1 convolution with a stride, from which its backward pass is safe in the channels-last
format: with 1 to 5 it has been seen to write past its memory, with 8 and more it has not."""

_CONTIGUOUS = "everyclass_contiguous"
"""Attribute of a network that was seen to fail with channels last in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What happens between a uint8 image and the first layer.

    inputs = (images / scale - mean) / std, after resizing to (side, side).

    Args:
        side: pixels.
        mean, std: per channel, in units of `images / scale`.
        scale: 255 for inputs in [0, 1]; 1 leaves them in [0, 255] (only the failing example
            of the demo wants that).
    """

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float = 255.0

    def __post_init__(self) -> None:
        if self.side < 1 or self.scale <= 0 or min(self.std) <= 0:
            raise InputError(
                f"Preprocessing needs side >= 1, scale > 0 and every std > 0; got {self}.",
                remedy="Correct the values.",
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """The inverse of `to_dict`."""
        return cls(
            side=int(values["side"]),
            mean=_triple(values["mean"]),
            std=_triple(values["std"]),
            scale=float(values["scale"]),
        )


class Classifier(nn.Module):
    """A network behind its preprocessing.

    Args:
        network: (B, 3, side, side) float -> (B, C) logits.
        preprocessing: fixed; stored as buffers so that it moves with the module and is exported.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(shape))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(shape))
        self.channels_last = suits_channels_last(network)

    @property
    def memory_format(self) -> torch.memory_format:
        """How the inputs of the network lie in memory."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def lay_out(self, *, channels_last: bool) -> None:
        """Choose how parameters and inputs lie in memory; values stay as they are.

        Raises:
            InputError: channels-last for a network that cannot be trained so.
        """
        obstacle = channels_last_obstacle(self.network) if channels_last else None
        if obstacle is not None:
            raise InputError(f"The network {obstacle}.", remedy="Set memory_format to contiguous.")
        self.channels_last = channels_last
        self.to(memory_format=self.memory_format)

    def prepare(self, images: Tensor) -> Tensor:
        """Inputs of the first layer, (B, 3, side, side) float32.

        Images that already have the right side are not touched. Others are resized as training
        images are (`everyclass.models.resizing`).

        Args:
            images: (B, 3, H, W) uint8.
        Raises:
            InputError: another shape or dtype (floats have an unknown range: refused, not guessed).
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise InputError(
                f"The classifier takes uint8 images (B, 3, H, W); got {images.dtype} "
                f"{tuple(images.shape)}.",
                remedy="Pass raw RGB pixels; scaling and normalisation are inside the model.",
            )
        values = resized(images.float(), self.preprocessing.side)
        return (values / self.preprocessing.scale - self.mean) / self.std

    def forward(self, images: Tensor, augment: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """(B, C) float32 logits of (B, 3, H, W) uint8 images.

        Args:
            images: uint8, any size.
            augment: applied to the prepared inputs; training only.
        """
        inputs = self.prepare(images)
        if augment is not None:
            inputs = augment(inputs)
        logits: Tensor = self.network(inputs.contiguous(memory_format=self.memory_format))
        return logits.float()


def mark_contiguous(network: nn.Module) -> None:
    """Note on a network that it was tried with channels last in memory, and failed."""
    setattr(network, _CONTIGUOUS, True)


def suits_channels_last(network: nn.Module) -> bool:
    """Whether the network may be trained with channels last in memory."""
    return channels_last_obstacle(network) is None


def channels_last_obstacle(network: nn.Module) -> str | None:
    """Why a network may not be trained with channels last in memory, to follow "The network";
    None where it may.

    The backward pass of 1x1 convolutions of a stride on few channels has been seen to crash the
    process so (torch 2.14.1, on a processor).
    """
    if getattr(network, _CONTIGUOUS, False):
        return "fails when its inputs lie channels-last in memory"
    if any(
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels < LEAST_CHANNELS
        for module in network.modules()
    ):
        return (
            f"has a 1x1 convolution with a stride on fewer than {LEAST_CHANNELS} channels, whose "
            "backward pass writes past its memory in the channels-last format (torch 2.14.1, on a "
            "processor)"
        )
    return None


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
