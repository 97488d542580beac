"""Batch normalisation by the statistics of the whole batch, where processes share it.

Comes in: a network whose layers of batch normalisation would each see a share of the batch. Goes
out: for the length of a forward pass, layers that see all of it, as on one process. PyTorch has
`SyncBatchNorm` for this, on graphics cards alone; and a network converted to it would wait for the
other processes in every check and trial that one process makes by itself.

Mean, variance and count of each process are exchanged (Chan et al. 1979, updating formulae for
variances), and two sums in the backward pass: Ioffe and Szegedy 2015, arXiv:1502.03167, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from everyclass.errors import InputError

KNOWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, BatchNormAct2d)


class WholeBatchNorms:
    """The layers of batch normalisation of a network.

    Args:
        module: whose layers; nothing of it changes but during `over_all`.
    Raises:
        InputError: a kind of batch normalisation whose forward pass is not known.
    """

    def __init__(self, module: nn.Module) -> None:
        self._norms = [one for one in module.modules() if isinstance(one, _BatchNorm)]
        odd = next((type(one) for one in self._norms if type(one) not in KNOWN), None)
        if odd is not None:
            raise InputError(
                f"The model has batch normalisation of a kind ({odd.__module__}.{odd.__name__}) "
                "whose statistics cannot be taken over several processes.",
                remedy="Train it in one process, or choose another --model.",
            )

    @contextmanager
    def over_all(self, *, counted: bool) -> Iterator[None]:
        """Statistics of all processes, for the layers in training mode.

        Args:
            counted: False if the images of this process are none of the batch's.
        """
        for norm in self._norms:
            if norm.training:  # frozen ones keep the statistics that they have
                setattr(norm, "forward", partial(_forward, norm, counted))  # noqa: B010
        try:
            yield
        finally:
            for norm in self._norms:
                norm.__dict__.pop("forward", None)


def _forward(norm: _BatchNorm, counted: bool, inputs: Tensor) -> Tensor:
    outputs, mean, variance, n = _Normalised.apply(
        inputs, norm.weight, norm.bias, norm.eps, counted
    )
    if norm.track_running_stats and norm.running_mean is not None:
        _remember(norm, mean, variance, n)
    if isinstance(norm, BatchNormAct2d):
        outputs = norm.act(norm.drop(outputs))
    found: Tensor = outputs
    return found


@torch.no_grad()
def _remember(norm: _BatchNorm, mean: Tensor, variance: Tensor, n: Tensor) -> None:
    """Running statistics, as torch has them: of the variance, that of the population."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    share: Any = norm.momentum
    if share is None:
        share = 1.0 / norm.num_batches_tracked.float()
    unbiased = variance * (n / (n - 1).clamp(min=1))
    norm.running_mean += share * (mean.to(norm.running_mean.dtype) - norm.running_mean)
    norm.running_var += share * (unbiased.to(norm.running_var.dtype) - norm.running_var)


class _Normalised(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, per channel, over all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        counted: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        values = _exact(inputs)
        variance, mean = torch.var_mean(values, _but_channels(inputs), correction=0)
        n = mean.new_full((1,), inputs.numel() // inputs.shape[1] if counted else 0)
        own = torch.cat([mean, variance, n])
        received = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(received, own)
        of_rank = torch.stack(received)
        means, variances = of_rank[:, : len(mean)], of_rank[:, len(mean) : -1]
        counts = of_rank[:, -1:]
        total = counts.sum()
        mean = (counts * means).sum(dim=0) / total
        variance = (counts * (variances + (means - mean).square())).sum(dim=0) / total
        ctx.save_for_backward(inputs, weight, mean, (variance + eps).rsqrt(), total)
        ctx.counted = counted
        outputs = functional.batch_norm(inputs, mean, variance, weight, bias, False, 0.0, eps)
        ctx.mark_non_differentiable(mean, variance, total)
        return outputs, mean, variance, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, scale, total = ctx.saved_tensors
        shape = [1, -1, *[1] * (inputs.ndim - 2)]
        gradient = _exact(gradients[0])
        normal = (_exact(inputs) - mean.view(shape)) * scale.view(shape)
        dims = _but_channels(inputs)
        own = torch.cat([gradient.sum(dims), (gradient * normal).sum(dims)])
        whole = own.clone() if ctx.counted else torch.zeros_like(own)
        dist.all_reduce(whole)
        of_bias, of_weight = own.chunk(2) if weight is not None else (None, None)
        if weight is not None:
            scale = scale * weight
        if not ctx.counted:  # no image of the batch: nothing hangs on what it becomes
            return torch.zeros_like(inputs), of_weight, of_bias, None, None
        shift, slope = (one.view(shape) / total for one in whole.chunk(2))
        found = (gradient - shift - normal * slope) * scale.view(shape)
        return found.to(inputs.dtype), of_weight, of_bias, None, None


def _exact(values: Tensor) -> Tensor:
    """In 32 bits at least: sums of half-precision numbers are too coarse."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _but_channels(values: Tensor) -> list[int]:
    return [d for d in range(values.ndim) if d != 1]
