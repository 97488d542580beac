"""From decisions and probabilities to an Evaluation. Comes in: arrays. Goes out: the value.

Knows no model, no files and no table: who evaluates brings the decisions, made as they will be made
in use, and the probabilities that are reported with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from everyclass.calibrations import SetEvaluation
from everyclass.contracts import (
    ClassEvaluation,
    DecisionKind,
    Evaluation,
    Interval,
    MajorityBaseline,
)
from everyclass.errors import InputError
from everyclass.stats import calibration, intervals
from everyclass.stats import confusion as figures
from everyclass.stats.collapse import collapse_verdict

ECE_BINS = 15


def evaluate_predictions(
    targets: ArrayLike,
    predictions: ArrayLike,
    *,
    probs: ArrayLike,
    probs_before_temperature: ArrayLike,
    classes: Sequence[str],
    split: str,
    decision: DecisionKind,
    prior: Sequence[float],
    temperature: float = 1.0,
    train_counts: ArrayLike | None = None,
    set_aside: int = 0,
    prediction_sets: SetEvaluation | None = None,
) -> Evaluation:
    """Every figure of the evaluation of one decision on one split.

    Args:
        targets: (N,) class ids, N > 0.
        predictions: (N,) class ids, the decision under evaluation.
        probs: (N, C) the reported probabilities.
        probs_before_temperature: (N, C) the same at temperature 1.
        classes: C names, in the order of the ids.
        split: name of the split.
        decision: how `predictions` were taken.
        prior: (C,) class frequencies that `probs` assume.
        temperature: the one in `probs`.
        train_counts: (C,) images that each class was trained on, when known.
        set_aside: images of the split that could not be read.
        prediction_sets: what `stats.conformal.evaluate_sets` found on the same images.
    Raises:
        InputError: no images, lengths that differ, ids outside the classes, rows of `probs` that
            are no probabilities.
    """
    matrix = figures.confusion_matrix(targets, predictions, n_classes=len(classes))
    if matrix.sum() == 0:
        raise InputError(f"split {split} has no labelled image that could be read.")
    counts = None if train_counts is None else np.asarray(train_counts)
    collapse = collapse_verdict(matrix, counts, classes=classes)
    support, predicted = figures.support(matrix), figures.predicted_counts(matrix)
    before, after = (
        calibration.decision_reliability(each, targets, predictions=predictions, bins=ECE_BINS)
        for each in (probs_before_temperature, probs)
    )
    return Evaluation(
        split=split,
        n=int(matrix.sum()),
        set_aside=set_aside,
        decision=decision,
        accuracy=figures.accuracy(matrix),
        accuracy_ci95=intervals.accuracy_interval(matrix),
        balanced_accuracy=figures.balanced_accuracy(matrix),
        balanced_accuracy_ci95=intervals.balanced_accuracy_interval(matrix),
        macro_f1=figures.macro_f1(matrix),
        mcc=figures.mcc(matrix),
        majority=majority_baseline(matrix, classes=classes),
        classes=class_evaluations(matrix, classes, counts),
        confusion=tuple(tuple(row) for row in matrix.tolist()),
        ece=after.expected_error,
        ece_before_temperature=before.expected_error,
        ece_bins=ECE_BINS,
        temperature=temperature,
        prior=tuple(float(share) for share in prior),
        predicted_classes=int(np.count_nonzero(predicted)),
        effective_predicted_classes=figures.effective_predicted_classes(matrix),
        never_predicted=tuple(
            classes[i] for i in np.flatnonzero((support > 0) & (predicted == 0)).tolist()
        ),
        collapse=collapse.verdict,
        collapse_sentence=collapse.sentence,
        starved=tuple(classes[i] for i in collapse.starved),
        information_share=collapse.information_share,
        independence_p=collapse.independence_p,
        interval_methods=intervals.METHODS,
        reliability=after.to_bins(),
        reliability_before_temperature=before.to_bins(),
        prediction_sets=prediction_sets,
    )


def majority_baseline(confusion: ArrayLike, *, classes: Sequence[str]) -> MajorityBaseline:
    """What always answering the most frequent class of these images would score.

    With a share m of the n images in that class and K classes with support: accuracy m, balanced
    accuracy 1/K, macro-F1 2m/(1 + m)/K, MCC 0.
    """
    constant = figures.always_most_frequent(confusion)
    return MajorityBaseline(
        name=classes[int(figures.support(constant).argmax())],
        accuracy=figures.accuracy(constant),
        balanced_accuracy=figures.balanced_accuracy(constant),
        macro_f1=figures.macro_f1(constant),
        mcc=figures.mcc(constant),
    )


def class_evaluations(
    matrix: NDArray[np.int64], classes: Sequence[str], train_counts: NDArray[np.int64] | None
) -> tuple[ClassEvaluation, ...]:
    """Every class's figures with their intervals.

    Args:
        matrix: (C, C) confusion counts.
        classes: C names.
        train_counts: (C,) images that each class was trained on, when known.
    """
    support, predicted = figures.support(matrix), figures.predicted_counts(matrix)
    recall, recall_ci = figures.recall(matrix), intervals.recall_intervals(matrix)
    precision, precision_ci = figures.precision(matrix), intervals.precision_intervals(matrix)
    f1, f1_ci = figures.f1(matrix), intervals.f1_intervals(matrix)
    return tuple(
        ClassEvaluation(
            name=name,
            n=int(support[i]),
            predicted=int(predicted[i]),
            train_n=None if train_counts is None else int(train_counts[i]),
            recall=_or_none(recall[i]),
            precision=_or_none(precision[i]),
            f1=_or_none(f1[i]),
            recall_ci95=_interval_or_none(recall[i], recall_ci[i]),
            precision_ci95=_interval_or_none(precision[i], precision_ci[i]),
            f1_ci95=_interval_or_none(f1[i], f1_ci[i]),
            note=_note(int(support[i]), int(predicted[i])),
        )
        for i, name in enumerate(classes)
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _interval_or_none(value: float, interval: NDArray[np.float64]) -> Interval | None:
    return None if math.isnan(value) else (float(interval[0]), float(interval[1]))


def _note(n: int, predicted: int) -> str:
    if n == 0:
        return "no images in this split: recall does not apply"
    return "" if predicted else "never predicted: precision does not apply"
