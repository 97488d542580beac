"""Whether the captured labels can be told from the captured images at all.

Comes in: captured batches in their parts. Goes out: what a small residual network of ours makes of
them, with the same images under permuted labels beside it, and what it learns by heart. It answers
what no change of somebody's own training can: where it tells held-out images apart, the fault lies
in the training; where it knows its own images by heart and no other, it lies in the labels. Knows
nothing of that training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import CapturedBatch
from everyclass.diagnosis.lab import ids_of
from everyclass.diagnosis.material import rows_of
from everyclass.diagnosis.nested import tensors_in
from everyclass.diagnosis.scores import RECOVERED_ADVANTAGE, Score
from everyclass.diagnosis.snapshot import seeded

SIDE = 32
"""Images are averaged down to it, pixels."""

MOST_IMAGES = 4096
BATCH = 32
RATE = 2e-3
MOST_PASSES = 400
LOOKS = 4
"""Times that images are judged on the way; the mean of its answers counts, as insight may come
before memory and go with it."""

BY_HEART_IMAGES = 96
BY_HEART_ADVANTAGE = 0.5
WIDTHS = (16, 32, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the network of ours makes of the images.

    Args:
        held_out: its decisions on images that it was not trained on.
        permuted: the same after training with the labels of other images; None where it tells
            held-out images apart.
        by_heart: its decisions on a few images that it saw again and again; None likewise.
        images: it was trained on.
        passes: it made, of up to 32 images.
    """

    held_out: Score
    permuted: Score | None
    by_heart: Score | None
    images: int
    passes: int

    @property
    def tells(self) -> bool:
        """It tells held-out images apart."""
        return self.held_out.recovered

    @property
    def nothing(self) -> bool:
        """It learns by heart, and others not: labels say nothing about images, as far as these
        images show."""
        low, high = self.held_out.interval
        chance = self.held_out.chance
        none = low <= chance and (high - chance) < 2 * RECOVERED_ADVANTAGE * (1 - chance)
        able = self.by_heart is not None and self.by_heart.advantage >= BY_HEART_ADVANTAGE
        return none and able


def ask_reference(
    training: Sequence[CapturedBatch],
    held_out: Sequence[CapturedBatch],
    *,
    n_classes: int,
    seed: int,
    seconds: float,
    clock: Callable[[], float],
) -> Reference:
    """Train the network three times.

    Args:
        training, held_out: batches with class ids as targets.
        n_classes: C.
        seed: of weights and draws.
        seconds: for each of the three, at most.
        clock: tells the seconds.
    Raises:
        NotApplicable: the batches hold no images, or their targets are no class ids.
    """
    images, labels = _images(training)
    others, wanted = _images(held_out)
    n_classes = max(n_classes, int(labels.max()) + 1)
    axes = (0, 2, 3) if images.ndim == 4 else (0,)
    mean, sd = images.mean(axes, keepdim=True), images.std(axes, keepdim=True).clamp(min=1e-6)
    images, others = (images - mean) / sd, (others - mean) / sd
    generator = torch.Generator().manual_seed(seed + 5)
    few = slice(0, BY_HEART_IMAGES)
    permuted = labels[torch.randperm(len(labels), generator=generator)]

    def trained(x: Tensor, y: Tensor, judged: tuple[Tensor, Tensor]) -> tuple[Score, int]:
        with seeded(seed), torch.enable_grad():
            network = _network(x, n_classes)
            return _trained(network, (x, y), judged, until=clock() + seconds, clock=clock)

    told, passes = trained(images, labels, (others, wanted))
    asked = not told.recovered  # nobody asks for what memory explains where there is insight
    return Reference(
        held_out=told,
        permuted=trained(images, permuted, (others, wanted))[0] if asked else None,
        by_heart=trained(images[few], labels[few], (images[few], labels[few]))[0]
        if asked
        else None,
        images=len(images),
        passes=passes,
    )


def _trained(
    network: nn.Module,
    data: tuple[Tensor, Tensor],
    judged: tuple[Tensor, Tensor],
    *,
    until: float,
    clock: Callable[[], float],
) -> tuple[Score, int]:
    """Train with every class equally often; the decisions are those of the mean answer."""
    images, labels = data
    n_classes = max(2, int(labels.max()) + 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    shares = 1 / torch.bincount(labels, minlength=n_classes).clamp(min=1)[labels].double()
    log_probs = []
    passes = 0
    for look in range(1, LOOKS + 1):
        while passes < look * MOST_PASSES // LOOKS and clock() <= until:
            rows = torch.multinomial(shares, min(BATCH, len(labels)), True).to(images.device)
            loss = functional.cross_entropy(network(images[rows]), labels.to(images.device)[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            passes += 1
        log_probs.append(_answers(network, judged[0]))
    return _score(torch.stack(log_probs).mean(0), judged[1]), passes


def _answers(network: nn.Module, images: Tensor) -> Tensor:
    """(N, C) log-probabilities, on the CPU."""
    with torch.no_grad():
        parts = [network(part).float().log_softmax(1).cpu() for part in torch.split(images, 256)]
    return torch.cat(parts)


def _score(log_probs: Tensor, labels: Tensor) -> Score:
    known = labels < log_probs.shape[1]
    return Score(
        targets=labels[known].numpy(),
        decisions=log_probs[known].argmax(1).numpy(),
        log_loss=float(-log_probs[known].gather(1, labels[known, None]).mean()),
        n_classes=max(log_probs.shape[1], int(labels.max()) + 1),
    )


def _images(batches: Sequence[CapturedBatch]) -> tuple[Tensor, Tensor]:
    """(N, C, side, side) or (N, F) float32 on their device, (N,) int64 on the CPU."""
    found, labels, room = [], [], MOST_IMAGES
    for batch in batches:
        ids, n_rows = ids_of(batch), rows_of(batch)
        inputs = next(
            (
                one
                for one in tensors_in((batch.args, dict(batch.keywords)))
                if one.ndim > 1 and one.shape[0] == n_rows
            ),
            None,
        )
        if inputs is None:
            raise NotApplicable("The model's inputs are no images, one a row.")
        known = (ids >= 0).nonzero()[:room, 0]
        found.append(_small(inputs[known.to(inputs.device)]))
        labels.append(ids[known])
        room -= len(known)
        if room <= 0:
            break
    if len({one.shape[1:] for one in found}) > 1:
        raise NotApplicable("The captured images have several shapes.")
    return torch.cat(found).nan_to_num(0.0, 0.0, 0.0), torch.cat(labels)


def _small(inputs: Tensor) -> Tensor:
    values = inputs.detach().float()
    if values.ndim != 4:
        return values.flatten(1)
    if values.shape[1] > values.shape[3]:  # channels stand last
        values = values.permute(0, 3, 1, 2)
    side = max(values.shape[2:])
    if side <= SIDE:
        return values
    height, width = (math.ceil(SIDE * one / side) for one in values.shape[2:])
    return functional.adaptive_avg_pool2d(values, (height, width))


class _Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2015), with GroupNorm: it needs no statistics
    that a short training would not have."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.GroupNorm(8, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm_too = nn.GroupNorm(8, width)
        self.shortcut = nn.Conv2d(channels, width, 1, stride=2, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        inner = functional.relu(self.norm(self.first(images)))
        return functional.relu(self.norm_too(self.second(inner)) + self.shortcut(images))


def _network(images: Tensor, n_classes: int) -> nn.Module:
    if images.ndim == 2:
        layers: list[nn.Module] = [
            nn.Linear(images.shape[1], 256),
            nn.ReLU(),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, n_classes),
        ]
    else:
        channels = (images.shape[1], *WIDTHS)
        blocks = [_Block(a, b) for a, b in zip(channels, WIDTHS)]
        pool = (nn.AdaptiveAvgPool2d(2), nn.Flatten())
        layers = [*blocks, *pool, nn.Linear(4 * WIDTHS[-1], n_classes)]
    return nn.Sequential(*layers).to(images.device)
