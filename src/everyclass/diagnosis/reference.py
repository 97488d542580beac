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
from dataclasses import dataclass, replace

import numpy as np
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
from everyclass.stats.confusion import confusion_matrix

SIDE = 32
"""Images are averaged down to it, pixels."""

MOST_IMAGES = 4096
BATCH = 32
RATE = 2e-3
MOST_PASSES, MOST_EPOCHS, FEWEST_PASSES = 240, 32, 120
"""Of a training: so many passes, fewer where the images would come more often than that, but these
in any case."""

LEAST_PASSES, ENOUGH_PASSES, ENOUGH_EPOCHS = 80, 200, 12
"""With fewer it has not learned enough to say that there is nothing to learn: on 480 made-up tissue
images it begins to tell them apart after 7 epochs."""

LOOKS = 4
"""Times that images are judged on the way; the mean of its answers counts, as insight may come
before memory and go with it."""

FOLDS = 3
"""Parts of its own images that it is judged on in turn, trained on all others, where the held-out
ones are too few to say anything."""

MANY_HELD_OUT = 256
"""Held-out images from which they say what can be said."""

BY_HEART_IMAGES = 96
BY_HEART_ADVANTAGE = 0.5
WIDTHS = (16, 32, 64)


AGREED_SHARE = 0.5
"""Of two networks' agreement on evaluation images, from which training images count as
recognised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnEvaluation:
    """What the network makes of images as evaluations get them, when it learns from such ones.

    Args:
        held_out: its decisions on evaluation images that it was not trained on.
        training: its decisions on training images.
        agreed, agreed_on_training: Cohen's kappa of its decisions and those of a second network,
            that began with other weights, on either; 0 is chance, 1 is always. Two networks agree
            about as often as either is right (Jiang et al. 2022, arXiv:2106.13799), and that
            asks for no label.
    """

    held_out: Score
    training: Score
    agreed: float
    agreed_on_training: float

    @property
    def tells(self) -> bool:
        """It tells evaluation images apart, and training images by far not as well."""
        there = self.training.advantage < 0.5 * self.held_out.advantage
        return self.held_out.recovered and there

    @property
    def nothing(self) -> bool:
        """It makes nothing of evaluation images either."""
        return _nothing(self.held_out)

    @property
    def recognises(self) -> bool:
        """Two networks agree on training images as on evaluation images: then these look alike, and
        their labels are others."""
        return self.agreed_on_training >= AGREED_SHARE * self.agreed


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the network of ours makes of the images.

    Args:
        held_out: its decisions on images that it was not trained on; where these are few, on every
            image, by a network trained on others.
        permuted: the same after training with the labels of other images; None where it tells
            held-out images apart.
        by_heart: its decisions on a few images that it saw again and again; None likewise.
        on_evaluation: what it makes of evaluation images, where it makes hardly anything of
            training's and enough of them are known.
        images: it was trained on.
        passes: it made, of up to 32 images.
        parameters: of its own.
    """

    held_out: Score
    permuted: Score | None
    by_heart: Score | None
    images: int
    passes: int
    parameters: int
    on_evaluation: OnEvaluation | None = None

    @property
    def tells(self) -> bool:
        """It tells held-out images apart."""
        return self.held_out.recovered

    @property
    def nothing(self) -> bool:
        """It learns by heart, and others not: labels say nothing about images, as far as these
        images show."""
        return self.able and _nothing(self.held_out)

    @property
    def little(self) -> bool:
        """The same with more room for doubt."""
        return self.able and _nothing(self.held_out, strictly=False)

    @property
    def faint(self) -> bool:
        """It learns by heart, and of others so little that something hides it, if it is there."""
        high = self.held_out.interval[1] - self.held_out.chance
        return self.able and high < 2 * RECOVERED_ADVANTAGE * (1 - self.held_out.chance)

    @property
    def able(self) -> bool:
        """It learned enough to say that there is nothing to learn."""
        by_heart = 0.0 if self.by_heart is None else self.by_heart.advantage
        return self.passes >= _enough(self.images) and by_heart >= BY_HEART_ADVANTAGE


def _enough(images: int) -> int:
    """Passes from which it can say that there is nothing to learn."""
    return min(ENOUGH_PASSES, max(LEAST_PASSES, ENOUGH_EPOCHS * images // BATCH))


def _nothing(held_out: Score, *, strictly: bool = True) -> bool:
    """At chance, by an interval that leaves little room; strictly, less of it unless the decisions
    are no better than chance at all."""
    low, high = held_out.interval
    chance, room = held_out.chance, 1 - held_out.chance
    if low > chance or high - chance >= 2 * RECOVERED_ADVANTAGE * room:
        return False
    least = held_out.balanced_accuracy <= chance
    return not strictly or least or high - chance < 1.5 * RECOVERED_ADVANTAGE * room


def ask_reference(
    training: Sequence[CapturedBatch],
    held_out: Sequence[CapturedBatch],
    *,
    evaluation: tuple[Sequence[CapturedBatch], Sequence[CapturedBatch]] = ((), ()),
    n_classes: int,
    seed: int,
    seconds: float,
    clock: Callable[[], float],
) -> Reference:
    """Train the network: once, and more often where it makes nothing of the images.

    Args:
        training, held_out: batches with class ids as targets.
        evaluation: evaluation batches to train on and to judge by; empty for none.
        n_classes: C.
        seed: of weights and draws.
        seconds: for each training, at most.
        clock: tells the seconds.
    Raises:
        NotApplicable: the batches hold no images, or their targets are no class ids.
    """
    own, others = _images(training), _images(held_out)
    few = (own[0][:BY_HEART_IMAGES], own[1][:BY_HEART_IMAGES])

    def ask(data: _Data, *judged: _Data, shift: int = 0, enough: _Enough = _never) -> _Asked:
        until = clock() + seconds
        with seeded(seed + shift), torch.enable_grad():
            return _trained(data, judged, n_classes, enough=enough, until=until, clock=clock)

    told = ask(own, others, enough=lambda score: score.recovered)
    first = Reference(
        held_out=told.scores[0],
        permuted=None,
        by_heart=None,
        images=len(own[0]),
        passes=told.passes,
        parameters=told.parameters,
    )
    if first.tells:
        return first
    generator = torch.Generator().manual_seed(seed + 5)
    permuted = own[1][torch.randperm(len(own[1]), generator=generator)]
    beside = replace(
        first,
        permuted=ask((own[0], permuted), others).scores[0],
        by_heart=ask(few, few, enough=_known).scores[0],
    )
    if beside.able and not beside.nothing and len(others[1]) < MANY_HELD_OUT:
        beside = replace(beside, held_out=_in_turns(own, others, told.scores[0], ask))
    if not beside.faint or not evaluation[0]:
        return beside
    seen, judged = _images(evaluation[0]), _images(evaluation[1])
    asked = ask(seen, judged, own, enough=_known)
    second = ask(seen, judged, own, shift=1, enough=_known)
    agreed = [_kappa(a, b) for a, b in zip(asked.scores, second.scores)]
    return replace(
        beside,
        on_evaluation=OnEvaluation(
            held_out=asked.scores[0],
            training=asked.scores[1],
            agreed=agreed[0],
            agreed_on_training=agreed[1],
        ),
    )


def _in_turns(own: _Data, others: _Data, known: Score, ask: Callable[..., _Asked]) -> Score:
    """What was known of held-out images, and the same of all others by networks that did not see
    them; what was known alone where there was no time for these."""
    # An image that came twice must not stand on both sides.
    _, first = np.unique(own[0].flatten(1).cpu().numpy(), axis=0, return_index=True)
    once = torch.from_numpy(np.sort(first))
    images = torch.cat([own[0][once.to(own[0].device)], others[0]])
    labels = torch.cat([own[1][once], others[1]])
    part = torch.full((len(labels),), FOLDS)
    part[: len(once)] = torch.arange(len(once)) % FOLDS
    found = [known]
    for fold in range(FOLDS):
        rest, away = (part != fold).nonzero()[:, 0], (part == fold).nonzero()[:, 0]
        asked = ask(
            (images[rest.to(images.device)], labels[rest]),
            (images[away.to(images.device)], labels[away]),
            shift=2 + fold,
        )
        if asked.passes < _enough(len(rest)):
            return known
        found += asked.scores
    return Score(
        targets=np.concatenate([one.targets for one in found]),
        decisions=np.concatenate([one.decisions for one in found]),
        log_loss=float(np.average([one.log_loss for one in found], weights=[*map(_size, found)])),
        n_classes=max(one.n_classes for one in found),
    )


def _size(one: Score) -> int:
    return len(one.targets)


def _kappa(one: Score, other: Score) -> float:
    """Agreement of two networks beyond chance (Cohen 1960)."""
    table = confusion_matrix(one.decisions, other.decisions, n_classes=one.n_classes)
    shares = table / max(1, table.sum())
    by_chance = float(shares.sum(0) @ shares.sum(1))
    return 0.0 if by_chance >= 1 else (float(shares.trace()) - by_chance) / (1 - by_chance)


_Data = tuple[Tensor, Tensor]
"""Images and their labels."""


_Enough = Callable[[Score], bool]


def _never(_: Score) -> bool:
    return False


def _known(score: Score) -> bool:
    return score.advantage >= BY_HEART_ADVANTAGE


@dataclass(frozen=True, slots=True)
class _Asked:
    scores: tuple[Score, ...]
    passes: int
    parameters: int


def _trained(
    data: _Data,
    judged: Sequence[_Data],
    n_classes: int,
    *,
    enough: _Enough,
    until: float,
    clock: Callable[[], float],
) -> _Asked:
    """Train with every class equally often; the decisions are those of the mean answer.

    Args:
        enough: of the score on the first images that are judged: whether training may end.
    """
    images, labels = data
    axes = (0, 2, 3) if images.ndim == 4 else (0,)
    mean, sd = images.mean(axes, keepdim=True), images.std(axes, keepdim=True).clamp(min=1e-6)
    images = (images - mean) / sd
    network = _network(images, max(n_classes, int(labels.max()) + 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    shares = 1 / torch.bincount(labels).clamp(min=1)[labels].double()
    most = min(MOST_PASSES, max(FEWEST_PASSES, MOST_EPOCHS * len(labels) // BATCH))
    labels = labels.to(images.device)
    answers: list[list[Tensor]] = [[] for _ in judged]
    passes = 0
    for look in range(1, LOOKS + 1):
        while passes < look * most // LOOKS and clock() <= until:
            rows = torch.multinomial(shares, min(BATCH, len(labels)), True).to(images.device)
            loss = functional.cross_entropy(network(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            passes += 1
        for known, (others, _) in zip(answers, judged):
            known.append(_answers(network, (others - mean) / sd))
        means = [torch.stack(one).mean(0) for one in answers]
        scores = tuple(_score(mean, wanted) for mean, (_, wanted) in zip(means, judged))
        if enough(scores[0]):
            break
    n = sum(one.numel() for one in network.parameters())
    return _Asked(scores=scores, passes=passes, parameters=n)


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
    # Torch 2.14.1 has been seen to corrupt memory in the backward pass of a 1x1 convolution of
    # stride 2 where few channels are in the channels-last format. contiguous() leaves a single
    # channel in it, for which it takes both formats for one.
    values = values.clone(memory_format=torch.contiguous_format)
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
