"""The mean of several states of one network. Comes in: state dicts. Goes out: one state dict, and
a network whose batch normalisation fits it.

Each state is a point around the same minimum; their mean lies nearer to it, and costs one network
at prediction. (A moving average while training is `ema_decay` of the recipe.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from everyclass.errors import InputError


def average_states(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The plain mean of each floating-point tensor; of others (counters) the last one's.

    The running statistics of batch normalisation are averaged like the rest, and are those of no
    network that way: `load_average` measures them anew.

    Args:
        states: state dicts of one network at different times, at least one, the newest last.
    Returns:
        A state dict of new tensors with the types and devices of the last; summed in float64.
    Raises:
        InputError: no states, or names or shapes that differ (the first one is named).
    Source: Izmailov et al. 2018, arXiv:1803.05407, section 3.
    Example:
        >>> average_states([{"w": torch.tensor([1.0])}, {"w": torch.tensor([4.0])}])
        {'w': tensor([2.5000])}
    """
    if not states:
        raise InputError("There are no states to average; at least one is needed.")
    last = states[-1]
    for k, state in enumerate(states):
        odd = sorted(set(state) ^ set(last))
        if odd:
            raise InputError(f"State {k} and the last one differ in {odd[0]!r}: two networks.")
        for name, value in state.items():
            if value.shape != last[name].shape:
                raise InputError(
                    f"{name!r} has shape {tuple(value.shape)} in state {k} and "
                    f"{tuple(last[name].shape)} in the last one."
                )
    return {name: _mean([state[name] for state in states]) for name in last}


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    last = tensors[-1]
    if not last.is_floating_point():
        return last.detach().clone()
    total = torch.zeros(last.shape, dtype=torch.float64)
    for tensor in tensors:
        total += tensor.detach().to("cpu", torch.float64)
    return (total / len(tensors)).to(last.device, last.dtype)


def load_average(
    network: nn.Module, states: Sequence[Mapping[str, Tensor]], images: Iterable[Tensor]
) -> None:
    """Put the mean of the states into a network, and measure its batch normalisation on images.

    Without the second step the statistics belong to other weights, and a network may be no better
    than chance.

    Args:
        network: changed; its mode stays.
        states: as for `average_states`.
        images: (B, ...) batches of training images as the network takes them, in the shares of
            the classes that it was trained on; on any device. Not read where the network has no
            batch normalisation. A batch counts as much as another, whatever its size.
    Raises:
        InputError: as `average_states`, or states that do not fit the network, or no images.
    """
    average = average_states(states)
    try:
        network.load_state_dict(average)
    except RuntimeError as error:
        raise InputError(
            f"The states do not fit the network: {str(error).strip().splitlines()[-1].strip()}"
        ) from error
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    if not norms:
        return
    device = next((one.device for one in network.parameters()), torch.device("cpu"))
    batches = list[int]()

    def counted() -> Iterable[Tensor]:
        for batch in images:
            batches.append(len(batch))
            yield batch

    update_bn(counted(), network, device=device)
    if not batches:
        raise InputError(
            f"No images were given to measure {len(norms)} layers of batch normalisation on; at "
            "least one batch is needed."
        )
