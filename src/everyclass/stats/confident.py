"""Labels that are probably wrong, by confident learning.

Comes in: labels, out-of-fold probabilities. Goes out: which rows, most suspicious first, what they
look like instead, and the counts behind it.
The probabilities of a row must come from a model that was not trained on it; a model agrees with
any label that it has learnt by heart.

An image counts as one of class k when its probability of k is as high as that of the images that
are labelled k are on average. So each class has its own threshold, and a class that the models
recognise with less confidence, as they do a rare one, is neither drowned nor accused as a whole.

Source: Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in dataset
labels", JAIR 70, arXiv:1911.00068; equations 1 to 4, and section 3.2 for what is listed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from everyclass.errors import InputError

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_SHARE = 0.25
"""Of a class's images that are listed at most: where a model doubts more of them than that, it does
not know the class, and who looks through them would be looking through the class."""

ROUNDING = 1e-6
"""A probability this far below a threshold still reaches it: both passed through other formats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelErrors:
    """What is suspected.

    Attributes:
        rows: (M,) int64, most suspicious first.
        suggested: (M,) int64, the class that each looks like.
        scores: (M,) float64 in [0, 1]: self-confidence, the probability of the given label in
            units of the thresholds; lower is more suspicious.
        joint: (C, C) int64, estimated images by given label (row) and true class (column).
        thresholds: (C,) float64, mean self-confidence; NaN for a class without images.
        suspected: (C,) int64, images of each class that were suspected.
        not_listed: (C,) int64, those of them that `most_share` kept out of the list.
    """

    rows: Counts
    suggested: Counts
    scores: Floats
    joint: Counts
    thresholds: Floats
    suspected: Counts
    not_listed: Counts


def find_label_errors(
    labels: ArrayLike, probs: ArrayLike, *, most_share: float = MOST_SHARE
) -> LabelErrors:
    """The rows whose label is probably wrong, most suspicious first.

    For each pair of classes the calibrated joint says how many images given one are truly of the
    other: so many may be suspected, those that lean towards the other class most ("prune by noise
    rate"). For each class it says how many are truly of any other: so many may be, those least like
    their own ("prune by class"). Suspected is what both suspect. What is compared are probabilities
    in units of the classes' thresholds, as `in_units_of` gives them, so that no class is accused
    for being rare; the paper compares them as they are (measured: benchmarks/RESULTS.md).

    Args:
        labels: (N,) ids, as given.
        probs: (N, C) out-of-fold probabilities.
        most_share: in (0, 1], of a class's images that are listed at most, and one at least.
    Raises:
        InputError: shapes that do not fit, or values that are no ids or probabilities.
    """
    if not 0 < most_share <= 1:
        raise InputError(f"most_share is {most_share}, outside (0, 1].")
    given, values = _checked(labels, probs)
    n_classes = values.shape[1]
    counts = np.bincount(given, minlength=n_classes)
    thresholds = confident_thresholds(given, values)
    counted = confident_classes(values, thresholds)
    joint = calibrated_joint(confident_joint(given, counted, n_classes=n_classes), counts)
    scaled = in_units_of(values, thresholds)
    suspected = _pruned_by_noise_rate(given, scaled, joint) & _pruned_by_class(given, scaled, joint)
    scores = self_confidence(given, scaled)
    most = np.maximum(np.floor(most_share * counts + 1e-9), 1).astype(np.int64)
    rows = np.flatnonzero(suspected)
    rows = rows[np.argsort(scores[rows], kind="stable")]
    listed = rows[_places(given[rows]) < most[given[rows]]]
    others = scaled[listed]
    others[np.arange(len(listed)), given[listed]] = -1.0
    accused = np.bincount(given[rows], minlength=n_classes)
    return LabelErrors(
        rows=listed.astype(np.int64),
        suggested=others.argmax(axis=1).astype(np.int64),
        scores=scores[listed],
        joint=joint,
        thresholds=thresholds,
        suspected=accused.astype(np.int64),
        not_listed=accused - np.bincount(given[listed], minlength=n_classes),
    )


def in_units_of(probs: ArrayLike, thresholds: ArrayLike) -> Floats:
    """(N, C) probabilities divided by their classes' thresholds, rows summing to 1 again.

    A model that is sure of one class and never of another gives the same to images that are typical
    of either. It is also what takes a prior out: probabilities for other class frequencies are
    these times a factor a class, up to the sum of a row.

    Args:
        probs: (N, C).
        thresholds: (C,); a class with NaN gets 0.
    """
    values = np.asarray(probs, dtype=np.float64)
    units = np.asarray(thresholds, dtype=np.float64)
    known = np.isfinite(units)
    scaled: Floats = np.where(known, values / np.where(known, np.maximum(units, ROUNDING), 1.0), 0)
    total = scaled.sum(axis=1, keepdims=True)
    scaled /= np.maximum(total, np.finfo(np.float64).tiny)
    return scaled


def _pruned_by_noise_rate(given: Counts, scaled: Floats, joint: Counts) -> NDArray[np.bool_]:
    """(N,) bool: of each pair of classes as many as the joint says, those that lean most."""
    found = np.zeros(len(given), dtype=bool)
    for label in range(scaled.shape[1]):
        rows = np.flatnonzero(given == label)
        for other in np.flatnonzero(joint[label]).tolist():
            if other == label:
                continue
            lean = scaled[rows, other] - scaled[rows, label]
            first = np.argsort(-lean, kind="stable")[: joint[label, other]]
            found[rows[first[lean[first] > 0]]] = True
    return found


def _pruned_by_class(given: Counts, scaled: Floats, joint: Counts) -> NDArray[np.bool_]:
    """(N,) bool: of each class as many as the joint gives to others, those least like their own."""
    found = np.zeros(len(given), dtype=bool)
    for label in range(scaled.shape[1]):
        rows = np.flatnonzero(given == label)
        others = len(rows) - int(joint[label, label])
        found[rows[np.argsort(scaled[rows, label], kind="stable")[:others]]] = True
    return found


def _places(keys: Counts) -> Counts:
    """(M,) how many earlier entries are the same."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.searchsorted(ordered, ordered)
    places = np.empty(len(keys), dtype=np.int64)
    places[order] = np.arange(len(keys)) - begins
    return places


def self_confidence(labels: ArrayLike, probs: ArrayLike) -> Floats:
    """(N,) the probability of each row's given label."""
    given, values = _checked(labels, probs)
    chosen: Floats = values[np.arange(len(given)), given]
    return chosen


def confident_thresholds(labels: ArrayLike, probs: ArrayLike) -> Floats:
    """(C,) t_k: mean probability of k over the rows labelled k; NaN for a class without rows."""
    given, values = _checked(labels, probs)
    counts = np.bincount(given, minlength=values.shape[1])
    sums = np.bincount(given, weights=self_confidence(given, values), minlength=values.shape[1])
    thresholds = np.full(values.shape[1], np.nan)
    np.divide(sums, counts, out=thresholds, where=counts > 0)
    return thresholds


def confident_classes(probs: ArrayLike, thresholds: ArrayLike) -> Counts:
    """(N,) the most probable class among those whose threshold a row reaches; -1 where it reaches
    none.

    Args:
        probs: (N, C).
        thresholds: (C,); NaN is never reached.
    """
    values = np.asarray(probs, dtype=np.float64)
    reached = values >= np.asarray(thresholds, dtype=np.float64) - ROUNDING
    best = np.where(reached, values, -1.0).argmax(axis=1)
    found: Counts = np.where(reached.any(axis=1), best, -1).astype(np.int64)
    return found


def confident_joint(labels: ArrayLike, classes: ArrayLike, *, n_classes: int) -> Counts:
    """(C, C) how many rows given each label (row) count as each class (column).

    Args:
        labels: (N,) ids.
        classes: (N,) as `confident_classes` gives them; rows of -1 are not counted.
    """
    given, counted = np.asarray(labels), np.asarray(classes)
    sure = counted >= 0
    flat = np.bincount(
        given[sure] * n_classes + counted[sure], minlength=n_classes * n_classes
    ).astype(np.int64)
    return flat.reshape(n_classes, n_classes)


def calibrated_joint(joint: ArrayLike, counts: ArrayLike) -> Counts:
    """(C, C) the joint with each row stretched to the number of images given that label.

    Rows that count as no class are divided as the others of their label are. A class of which no
    image counts as its own keeps one, so that it is never wrong as a whole. Rounded by the largest
    remainder: rows sum to `counts` exactly.

    Args:
        joint: (C, C) counts, of `confident_joint`.
        counts: (C,) images given each label.
    """
    matrix = np.array(joint, dtype=np.float64)
    sizes = np.asarray(counts, dtype=np.int64)
    np.fill_diagonal(matrix, np.maximum(matrix.diagonal(), 1.0))
    stretched = matrix / matrix.sum(axis=1, keepdims=True) * sizes[:, None]
    whole = np.floor(stretched)
    missing = sizes - whole.sum(axis=1).astype(np.int64)
    # The largest remainders, the diagonal first among equals: when in doubt the label is right.
    remainders = stretched - whole + 1e-9 * np.eye(len(sizes))
    place = np.argsort(np.argsort(-remainders, axis=1, kind="stable"), axis=1, kind="stable")
    rounded: Counts = (whole + (place < missing[:, None])).astype(np.int64)
    return rounded


def _checked(labels: ArrayLike, probs: ArrayLike) -> tuple[Counts, Floats]:
    given, values = np.asarray(labels), np.asarray(probs, dtype=np.float64)
    if values.ndim != 2 or given.shape != values.shape[:1] or values.shape[1] < 2:
        raise InputError(
            f"labels have shape {given.shape} and probabilities {values.shape}; (N,) and (N, C) "
            "with two classes or more are expected."
        )
    if given.size and (given.min() < 0 or given.max() >= values.shape[1]):
        raise InputError(
            f"labels lie in {given.min()} to {given.max()}; {values.shape[1]} classes have ids 0 "
            f"to {values.shape[1] - 1}."
        )
    if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 1 + 1e-6).all()):
        raise InputError("probabilities must lie between 0 and 1.")
    return given.astype(np.int64), values
