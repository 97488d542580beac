"""Which parts of a pretrained network stay as they are in a light fine-tuning.

Comes in: a timm network. Goes out: names of parameters, from the input on, and the modules that
they make up. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import timm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from everyclass.errors import InputError

TRAINED_SHARE = 1 / 3
"""Of the stages that timm counts (stem, stages, head): the last ones are trained, two at least."""


def early_parameters(network: nn.Module, name: str) -> tuple[str, ...]:
    """Names of the parameters in all stages but the last ones.

    Early layers see edges and colours, which serve any images; late ones what the old classes were
    told by. Source: Yosinski et al. 2014, arXiv:1411.1792.

    Args:
        network: made by timm.
        name: its name, for the message.
    Raises:
        InputError: timm does not say what its stages are.
    """
    matcher: Any = getattr(network, "group_matcher", None)
    if matcher is None:
        raise InputError(
            f"timm does not say what the stages of {name} are, so none can be kept as it is.",
            remedy="Use --fine-tuning head or --fine-tuning full, or another --model.",
        )
    groups = timm.models.group_parameters(network, matcher(coarse=True))
    order = sorted(groups)
    trained = max(2, round(TRAINED_SHARE * len(order)))
    return tuple(name for group in order[:-trained] for name in groups[group])


def freeze(network: nn.Module, parameters: Collection[str]) -> None:
    """Keep the named parameters as they are, and every statistic of batch normalisation.

    The modules that have frozen parameters alone, and every batch normalisation, stay in evaluation
    mode whatever is called on the network. With the statistics of small batches of other images,
    features are no longer those that the pretrained layers and the first head know.

    Args:
        network: changed in place; copies of it behave alike.
        parameters: names of those that are not trained; none for all to be trained.
    """
    named = set(parameters)
    for name, parameter in network.named_parameters():
        if name in named:
            parameter.requires_grad_(False)
    frozen = [network.get_submodule(path) for path in modules_of(network, named)]
    normed = [one for one in network.modules() if isinstance(one, _BatchNorm)]
    for module in (*frozen, *normed):
        module.eval()
        setattr(module, "train", _stay)  # noqa: B010


def _stay(mode: bool = True) -> None:
    """In the place of `train` of a module that stays in evaluation mode; `eval` calls it too."""


def modules_of(network: nn.Module, parameters: Collection[str]) -> tuple[str, ...]:
    """Paths of the largest modules that have parameters, all of them among the named ones."""
    chosen, found = set(parameters), list[str]()
    for path, module in network.named_modules():
        prefix = f"{path}." if path else ""
        own = {f"{prefix}{name}" for name, _ in module.named_parameters()}
        inside = any(path.startswith(f"{outer}.") or outer == "" for outer in found)
        if own and own <= chosen and not inside:
            found.append(path)
    return tuple(found)
