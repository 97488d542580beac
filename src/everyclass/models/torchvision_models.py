"""Classification models of torchvision, by name, and their published weights.

Comes in: a name such as `resnet18`. Goes out: an untrained network, or what is known of its
weights. Nothing is downloaded but by `published_state`, which is asked for.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
import torchvision
from torch import Tensor, nn

from everyclass.errors import InputError

_WITH_SECOND_HEADS = ("googlenet", "inception_v3")
"""Give a tuple while they are trained, unless they are made without."""

_SECOND_HEADS = ("aux1.", "aux2.", "AuxLogits.")


def refuse_unknown_torchvision(name: str) -> None:
    """Raise InputError, with near names, when torchvision has no such classification model."""
    known = torchvision.models.list_models(module=torchvision.models)
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise InputError(
        f"torchvision {torchvision.__version__} has no classification model called {name!r}.{hint}",
        remedy="Use a name that torchvision.models.list_models(module=torchvision.models) shows.",
    )


def torchvision_network(name: str, *, side: int, n_classes: int) -> nn.Module:
    """The untrained network; whatever torchvision raises where it is not made for the side.

    Args:
        side: of the images, pixels; transformers place their patches by it.
    """
    own: dict[str, Any] = {}
    if name in _WITH_SECOND_HEADS:
        own = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_"):
        own = {"image_size": side}
    elif name.startswith("maxvit"):
        own = {"input_size": (side, side)}
    made: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=n_classes, **own)
    return made


def usual_side(name: str) -> int:
    """Of the images that its published weights were trained for, pixels."""
    return int(_weights(name).transforms().crop_size[0])


def statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation by channel that its published weights expect, of values in [0, 1]."""
    preset = _weights(name).transforms()
    return tuple(preset.mean), tuple(preset.std)


def published_state(name: str) -> dict[str, Tensor]:
    """Its published weights: from torch's cache, else downloaded; OSError, RuntimeError if not."""
    state: dict[str, Tensor] = _weights(name).get_state_dict(progress=False, check_hash=True)
    return state


def cached_weights(name: str) -> Path | None:
    """The file in which an earlier download left its published weights."""
    file = Path(urlparse(_weights(name).url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    return path if path.is_file() else None


def without_second_heads(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the heads that only help the training of a few models."""
    return {key: value for key, value in state.items() if not key.startswith(_SECOND_HEADS)}


def _weights(name: str) -> Any:
    return torchvision.models.get_model_weights(name).DEFAULT
