"""Figures of a confusion matrix. Comes in: (C, C) counts, row = target, column = prediction.

Goes out: arrays per class, or one number. A figure that does not apply to a class (the recall of a
class without images, the precision of a class never predicted) is NaN here and None in the values
that leave the package. Means over classes are means over the classes with support.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from everyclass.errors import InputError

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def confusion_matrix(targets: ArrayLike, predictions: ArrayLike, *, n_classes: int) -> Counts:
    """How often each class was taken for each.

    Args:
        targets: (N,) integers in [0, n_classes).
        predictions: (N,) integers in [0, n_classes).
        n_classes: C.
    Returns:
        (C, C) int64, row = target, column = prediction; its sum is N.
    Raises:
        InputError: lengths differ, values are not whole numbers or lie outside [0, C).
    Example:
        >>> confusion_matrix([0, 0, 1], [0, 1, 1], n_classes=2)
        array([[1, 1],
               [0, 1]])
    """
    rows = _class_ids(targets, "targets", n_classes)
    columns = _class_ids(predictions, "predictions", n_classes)
    if rows.shape != columns.shape:
        raise InputError(
            f"{rows.size} targets and {columns.size} predictions; one for each is expected."
        )
    flat = np.bincount(rows * n_classes + columns, minlength=n_classes * n_classes)
    return flat.reshape(n_classes, n_classes).astype(np.int64)


def _class_ids(values: ArrayLike, name: str, n_classes: int) -> Counts:
    ids = np.asarray(values)
    if ids.ndim != 1:
        raise InputError(f"{name} have shape {ids.shape}; (N,) is expected.")
    if ids.size and not np.issubdtype(ids.dtype, np.integer):
        raise InputError(f"{name} are {ids.dtype}; whole numbers are expected.")
    outside = np.flatnonzero((ids < 0) | (ids >= n_classes))
    if outside.size:
        first = int(outside[0])
        raise InputError(
            f"{name} hold class id {int(ids[first])} (row {first}); "
            f"{n_classes} classes have ids 0 to {n_classes - 1}."
        )
    return ids.astype(np.int64)


def support(confusion: ArrayLike) -> Counts:
    """(C,) images of each class."""
    counts: Counts = _checked(confusion).sum(axis=1)
    return counts


def predicted_counts(confusion: ArrayLike) -> Counts:
    """(C,) images that were given each class."""
    counts: Counts = _checked(confusion).sum(axis=0)
    return counts


def recall(confusion: ArrayLike) -> Floats:
    """(C,) TP / (TP + FN): share of a class's images that were given it. NaN without support."""
    matrix = _checked(confusion)
    return _ratio(matrix.diagonal(), matrix.sum(axis=1))


def precision(confusion: ArrayLike) -> Floats:
    """(C,) TP / (TP + FP): share of right answers among a class's. NaN if never predicted."""
    matrix = _checked(confusion)
    return _ratio(matrix.diagonal(), matrix.sum(axis=0))


def f1(confusion: ArrayLike) -> Floats:
    """(C,) 2 TP / (2 TP + FP + FN). 0 for a class with images that none was given.

    NaN only for a class without images that was never predicted either.
    """
    matrix = _checked(confusion)
    return _ratio(2 * matrix.diagonal(), matrix.sum(axis=0) + matrix.sum(axis=1))


def accuracy(confusion: ArrayLike) -> float:
    """Share of right answers, in [0, 1]. NaN for an empty matrix."""
    matrix = _checked(confusion)
    total = int(matrix.sum())
    return int(matrix.trace()) / total if total else math.nan


def balanced_accuracy(confusion: ArrayLike) -> float:
    """Mean recall over the classes with support, in [0, 1]. NaN for an empty matrix.

    Guessing scores 1/K at K classes with support, whatever their sizes.
    """
    return _mean_with_support(recall(confusion), support(confusion))


def macro_f1(confusion: ArrayLike) -> float:
    """Mean F1 over the classes with support, in [0, 1]. NaN for an empty matrix.

    scikit-learn also averages in, as 0, the classes that were predicted but have no images here;
    the two agree when every class has support.
    """
    return _mean_with_support(f1(confusion), support(confusion))


def mcc(confusion: ArrayLike) -> float:
    """Matthews correlation of targets and predictions, the multiclass R_K, in [-1, 1].

    (n tr(M) - sum_c p_c t_c) / sqrt((n^2 - sum_c p_c^2)(n^2 - sum_c t_c^2)) with the predicted
    counts p and the support t. 0 where it is 0/0: one class only, among targets or predictions.

    Source: Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation
        coefficient", equation 8.
    """
    matrix = _checked(confusion)
    # float64: n^4 of ten million images does not fit int64.
    targets = matrix.sum(axis=1).astype(np.float64)
    predictions = matrix.sum(axis=0).astype(np.float64)
    total = targets.sum()
    spread = (total**2 - predictions @ predictions) * (total**2 - targets @ targets)
    if spread <= 0:
        return 0.0
    covariance = total * float(matrix.trace()) - predictions @ targets
    return float(np.clip(covariance / math.sqrt(spread), -1.0, 1.0))


def effective_predicted_classes(confusion: ArrayLike) -> float:
    """exp of the entropy of the prediction shares: how many classes are in real use, in [1, C].

    C when all are predicted equally often, 1 when one is always predicted. NaN if empty.
    """
    return float(np.exp(_entropy(predicted_counts(confusion))))


def label_entropy(confusion: ArrayLike) -> float:
    """Entropy of the targets in nats: what there is to know. NaN for an empty matrix."""
    return _entropy(support(confusion))


def mutual_information(confusion: ArrayLike, *, bias_corrected: bool = True) -> float:
    """What the predictions tell about the labels, in nats. NaN for an empty matrix.

    The plug-in estimate sum p_ij log(p_ij / (p_i p_j)) is above 0 by about (R - 1)(K - 1)/(2 n)
    when there is nothing to tell: R classes with support, K predicted classes, n images. The
    corrected estimate has this taken off, and is therefore often below 0 when there is nothing to
    tell.

    Source: Miller 1955, "Note on the bias of information estimates".
    """
    matrix = _checked(confusion)
    total = int(matrix.sum())
    if total == 0:
        return math.nan
    rows, columns = matrix.sum(axis=1), matrix.sum(axis=0)
    # Only cells with a count say anything: of 5,000 classes and their images few of 25 million do.
    targets, predictions = np.nonzero(matrix)
    counts = matrix[targets, predictions].astype(np.float64)
    by_chance = rows[targets].astype(np.float64) * columns[predictions]
    plug_in = float(np.sum(counts / total * np.log(counts * total / by_chance)))
    if not bias_corrected:
        return max(plug_in, 0.0)
    freedom = (np.count_nonzero(rows) - 1) * (np.count_nonzero(columns) - 1)
    return plug_in - float(freedom) / (2 * total)


def always_most_frequent(confusion: ArrayLike) -> Counts:
    """(C, C) confusion of always answering the most frequent class (the first of several)."""
    counts = support(confusion)
    constant = np.zeros((counts.size, counts.size), dtype=np.int64)
    constant[:, int(counts.argmax())] = counts
    return constant


def best_matching(confusion: ArrayLike) -> Counts:
    """(C,) the class that each decision would best stand for, one each.

    The largest counts are matched first, which is close to the best sum where there is one.

    Example:
        >>> best_matching([[0, 9], [8, 1]]).tolist()
        [1, 0]
    """
    counts = _checked(confusion)
    found = np.full(len(counts), -1, dtype=np.int64)
    rows, columns = np.nonzero(counts)
    # Stable: of equal counts the first by row and column. Taking the largest of the whole matrix
    # time and again would cost C^3.
    order = np.argsort(-counts[rows, columns], kind="stable")
    free = np.ones(len(counts), dtype=bool)
    for row, column in zip(rows[order].tolist(), columns[order].tolist()):
        if free[row] and found[column] < 0:
            found[column], free[row] = row, False
    found[found < 0] = np.flatnonzero(free)
    return found


MATCHED_MORE, MORE_THAN_LARGEST, LEAST_MATCHED = 0.3, 0.15, 50


def right_in_another_order(confusion: ArrayLike) -> float | None:
    """Share of decisions that are right once each is read as the class of `best_matching`; None
    where that says nothing.

    It says something of 50 images or more, where it exceeds what is right as it stands by 0.3, and
    the share of the largest class, which a constant answer reaches, by 0.15; and where balanced
    accuracy gains 0.3 too. A network that prefers rare classes is right more often once these are
    read as the frequent ones, and tells the classes apart no better for it.
    """
    counts = _checked(confusion)
    images = int(counts.sum())
    if images < LEAST_MATCHED:
        return None
    reordered = np.empty_like(counts)
    reordered[:, best_matching(counts)] = counts
    if balanced_accuracy(reordered) < balanced_accuracy(counts) + MATCHED_MORE:
        return None
    matched = accuracy(reordered)
    largest = float(counts.sum(axis=1).max()) / images
    least = max(largest + MORE_THAN_LARGEST, accuracy(counts) + MATCHED_MORE)
    return matched if matched >= least else None


def _checked(confusion: ArrayLike) -> Counts:
    matrix = np.asarray(confusion)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise InputError(f"a confusion matrix is (C, C) with C > 0; this has shape {matrix.shape}.")
    if not np.issubdtype(matrix.dtype, np.integer):
        raise InputError(f"a confusion matrix holds whole numbers; this holds {matrix.dtype}.")
    if matrix.min() < 0:
        raise InputError(f"a confusion matrix holds counts; this holds {int(matrix.min())}.")
    return matrix.astype(np.int64, copy=False)


def _ratio(numerator: Counts, denominator: Counts) -> Floats:
    ratio = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _mean_with_support(values: Floats, counts: Counts) -> float:
    present = counts > 0
    return float(values[present].mean()) if present.any() else math.nan


def _entropy(counts: Counts) -> float:
    total = counts.sum()
    if total == 0:
        return math.nan
    shares = counts[counts > 0] / total
    return float(-(shares * np.log(shares)).sum())
