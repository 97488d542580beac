"""Whether somebody's network can be our classifier's: images of a side in, a row of logits out.

Comes in: a network that others made. Goes out: nothing, or one message of what it does otherwise,
before anything is trained. Its weights and statistics stay as they were.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from everyclass.errors import InputError
from everyclass.models.classifier import mark_contiguous

_PROBES = 2


def refuse_unfit(
    network: nn.Module,
    name: str,
    *,
    side: int,
    n_classes: int,
    told: Callable[[Exception], str],
    usual: int | None = None,
) -> None:
    """Send two images of noise through, in evaluation and in training mode, and look at the answer.

    A network that cannot take its inputs with channels last (one that takes them apart by `view`,
    for example) is marked, so that nothing lays its inputs out so.

    Args:
        network: as it was made; lazy layers take their shapes here.
        name: the reference, for messages.
        side: of the images, pixels.
        n_classes: logits expected of each image.
        told: an exception in words.
        usual: side that the network was published for, if that is known.
    Raises:
        InputError: an exception in the network, another answer than (B, C) floats, nothing that
            could be trained, or a state that no file of tensors holds.
    """
    training = network.training
    images = torch.randn(_PROBES, 3, side, side, generator=torch.Generator().manual_seed(0))
    _answer(network.eval(), images, name, n_classes, told, usual)
    _refuse_state(network, name)
    trained = copy.deepcopy(network).train()
    _answer(trained, images, name, n_classes, told, usual)
    try:
        with torch.no_grad():
            trained.to(memory_format=torch.channels_last)
            trained(images.contiguous(memory_format=torch.channels_last))
    except Exception:  # noqa: BLE001 - somebody's code; in the other format it has just worked
        mark_contiguous(network)
    network.train(training)


def _answer(
    network: nn.Module,
    images: Tensor,
    name: str,
    n_classes: int,
    told: Callable[[Exception], str],
    usual: int | None,
) -> None:
    mode = "training" if network.training else "evaluation"
    side = images.shape[-1]
    try:
        with torch.no_grad():
            answer = network(images)
    except Exception as error:
        made = "" if usual is None else f" It was made for {usual} px."
        raise InputError(
            f"{name} cannot take images of {side} px ({mode} mode): {told(error)}.{made}",
            remedy="Choose the --image-size that it was made for, or another --model.",
        ) from error
    if not isinstance(answer, Tensor):
        raise InputError(
            f"The network of {name} answers with a {type(answer).__name__} in {mode} mode, where "
            "one tensor of logits is needed.",
            remedy="Return the logits alone from its forward.",
        )
    if answer.ndim != 2 or len(answer) != len(images) or not answer.is_floating_point():
        raise InputError(
            f"The network of {name} answers {len(images)} images with {answer.dtype} of shape "
            f"{tuple(answer.shape)}, where floats of shape ({len(images)}, {n_classes}) are "
            "needed.",
            remedy="Return one row of logits an image from its forward.",
        )
    if answer.shape[1] != n_classes:
        raise InputError(
            f"The network of {name} has {answer.shape[1]} outputs, and the data have "
            f"{n_classes} classes.",
            remedy="Give its last layer as many outputs as the function is called with.",
        )


def _refuse_state(network: nn.Module, name: str) -> None:
    if not any(one.requires_grad for one in network.parameters()):
        raise InputError(
            f"The network of {name} has no parameter that can be trained.",
            remedy="Leave requires_grad of some of its parameters as it is.",
        )
    other = [key for key, value in network.state_dict().items() if not isinstance(value, Tensor)]
    if other:
        raise InputError(
            f"The network of {name} keeps {other[0]} in its state, which is no tensor and cannot "
            "be saved beside the weights.",
            remedy="Leave it out of the state dict.",
        )
