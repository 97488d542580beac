"""What one forward pass tells, as sums: computed on the device, many passes at a time.

Comes in: logits and targets of some consecutive passes. Goes out: one row of sums a pass. Nothing
here waits for the device; whoever reads the numbers does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

ScoreKind = Literal["logits", "probabilities", "scores"]
"""What the columns are.

- `logits`: softmax makes them probabilities (log-probabilities are logits too).
- `probabilities`: rows that sum to 1.
- `scores`: only their order means something (outputs of a squared or a margin loss).
"""

COUNTS = ("predicted", "labelled", "hits", "own_log_probs")
SCALARS = (
    "images",
    "log_loss",
    "shifted_log_loss",
    "own_score",
    "shuffled_score",
    "square_score",
    "common_score",
    "non_finite",
    "given_loss",
)
SMALLEST_PROBABILITY = 1e-12
LARGEST_CONFUSION = 64
"""Classes up to which the whole matrix is kept; its margins and diagonal always are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Sums over the images of each of k forward passes, on the host.

    Args:
        predicted: (k, C) images given each class.
        labelled: (k, C) images of each class.
        hits: (k, C) images of each class that were given it.
        own_log_probs: (k, C) sum of ln p(own class) over the images of each class.
        images: (k,) images that count.
        log_loss: (k,) sum of -ln p(own class).
        shifted_log_loss: (k,) the same when the logits are read as those of even class
            frequencies: ln prior is added to them first.
        own_score: (k,) mean over images of the score of the own class.
        shuffled_score: (k,) its mean over all shuffles of the pass's labels.
        square_score: (k,) mean square of the scores, each image's mean taken off.
        common_score: (k,) the part of it that all images of the pass share.
        non_finite: (k,) images with a score that is NaN or infinite.
        given_loss: (k,) what the script's own loss said, NaN when not given.
    """

    predicted: NDArray[np.float64]
    labelled: NDArray[np.float64]
    hits: NDArray[np.float64]
    own_log_probs: NDArray[np.float64]
    images: NDArray[np.float64]
    log_loss: NDArray[np.float64]
    shifted_log_loss: NDArray[np.float64]
    own_score: NDArray[np.float64]
    shuffled_score: NDArray[np.float64]
    square_score: NDArray[np.float64]
    common_score: NDArray[np.float64]
    non_finite: NDArray[np.float64]
    given_loss: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def from_packed(cls, packed: NDArray[np.float64], *, n_passes: int, n_classes: int) -> Rows:
        """Unpack what `measure` packed."""
        width = len(COUNTS) * n_classes + len(SCALARS)
        table = packed[: n_passes * width].reshape(n_passes, width)
        columns: dict[str, NDArray[np.float64]] = {}
        for i, name in enumerate(COUNTS):
            columns[name] = table[:, i * n_classes : (i + 1) * n_classes]
        for i, name in enumerate(SCALARS):
            columns[name] = table[:, len(COUNTS) * n_classes + i]
        return cls(**columns)


def packed_confusion(
    packed: NDArray[np.float64], *, n_passes: int, n_classes: int
) -> NDArray[np.float64] | None:
    """(C, C) counts of the packed passes together, row = target; None above 64 classes."""
    rest = packed[n_passes * (len(COUNTS) * n_classes + len(SCALARS)) :]
    return rest.reshape(n_classes, n_classes) if n_classes <= LARGEST_CONFUSION else None


@torch.no_grad()
def measure(
    scores: Sequence[Tensor],
    targets: Sequence[Tensor],
    losses: Sequence[Tensor | None],
    *,
    kind: ScoreKind,
    log_prior: Tensor,
) -> Tensor:
    """Sums of k passes, packed into one tensor so that one copy brings them to the host.

    Args:
        scores: k tensors (B_j, C).
        targets: k tensors (B_j,) of class ids; an id outside 0..C-1 does not count.
        losses: k scalars, or None.
        kind: what the scores are.
        log_prior: (C,) ln of the class frequencies, for `shifted_log_loss`.
    Returns:
        (k (4 C + 9) [+ C C],) float32, on the device of the scores: see `Rows`, and
        `packed_confusion` for the end of it.
    """
    z, y = _stacked(scores, targets)
    n_classes = z.shape[2]
    counts_here = (y >= 0) & (y < n_classes)
    finite = torch.isfinite(z).all(dim=2)
    non_finite = (counts_here & ~finite).sum(dim=1)
    counts_here = counts_here & finite
    mask = counts_here.to(z.dtype)
    z = torch.where(counts_here.unsqueeze(2), z, torch.zeros((), device=z.device))
    y = torch.where(counts_here, y, torch.zeros((), dtype=y.dtype, device=y.device))
    images = mask.sum(dim=1)

    guess = z.argmax(dim=2)
    logits = _as_logits(z, kind)
    own = _of_own_class(logits.log_softmax(dim=2), y) * mask
    shifted = _of_own_class((logits + log_prior).log_softmax(dim=2), y) * mask
    labelled = _by_class(y, mask, n_classes)
    counts = [
        _by_class(guess, mask, n_classes),
        labelled,
        _by_class(y, (guess == y) * mask, n_classes),
        _by_class(y, own, n_classes),
    ]
    scalars = [
        images,
        -own.sum(dim=1),
        -shifted.sum(dim=1),
        *_score_moments(z, y, mask, labelled),
        non_finite.to(z.dtype),
        _given(losses, z.device),
    ]
    table = torch.cat([*counts, torch.stack(scalars, dim=1)], dim=1)
    if n_classes > LARGEST_CONFUSION:
        return table.flatten()
    cells = torch.zeros(n_classes * n_classes, device=z.device)
    cells = cells.index_add(0, (y * n_classes + guess).flatten(), mask.flatten())
    return torch.cat([table.flatten(), cells])


def _stacked(scores: Sequence[Tensor], targets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(k, B, C) float32 and (k, B); passes of fewer images are filled up with target -1."""
    if all(one.shape == scores[0].shape for one in scores):
        return torch.stack(tuple(scores)).float(), torch.stack(tuple(targets))
    filled = pad_sequence(list(targets), batch_first=True, padding_value=-1)
    return pad_sequence(list(scores), batch_first=True).float(), filled


def _of_own_class(values: Tensor, targets: Tensor) -> Tensor:
    """(k, B) of (k, B, C): each image's value at its own class."""
    return values.gather(2, targets.unsqueeze(2)).squeeze(2)


def _by_class(ids: Tensor, values: Tensor, n_classes: int) -> Tensor:
    """(k, C): sums of (k, B) values over the images of each id, pass by pass."""
    passes = torch.arange(len(ids), device=ids.device).unsqueeze(1) * n_classes
    sums = torch.zeros(len(ids) * n_classes, device=values.device)
    return sums.index_add(0, (passes + ids).flatten(), values.flatten()).view(-1, n_classes)


def _score_moments(
    scores: Tensor, targets: Tensor, mask: Tensor, labelled: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """own_score, shuffled_score, square_score and common_score of `Rows`, (k,) each.

    The mean over all shuffles of the labels needs no shuffle: each label meets each image equally
    often, so it is the labels' mean of the images' mean score.
    """
    images = mask.sum(dim=1).clamp(min=1)
    centred = (scores - scores.mean(dim=2, keepdim=True)) * mask.unsqueeze(2)
    common = centred.sum(dim=1) / images.unsqueeze(1)
    return (
        _of_own_class(centred, targets).sum(dim=1) / images,
        (common * labelled).sum(dim=1) / images,
        centred.square().sum(dim=(1, 2)) / (images * scores.shape[2]),
        common.square().mean(dim=1),
    )


def _given(losses: Sequence[Tensor | None], device: torch.device) -> Tensor:
    nan = torch.full((), torch.nan, device=device)
    given = [nan if one is None else one.detach().float().reshape(()) for one in losses]
    return torch.stack([one.to(device) for one in given])


def _as_logits(scores: Tensor, kind: ScoreKind) -> Tensor:
    if kind == "probabilities":
        return scores.clamp(min=SMALLEST_PROBABILITY).log()
    return scores
