"""A network by name: the tutorial's CNN, any classification model of timm, or one by reference.

Comes in: a name, a side, a number of classes, and where pretrained weights come from. Goes out: an
initialised network and the statistics its weights were trained with. Trains nothing.
"""

from __future__ import annotations

import difflib
import pickle
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from everyclass.errors import InputError
from everyclass.imbalance.margins import CosineLinear
from everyclass.models.fitness import refuse_unfit
from everyclass.models.pretrained import find_weights, in_old_names, renamed
from everyclass.models.references import made_by_function, refuse_unknown_reference, told
from everyclass.models.torchvision_models import (
    published_state,
    statistics,
    torchvision_network,
    usual_side,
    without_second_heads,
)
from everyclass.models.tutorial import TutorialCNN
from everyclass.seeding import stream_seed
from everyclass.settings import TORCHVISION, is_function, is_reference

# Below this side a ResNet's 7x7 stride-2 stem and its max-pooling leave 1x1 features after the
# last stage; without the pooling the same layers see four times as many positions.
SMALL_IMAGE = 64

TUTORIAL = "tutorial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A network and where its weights come from.

    Args:
        network: (B, 3, side, side) float -> (B, C) logits.
        mean, std: the statistics its pretrained weights expect; None from scratch.
        weights: the origin of the weights in words.
        small_stem: whether the stem's max-pooling was taken out for small images. It has no
            parameters, so a state dict does not tell: it must be saved beside the weights.
        cosine_head: whether the last layer is a `CosineLinear`; to be saved as well.
    """

    network: nn.Module
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    weights: str
    small_stem: bool
    cosine_head: bool = False


def build_backbone(
    name: str,
    *,
    side: int,
    n_classes: int,
    seed: int,
    pretrained: bool = False,
    weights_file: str | None = None,
    small_stem: bool | None = None,
    cosine_head: bool = False,
) -> Backbone:
    """The network called `name`, its weights drawn from the stream ("init",) of `seed`.

    Args:
        name: "tutorial", a timm model name, "torchvision:NAME", or "MODULE:FUNCTION" as
            `models.references` finds it; that function is run.
        side: training image side, pixels.
        n_classes: outputs, at least 2.
        seed: the run's seed.
        pretrained: load ImageNet weights; downloaded by timm or torchvision unless `weights_file`
            is given. A user's function brings its own.
        weights_file: local .safetensors or .pth state dict in timm's (torchvision's) key names.
        small_stem: take the stem's max-pooling out. None: below 64 px, from scratch only (weights
            trained with the pooling need it).
        cosine_head: make the last layer one of cosines, as LDAM needs it.
    Raises:
        InputError: unknown name (near names are listed), a network that takes no images of this
            side, weights that cannot be had or do not fit; for references also what
            `models.references` and `models.fitness` refuse.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "init"))
        if name == TUTORIAL:
            network: nn.Module = TutorialCNN(in_channels=3, side=side, n_classes=n_classes)
            if cosine_head:
                _make_head_cosine(network, name, n_classes)
            own = _from_scratch(network, "random (PyTorch's own)", small_stem=False)
            return replace(own, cosine_head=cosine_head)
        refuse_unknown(name)
        if is_function(name):
            return _from_function(name, side, n_classes, cosine_head)
        if is_reference(name):
            network = _of_torchvision(name, side, n_classes, pretrained, weights_file)
        else:
            network = _create(name, side, n_classes, pretrained, weights_file)
        if cosine_head:
            _make_head_cosine(network, name, n_classes)
        if not is_reference(name):
            _refuse_side(network, name, side)
    wanted = side < SMALL_IMAGE and not pretrained if small_stem is None else small_stem
    changed = wanted and _drop_pooling(network)
    maker = "torchvision" if is_reference(name) else "timm"
    if not pretrained:
        scratch = _from_scratch(network, f"random ({maker}'s scheme)", small_stem=changed)
        return replace(scratch, cosine_head=cosine_head)
    mean, std, published = _expected(network, name)
    return Backbone(
        network=network,
        mean=mean,
        std=std,
        weights=_origin(name, weights_file) or f"{maker}'s {published}, ImageNet, downloaded",
        small_stem=changed,
        cosine_head=cosine_head,
    )


def last_layer(network: nn.Module, name: str, n_classes: int) -> tuple[str, nn.Linear]:
    """The linear layer that gives the logits, and its path in the network.

    Raises:
        InputError: there is none.
    """
    layers = [
        (path, module)
        for path, module in network.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == n_classes
    ]
    if not layers:
        raise InputError(
            f"{name} ends in no linear layer with {n_classes} outputs; what is done to that layer "
            "alone cannot be done.",
            remedy="Choose another --model or another --imbalance, or --fine-tuning full.",
        )
    return layers[-1]


def head_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Those of the layers that timm calls the classifier; of another's network, the last layer."""
    heads = tuple(f"{layer}." for layer in _head_layers(network))
    return [one for name, one in network.named_parameters() if name.startswith(heads)]


def _make_head_cosine(network: nn.Module, name: str, n_classes: int) -> None:
    """Put a `CosineLinear` in the place of the last layer."""
    path, last = last_layer(network, name, n_classes)
    parent, _, own = path.rpartition(".")
    setattr(network.get_submodule(parent), own, CosineLinear(last.in_features, n_classes))


def _origin(name: str, weights_file: str | None) -> str | None:
    """A weights file in words: where it comes from, if this machine's packages and caches tell."""
    known = find_weights(name) if weights_file is not None else None
    return known.words if known is not None and known.path == weights_file else weights_file


def _from_scratch(network: nn.Module, weights: str, *, small_stem: bool) -> Backbone:
    return Backbone(network=network, mean=None, std=None, weights=weights, small_stem=small_stem)


def refuse_unknown(name: str) -> None:
    """Raise InputError, with near names, when there is no model called `name`. The module of a
    user's function is imported."""
    if is_reference(name):
        return refuse_unknown_reference(name)
    if name == TUTORIAL or timm.is_model(name):
        return None
    near = difflib.get_close_matches(name, [TUTORIAL, *timm.list_models()], n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise InputError(
        f"There is no model called {name!r}.{hint}",
        remedy="Use 'tutorial', a name that timm.list_models() shows, torchvision:NAME, or "
        "MODULE:FUNCTION for a network of your own.",
    )


def _from_function(name: str, side: int, n_classes: int, cosine_head: bool) -> Backbone:
    network = made_by_function(name, n_classes)
    if cosine_head:
        _make_head_cosine(network, name, n_classes)
    file = name.rpartition(":")[0]
    place = str(Path(file).expanduser().resolve()) if file.endswith(".py") else None
    place = place or getattr(sys.modules.get(file), "__file__", None)
    refuse_unfit(
        network, name, side=side, n_classes=n_classes, told=lambda error: told(error, place)
    )
    own = _from_scratch(network, f"what {name} gives them", small_stem=False)
    return replace(own, cosine_head=cosine_head)


def _of_torchvision(
    name: str, side: int, n_classes: int, pretrained: bool, weights_file: str | None
) -> nn.Module:
    own = name.removeprefix(TORCHVISION)
    try:
        network = torchvision_network(own, side=side, n_classes=n_classes)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise _no_such_side(name, side, error) from error
    if weights_file is not None:
        _load_file(network, name, Path(weights_file))
    elif pretrained:
        try:
            state = published_state(own)
        except (OSError, RuntimeError, ValueError) as error:
            raise _no_weights(name, error) from error
        _take(network, name, state, f"What torchvision published for {own}")
    refuse_unfit(
        network,
        name,
        side=side,
        n_classes=n_classes,
        told=lambda error: told(error, None),
        usual=usual_side(own),
    )
    return network


def _expected(
    network: nn.Module, name: str
) -> tuple[tuple[float, float, float], tuple[float, float, float], str]:
    """Mean and deviation that pretrained weights expect, and what their maker calls them."""
    if is_reference(name):
        own = name.removeprefix(TORCHVISION)
        mean, std = statistics(own)
    else:
        config = _published(network)
        own = str(config.get("architecture", name))
        mean, std = tuple(config["mean"]), tuple(config["std"])
    return _triple(mean), _triple(std), own


def _triple(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def _create(
    name: str, side: int, n_classes: int, pretrained: bool, weights_file: str | None
) -> nn.Module:
    wishes: dict[str, Any] = {"num_classes": n_classes}
    published = timm.get_pretrained_cfg(name)
    if published is not None and published.fixed_input_size:
        wishes["img_size"] = side  # transformers place their patches by it
    if weights_file is not None:
        network = _made(name, side, wishes)
        _load_file(network, name, Path(weights_file))
        return network
    if not pretrained:
        return _made(name, side, wishes)
    try:
        return timm.create_model(name, pretrained=True, **wishes)  # type: ignore[no-any-return]
    except (OSError, RuntimeError, ValueError) as error:
        # Offline, a blocked proxy, or a model without published weights: each library below raises
        # its own kind, and a random backbone must never take their place.
        raise _no_weights(name, error) from error


def _no_weights(name: str, error: Exception) -> InputError:
    return InputError(
        f"Pretrained weights for {name} could not be loaded: {_first_line(error)}",
        remedy="Name a local file with --weights-file, or train from scratch without --pretrained.",
    )


def _made(name: str, side: int, wishes: dict[str, Any]) -> nn.Module:
    try:
        return timm.create_model(name, **wishes)  # type: ignore[no-any-return]
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise _no_such_side(name, side, error) from error


def _refuse_side(network: nn.Module, name: str, side: int) -> None:
    """Send one image through: what a network cannot take is said before anything is trained."""
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, side, side))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _no_such_side(name, side, error) from error
    finally:
        network.train(training)


def _no_such_side(name: str, side: int, error: Exception) -> InputError:
    if is_reference(name):
        side_made_for: int | None = usual_side(name.removeprefix(TORCHVISION))
    else:
        published = timm.get_pretrained_cfg(name)
        side_made_for = None if published is None else published.input_size[-1]
    usual = "" if side_made_for is None else f" It was made for {side_made_for} px."
    return InputError(
        f"{name} cannot take images of {side} px: {_first_line(error)}.{usual}",
        remedy="Choose another --image-size, or another --model.",
    )


def _load_file(network: nn.Module, name: str, path: Path) -> None:
    """Every weight but the head's. timm would drop keys that do not fit without a word, and the
    backbone would be random; here each must find its place.
    """
    if not path.is_file():
        raise InputError(f"There is no weights file {path}.", remedy="Correct --weights-file.")
    try:
        state = timm.models.load_state_dict(str(path), use_ema=False, weights_only=True)
    except (OSError, RuntimeError, ValueError, SafetensorError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path} cannot be read as weights: {_first_line(error)}",
            remedy="Give a .safetensors file, or a .pth file that holds tensors alone.",
        ) from error
    _take(network, name, renamed(state) if in_old_names(state) else state, str(path))


def _take(network: nn.Module, name: str, state: dict[str, Tensor], origin: str) -> None:
    """All weights but the head's, each of which must find its place."""
    if is_reference(name):
        state = without_second_heads(state)
    head = tuple(f"{layer}." for layer in _head_layers(network))
    own = {key: value.shape for key, value in network.state_dict().items()}
    state = {key: value for key, value in state.items() if not key.startswith(head)}
    unknown = [key for key in state if key not in own]
    absent = [key for key in own if key not in state and not key.startswith(head)]
    misfits = [key for key in state if key in own and state[key].shape != own[key]]
    for keys, complaint in (
        (unknown, "that {name} lacks"),
        (absent, "too few for {name}"),
        (misfits, "of another shape than in {name}"),
    ):
        if keys:
            raise InputError(
                f"{origin} holds {len(keys)} tensors {complaint.format(name=name)} "
                f"(first: {keys[0]}).",
                remedy="Use weights of this very model and image size, with "
                f"{'torchvision' if is_reference(name) else 'timm'}'s key names.",
            )
    network.load_state_dict(state, strict=False)


def _head_layers(network: nn.Module) -> tuple[str, ...]:
    if not hasattr(network, "pretrained_cfg"):
        *_, (last, _) = network.named_parameters()
        return (last.rpartition(".")[0],)
    layers = _published(network).get("classifier") or ()
    return (layers,) if isinstance(layers, str) else tuple(layers)


def _published(network: nn.Module) -> dict[str, Any]:
    """timm's record of a model: statistics, origin, name of the head."""
    config: Any = network.pretrained_cfg
    return dict(config)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else repr(error)


def _drop_pooling(network: nn.Module) -> bool:
    """Take the stem's max-pooling out, where the network has one; says whether it did."""
    if not isinstance(getattr(network, "maxpool", None), nn.MaxPool2d):
        return False
    network.maxpool = nn.Identity()
    return True
