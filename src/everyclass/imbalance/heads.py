"""The last layer anew, on cached features: most of what imbalance does to a network is done there.

Comes in: (N, D) features of the training images, as the frozen network gives them to its last
layer, and their labels. Goes out: a last layer. Costs seconds, knows no images.

Natural sampling learns the best features; only the last layer then takes the frequent classes'
part. Three ways to take that back: shorten its rows (`tau_normalised`), learn it anew
(`retrain_head`, cRT), or learn one scale a class (`learn_scales`, LWS). One of them, not two, and
none after a training that was balanced already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.imbalance.sampling import epoch_order
from everyclass.seeding import stream_seed

LENGTH = 4.0
"""Features are brought to this length, in the root mean square, while a head is learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadTraining:
    """How a last layer is learned: SGD with momentum 0.9 and a cosine from the rate to 0.

    Attributes:
        epochs: of N draws.
        learning_rate: the first one.
        batch_size: features a step.
        weight_decay: of the rows; none of the bias.
        power: of the sampling, in [0, 1]; 0 is class-balanced, which is the point.
    """

    epochs: int = 10
    learning_rate: float = 0.1
    batch_size: int = 128
    weight_decay: float = 5e-4
    power: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0:
            raise InputError(
                f"a head needs at least one epoch, one feature a batch and a rate above 0; got "
                f"{self.epochs}, {self.batch_size} and {self.learning_rate}."
            )


def tau_normalised(weight: Tensor, *, tau: float = 1.0) -> Tensor:
    """The rows of a last layer, each divided by its length to the power tau. Use it without a bias.

    Rows of frequent classes grow long while training; at tau = 1 all have length 1. Choose tau on
    validation images, by balanced accuracy. Nothing to gain for a `CosineLinear`, nor where strong
    weight decay has kept the rows alike.

    Args:
        weight: (C, D) float.
        tau: 0 changes nothing, 1 is full.
    Returns:
        (C, D), type and device of `weight`; a row of zeros stays.
    Raises:
        InputError: not (C, D).
    Source: Kang et al. 2020, arXiv:1910.09217, equation 3.
    Example:
        >>> tau_normalised(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), tau=0.5)
        tensor([[1.3416, 1.7889],
                [0.0000, 1.4142]])
    """
    if weight.ndim != 2:
        raise InputError(f"weight has shape {tuple(weight.shape)}; (C, D) is expected.")
    length = weight.norm(dim=1, keepdim=True)
    return weight / torch.where(length > 0, length, 1.0) ** tau


def retrain_head(
    features: Tensor,
    labels: Tensor,
    *,
    n_classes: int,
    seed: int,
    training: HeadTraining | None = None,
) -> nn.Linear:
    """A new last layer, learned from zero on class-balanced draws (cRT).

    Its logits imply the prior of the draws: even, at power 0.

    Args:
        features: (N, D) float, on any device.
        labels: (N,) int64 class ids.
        n_classes: C.
        seed: of the draws; the same arguments give the same layer.
        training: how; `HeadTraining()` when left out.
    Returns:
        A layer D -> C on the device of `features`, float32.
    Raises:
        InputError: shapes do not fit, a label outside [0, C), features that are not finite.
    Source: Kang et al. 2020, arXiv:1910.09217, section 4.1. They begin at random; the problem is
        convex, and zero is as far from every class.
    """
    how = training or HeadTraining()
    rows = _checked(features, labels, n_classes)
    # Features of any scale are learned from at the same rate: the largest one that holds depends
    # on their lengths, and those differ by a factor of 30 between networks.
    length = float(rows.pow(2).sum(dim=1).mean().sqrt()) if len(rows) else 0.0
    scale = LENGTH / length if length > 0 else 1.0
    rows = scale * rows
    head = nn.Linear(rows.shape[1], n_classes, device=rows.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    groups = [
        {"params": [head.weight], "weight_decay": how.weight_decay},
        {"params": [head.bias], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=how.learning_rate, momentum=0.9)
    _learn(head, optimizer, rows, labels, seed=seed, how=how)
    with torch.no_grad():
        head.weight.mul_(scale)
    return head


def learn_scales(
    features: Tensor,
    labels: Tensor,
    head: nn.Linear,
    *,
    seed: int,
    training: HeadTraining | None = None,
) -> tuple[nn.Linear, Tensor]:
    """One factor on the logit of each class, learned on class-balanced draws (LWS).

    Args:
        features: (N, D) float.
        labels: (N,) int64 class ids.
        head: D -> C, as it was trained; not changed.
        seed: of the draws.
        training: how; weight decay is not applied.
    Returns:
        A layer with the factors in its rows and its bias, and the (C,) factors.
    Raises:
        InputError: as `retrain_head`.
    Source: Kang et al. 2020, arXiv:1910.09217, section 4.3.
    """
    how = training or HeadTraining()
    rows = _checked(features, labels, head.out_features)
    with torch.no_grad():
        logits = functional.linear(
            rows,
            head.weight.to(rows),
            None if head.bias is None else head.bias.to(rows),
        )
    scaling = _Scaling(head.out_features).to(rows.device)
    optimizer = torch.optim.SGD(scaling.parameters(), lr=how.learning_rate, momentum=0.9)
    _learn(scaling, optimizer, logits, labels, seed=seed, how=how)
    factors = scaling.factors.detach()
    scaled = nn.Linear(
        head.in_features, head.out_features, bias=head.bias is not None, device=rows.device
    )
    with torch.no_grad():
        scaled.weight.copy_(factors[:, None] * head.weight.to(rows))
        if head.bias is not None:
            scaled.bias.copy_(factors * head.bias.to(rows))
    return scaled, factors


class _Scaling(nn.Module):
    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.ones(n_classes))

    def forward(self, logits: Tensor) -> Tensor:
        return self.factors * logits


def _learn(
    layer: nn.Module,
    optimizer: torch.optim.Optimizer,
    rows: Tensor,
    labels: Tensor,
    *,
    seed: int,
    how: HeadTraining,
) -> None:
    ids, targets = labels.cpu().numpy(), labels.to(rows.device)
    steps = math.ceil(len(ids) / how.batch_size)
    with torch.enable_grad():
        for epoch in range(how.epochs):
            order = torch.from_numpy(
                epoch_order(ids, power=how.power, seed=stream_seed(seed, "head"), epoch=epoch)
            ).to(rows.device)
            for step, chosen in enumerate(torch.split(order, how.batch_size)):
                done = (epoch * steps + step) / (how.epochs * steps)
                for group in optimizer.param_groups:
                    group["lr"] = how.learning_rate * (1 + math.cos(math.pi * done)) / 2
                optimizer.zero_grad(set_to_none=True)
                loss = functional.cross_entropy(layer(rows[chosen]), targets[chosen])
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()


def _checked(features: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    if features.ndim != 2 or labels.shape != features.shape[:1] or labels.is_floating_point():
        raise InputError(
            f"features have shape {tuple(features.shape)} and labels {tuple(labels.shape)} of "
            f"{labels.dtype}; (N, D) and (N,) class ids are expected."
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise InputError(f"a label lies outside 0 to {n_classes - 1}.")
    rows = features.detach().float()
    if not bool(torch.isfinite(rows).all()):
        raise InputError("features hold NaN or infinity; finite numbers are expected.")
    return rows
