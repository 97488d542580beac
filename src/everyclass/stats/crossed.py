"""Recalls of several trainings on the same test images: means, and draws of what they might be.

Comes in: which test images each training got right. Goes out: draws. Knows no curve.

Two sources of chance cross. *Test images* are resampled within their class, or by group where there
are groups, the same draw for all trainings, since all are judged on the same images (Efron and
Tibshirani 1993, "An introduction to the bootstrap"). *The luck of a training* (subset, first
weights, order) is the spread of the recall over the repeats, pooled over the arms, less what
independent errors on the test images explain: these are in the resampling already. It is drawn
from Student's t with the degrees that the pooling has, as three repeats hardly know their spread.
This is the two-way random-effects model; Owen 2007, "The pigeonhole bootstrap", shows that
resampling both ways counts the independent errors more than once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]

AT_ONCE = 4_000_000  # counts of a resampling that are held in memory


class CrossedDraws:
    """Recalls of each class in every arm (a size, or a class halved), and draws of them.

    Args:
        right: (A, R, N) bool.
        labels: (N,).
        groups: (N,) ids, None where images are independent.
    """

    def __init__(
        self,
        right: Bools,
        labels: Ids,
        groups: Ids | None,
        n_classes: int,
        rng: np.random.Generator,
        draws: int,
    ) -> None:
        self._right, self._labels = right, labels
        self._rng, self._draws = rng, draws
        self._rows = [np.flatnonzero(labels == k) for k in range(n_classes)]
        self._codes: Ids | None = None
        if groups is not None:
            found, codes = np.unique(groups, return_inverse=True)
            self._codes = codes.reshape(-1)
            shares = np.full(found.size, 1 / found.size)
            self._of_group = rng.multinomial(found.size, shares, size=draws).astype(np.float32)

    def mean(self, label: int) -> Floats:
        """(A,) recall, over the repeats."""
        return np.asarray(self._right[:, :, self._rows[label]].mean(axis=(1, 2)))

    def drawn(self, label: int) -> Floats:
        """(draws, A) recalls with the test images resampled."""
        rows = self._rows[label]
        shares = self._right[:, :, rows].mean(axis=1).T  # (n, A)
        if self._codes is not None:
            weights = self._of_group[:, self._codes[rows]]
            total = weights.sum(axis=1, keepdims=True)
            found = (weights @ shares) / np.maximum(total, 1)
            # A draw without any group of the class says nothing new of it.
            return np.asarray(np.where(total > 0, found, shares.mean(axis=0)))
        parts, at_once = list[Floats](), max(1, AT_ONCE // rows.size)
        for start in range(0, self._draws, at_once):
            some = min(at_once, self._draws - start)
            times = self._rng.multinomial(rows.size, np.full(rows.size, 1 / rows.size), size=some)
            parts.append(times @ shares / rows.size)
        return np.concatenate(parts)

    def luck(self, labels: Sequence[int]) -> Floats:
        """(draws, A): what another training would have changed in the mean recall of these classes.

        At least half an image: where all trainings agree, their spread is not known to be 0.
        """
        arms, repeats, _ = self._right.shape
        size = np.array([self._rows[k].size for k in labels])
        least = float(np.sum((0.5 / size) ** 2)) / size.size**2
        if repeats < 2:
            return self._rng.normal(0, np.sqrt(least), (self._draws, arms))
        own = [self._right[:, :, self._rows[k]] for k in labels]
        recalls = np.mean([one.mean(axis=2) for one in own], axis=0)  # (A, R)
        between = float(recalls.var(axis=1, ddof=1).mean())
        within = [float(one.var(axis=1, ddof=1).mean()) for one in own]
        explained = float(np.sum(np.array(within) / size)) / size.size**2
        spread = np.sqrt(max((between - explained) / repeats, least))
        degrees = arms * (repeats - 1)
        scale = np.sqrt(degrees / self._rng.chisquare(degrees, (self._draws, 1)))
        return np.asarray(self._rng.normal(0, spread, (self._draws, arms)) * scale)
