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
    same = all(one.shape == scores[0].shape for one in scores)
    if same:
        z = torch.stack(tuple(scores)).float()
        y = torch.stack(tuple(targets))
    else:
        z = pad_sequence(list(scores), batch_first=True).float()
        y = pad_sequence(list(targets), batch_first=True, padding_value=-1)
    n_classes = z.shape[2]
    counts_here = (y >= 0) & (y < n_classes)
    finite = torch.isfinite(z).all(dim=2)
    non_finite = (counts_here & ~finite).sum(dim=1)
    counts_here = counts_here & finite
    mask = counts_here.to(z.dtype)
    z = torch.where(counts_here.unsqueeze(2), z, torch.zeros((), device=z.device))
    y = torch.where(counts_here, y, torch.zeros((), dtype=y.dtype, device=y.device))
    images = mask.sum(dim=1)
    at_least_one = images.clamp(min=1)

    guess = z.argmax(dim=2)
    logits = _as_logits(z, kind)
    log_probs = logits.log_softmax(dim=2)
    own = log_probs.gather(2, y.unsqueeze(2)).squeeze(2) * mask
    shifted = (logits + log_prior).log_softmax(dim=2).gather(2, y.unsqueeze(2)).squeeze(2) * mask

    rows = torch.arange(len(z), device=z.device).unsqueeze(1) * n_classes
    labels = (rows + y).flatten()
    flat = torch.zeros(len(z) * n_classes, device=z.device)
    weight = mask.flatten()
    predicted = flat.index_add(0, (rows + guess).flatten(), weight).view(len(z), n_classes)
    labelled = flat.index_add(0, labels, weight).view(len(z), n_classes)
    hits = flat.index_add(0, labels, ((guess == y) * mask).flatten()).view(len(z), n_classes)
    own_by_class = flat.index_add(0, labels, own.flatten()).view(len(z), n_classes)

    centred = (z - z.mean(dim=2, keepdim=True)) * mask.unsqueeze(2)
    common = centred.sum(dim=1) / at_least_one.unsqueeze(1)
    own_score = centred.gather(2, y.unsqueeze(2)).squeeze(2).sum(dim=1) / at_least_one
    shuffled = (common * labelled).sum(dim=1) / at_least_one
    square = centred.square().sum(dim=(1, 2)) / (at_least_one * n_classes)

    nan = torch.full((), torch.nan, device=z.device)
    given = torch.stack(
        [nan if one is None else one.detach().float().reshape(()) for one in losses]
    )
    table = torch.cat(
        [
            predicted,
            labelled,
            hits,
            own_by_class,
            torch.stack(
                [
                    images,
                    -own.sum(dim=1),
                    -shifted.sum(dim=1),
                    own_score,
                    shuffled,
                    square,
                    common.square().mean(dim=1),
                    non_finite.to(z.dtype),
                    given.to(z.device),
                ],
                dim=1,
            ),
        ],
        dim=1,
    )
    if n_classes > LARGEST_CONFUSION:
        return table.flatten()
    cells = torch.zeros(n_classes * n_classes, device=z.device)
    cells = cells.index_add(0, (y * n_classes + guess).flatten(), weight)
    return torch.cat([table.flatten(), cells])


def _as_logits(scores: Tensor, kind: ScoreKind) -> Tensor:
    if kind == "probabilities":
        return scores.clamp(min=SMALLEST_PROBABILITY).log()
    return scores
