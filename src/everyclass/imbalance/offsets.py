"""One offset a class on the logits, found on validation images for the highest balanced accuracy.

Comes in: logits and targets. Goes out: offsets, and whether they are to be trusted. `sweep_tau` is
the same with one number, tau log p_c, and the better choice where a class has few validation
images: C numbers fitted on them fit their luck. So offsets are judged on images that they were not
found on, and kept only where those say so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everyclass.errors import InputError
from everyclass.stats.confusion import balanced_accuracy, confusion_matrix
from everyclass.stats.intervals import paired_balanced_accuracy_gain

FOLDS = 5
MOST_SWEEPS = 20

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offsets:
    """What was found, and why it was kept or not.

    Attributes:
        values: (C,) to add to the logits; zeros when not kept.
        found: (C,) of all images, kept or not.
        gain: in balanced accuracy, on images whose fold had no part in their offsets.
        standard_error: of the gain.
        sentence: in words.
    """

    values: tuple[float, ...]
    found: tuple[float, ...]
    gain: float
    standard_error: float
    sentence: str


def find_offsets(logits: Tensor, targets: Tensor) -> Offsets:
    """Offsets b for the decision argmax(logits + b), kept if they help on images not seen before.

    The images are divided into 5 folds, class by class. Those of a fold are decided with the
    offsets of the four others; the gain of these decisions over argmax(logits) must exceed its
    standard error, paired image by image.

    Args:
        logits: (N, C) float of the validation images.
        targets: (N,) int64 class ids.
    Raises:
        InputError: shapes do not fit, or logits that are not finite.
    """
    values, rows = _checked(logits, targets)
    n_classes = values.shape[1]
    if rows.size == 0:
        zeros = (0.0,) * n_classes
        return Offsets(
            values=zeros,
            found=zeros,
            gain=0.0,
            standard_error=float("inf"),
            sentence="no validation images to find offsets on",
        )
    unchanged = values.argmax(axis=1)
    decided = unchanged.copy()
    folds = _folds(rows)
    for fold in range(FOLDS):
        held, rest = folds == fold, folds != fold
        decided[held] = (values[held] + best_offsets(values[rest], rows[rest])).argmax(axis=1)
    gain, error = paired_balanced_accuracy_gain(rows, unchanged, decided, n_classes=n_classes)
    found = best_offsets(values, rows)
    kept = gain > error
    base = balanced_accuracy(confusion_matrix(rows, unchanged, n_classes=n_classes))
    return Offsets(
        values=tuple(found.tolist()) if kept else (0.0,) * n_classes,
        found=tuple(found.tolist()),
        gain=gain,
        standard_error=error,
        sentence=f"offsets move balanced accuracy from {base:.3f} to {base + gain:.3f} on "
        f"{rows.size:,} validation images that they were not found on; the standard error of the "
        f"difference is {error:.3f}, so they are {'kept' if kept else 'not kept'}",
    )


def best_offsets(values: Floats, rows: Ids) -> Floats:
    """Offsets that no change of a single one improves, from 0 on; they sum to 0.

    One offset at a time: an image is decided as class c exactly when b_c is above
    max_(j != c)(f_j + b_j) - f_c, so balanced accuracy is a step function of b_c with N steps, and
    its best interval is found exactly. In it, the point nearest to the offset as it was is taken,
    or its middle if it has one, so that it does not stand at an edge.

    Args:
        values: (N, C) float64 logits.
        rows: (N,) int64 class ids.
    """
    n_classes = values.shape[1]
    offsets = np.zeros(n_classes)
    counts = np.bincount(rows, minlength=n_classes)
    worth = 1 / np.maximum(counts, 1)[rows] / max(1, int((counts > 0).sum()))
    for _ in range(MOST_SWEEPS):
        gained = False
        for c in np.flatnonzero(counts):
            moved = _best_of_one(values + offsets, rows, int(c), worth)
            gained |= moved != 0
            offsets[c] += moved
        if not gained:
            break
    centred: Floats = offsets - offsets.mean()
    return centred


def _best_of_one(values: Floats, rows: Ids, c: int, worth: Floats) -> float:
    """What to add to the offset of class c; 0 where nothing is better."""
    if values.shape[1] == 1 or not rows.size:
        return 0.0
    others = values.copy()
    others[:, c] = -np.inf
    rival = others.argmax(axis=1)
    border = others[np.arange(rows.size), rival] - values[:, c]  # decided as c above it
    own = rows == c
    change = np.where(own, worth, np.where(rows == rival, -worth, 0.0))
    order = np.argsort(border, kind="stable")
    edges, change = border[order], change[order]
    # Score in the interval after the k-th border, against that below all of them.
    score = np.concatenate([[0.0], np.cumsum(change)])
    low = np.concatenate([[-np.inf], edges])
    high = np.concatenate([edges, [np.inf]])
    real = high > low
    now = score[int(np.searchsorted(edges, 0.0, side="left"))]
    top = score[real].max()
    if top <= now + 1e-12:
        return 0.0
    best = np.flatnonzero(real & (score >= top - 1e-12))
    nearest = min(best, key=lambda k: max(low[k], -high[k], 0.0))
    left, right = float(low[nearest]), float(high[nearest])
    if np.isinf(left):
        return right - 1.0
    if np.isinf(right):
        return left + 1.0
    return (left + right) / 2


def _folds(rows: Ids) -> Ids:
    """(N,) fold of each image: within each class, in turn."""
    folds = np.empty(rows.size, dtype=np.int64)
    for c in np.unique(rows):
        members = np.flatnonzero(rows == c)
        folds[members] = np.arange(members.size) % FOLDS
    return folds


def _checked(logits: Tensor, targets: Tensor) -> tuple[Floats, Ids]:
    values = logits.detach().to("cpu", torch.float64).numpy()
    rows = targets.detach().cpu().numpy()
    if values.ndim != 2 or rows.shape != values.shape[:1]:
        raise InputError(
            f"(N, C) logits and (N,) targets are expected; shapes are {values.shape} and "
            f"{rows.shape}."
        )
    if not np.isfinite(values).all():
        raise InputError("logits hold NaN or infinity; finite numbers are expected.")
    return values, rows.astype(np.int64)
