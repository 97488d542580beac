"""What a cross-validation found: every class on all of its images, and the labels to look at.

Comes in: out-of-fold predictions as arrays. Goes out: a value, `crossval.json` and two CSV files.
Trains nothing.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from everyclass.contracts import ClassEvaluation, Interval
from everyclass.json_writer import json_text
from everyclass.run_folder import write_atomically
from everyclass.stats import confusion as figures
from everyclass.stats import intervals
from everyclass.stats.confident import find_label_errors
from everyclass.stats.evaluation import class_evaluations
from everyclass.workflows.data_source import DEFAULT_FRACTION
from everyclass.workflows.few_images import few_in_one_split

RESULT, PREDICTIONS, LABEL_ERRORS = "crossval.json", "out_of_fold.csv", "label_errors.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFold:
    """Every judged image as the model saw it that was not trained on it.

    Attributes:
        images: (N,) paths.
        names: (N,) the same without the data set's root, for reading.
        labels, predicted, folds: (N,) int64; `predicted` is the balanced decision.
        probs: (N, C) calibrated, at the training frequencies.
        classes: C names.
    """

    images: tuple[str, ...]
    names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int64]
    probs: npt.NDArray[np.float64]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """An image whose label is probably wrong.

    Attributes:
        image, name: path, and the same without the data set's root.
        given, suggested: class names.
        score: in [0, 1], self-confidence in units of the classes' thresholds; lower is worse.
    """

    image: str
    name: str
    given: str
    suggested: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """Figures pooled over the folds, and suspected label errors.

    Attributes:
        n: images judged.
        fold_balanced_accuracy: of each fold.
        few_in_one_split: (class, images) that one split of 15 % would judge on too few images.
        suspects: most suspicious first.
        not_listed: (class, images) suspected, too, and left out of `suspects`: a larger share of
            the class than is ever listed.
        joint: (C, C) estimated images by given label (row) and true class (column).
        settings: of the recipe that all folds share.
        sentences: what the folds could not satisfy.
    """

    n: int
    n_folds: int
    accuracy: float
    accuracy_ci95: Interval
    balanced_accuracy: float
    balanced_accuracy_ci95: Interval
    macro_f1: float
    fold_balanced_accuracy: tuple[float, ...]
    classes: tuple[ClassEvaluation, ...]
    confusion: tuple[tuple[int, ...], ...]
    few_in_one_split: tuple[tuple[str, int], ...]
    suspects: tuple[Suspect, ...]
    not_listed: tuple[tuple[str, int], ...]
    joint: tuple[tuple[int, ...], ...]
    settings: Mapping[str, Any]
    sentences: tuple[str, ...]

    def pairs(self) -> tuple[tuple[str, str, tuple[Suspect, ...]], ...]:
        """(given, suggested, suspects), the pair with most of them first."""
        found: dict[tuple[str, str], list[Suspect]] = defaultdict(list)
        for one in self.suspects:
            found[one.given, one.suggested].append(one)
        ordered = sorted(found.items(), key=lambda entry: -len(entry[1]))
        return tuple((given, suggested, tuple(each)) for (given, suggested), each in ordered)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        folds = np.array(self.fold_balanced_accuracy)
        return {
            "folds": self.n_folds,
            "n": self.n,
            "accuracy": self.accuracy,
            "accuracy_ci95": self.accuracy_ci95,
            "balanced_accuracy": self.balanced_accuracy,
            "balanced_accuracy_ci95": self.balanced_accuracy_ci95,
            "macro_f1": self.macro_f1,
            "fold_balanced_accuracy": {
                "values": folds.tolist(),
                "mean": float(folds.mean()),
                "standard_deviation": float(folds.std(ddof=1)),
            },
            "classes": [asdict(one) for one in self.classes],
            "confusion": self.confusion,
            "few_in_one_split": dict(self.few_in_one_split),
            "label_errors": {
                "listed": len(self.suspects),
                "not_listed": dict(self.not_listed),
                "pairs": [
                    {"given": given, "suggested": suggested, "images": len(found)}
                    for given, suggested, found in self.pairs()
                ],
                "joint": self.joint,
            },
            "settings": dict(self.settings),
            "sentences": self.sentences,
        }


def cross_validation(
    seen: OutOfFold, *, n_folds: int, settings: Mapping[str, Any], sentences: tuple[str, ...]
) -> CrossValidation:
    """The figures of out-of-fold predictions, and the labels that they make suspect."""
    n_classes = len(seen.classes)
    matrix = figures.confusion_matrix(seen.labels, seen.predicted, n_classes=n_classes)
    errors = find_label_errors(seen.labels, seen.probs)
    of_fold = [
        figures.confusion_matrix(
            seen.labels[seen.folds == k], seen.predicted[seen.folds == k], n_classes=n_classes
        )
        for k in range(n_folds)
    ]
    support = figures.support(matrix).tolist()
    return CrossValidation(
        n=len(seen.labels),
        n_folds=n_folds,
        accuracy=figures.accuracy(matrix),
        accuracy_ci95=intervals.accuracy_interval(matrix),
        balanced_accuracy=figures.balanced_accuracy(matrix),
        balanced_accuracy_ci95=intervals.balanced_accuracy_interval(matrix),
        macro_f1=figures.macro_f1(matrix),
        fold_balanced_accuracy=tuple(figures.balanced_accuracy(one) for one in of_fold),
        classes=class_evaluations(matrix, seen.classes, None),
        confusion=tuple(tuple(row) for row in matrix.tolist()),
        few_in_one_split=few_in_one_split(seen.classes, support, fraction=DEFAULT_FRACTION),
        suspects=tuple(
            Suspect(
                image=seen.images[row],
                name=seen.names[row],
                given=seen.classes[seen.labels[row]],
                suggested=seen.classes[suggested],
                score=score,
            )
            for row, suggested, score in zip(
                errors.rows.tolist(), errors.suggested.tolist(), errors.scores.tolist()
            )
        ),
        not_listed=tuple(
            (name, count) for name, count in zip(seen.classes, errors.not_listed.tolist()) if count
        ),
        joint=tuple(tuple(row) for row in errors.joint.tolist()),
        settings=settings,
        sentences=sentences,
    )


def write_result(folder: Path, seen: OutOfFold, result: CrossValidation) -> None:
    """`out_of_fold.csv`, `label_errors.csv` and, when they are whole, `crossval.json`."""
    names = np.array(seen.classes, dtype=object)
    columns: dict[str, Any] = {
        "image": list(seen.images),
        "label": list(names[seen.labels]),
        "predicted": list(names[seen.predicted]),
        "fold": seen.folds + 1,
    }
    columns.update((f"prob_{name}", seen.probs[:, k]) for k, name in enumerate(seen.classes))
    _write_csv(folder / PREDICTIONS, columns)
    _write_csv(
        folder / LABEL_ERRORS,
        {
            "rank": pa.array(range(1, len(result.suspects) + 1), pa.int64()),
            "image": pa.array([one.image for one in result.suspects], pa.string()),
            "given_label": pa.array([one.given for one in result.suspects], pa.string()),
            "suggested_label": pa.array([one.suggested for one in result.suspects], pa.string()),
            "score": pa.array([one.score for one in result.suspects], pa.float64()),
        },
    )
    write_atomically(folder / RESULT, json_text(result.to_dict()).encode())


def _write_csv(path: Path, columns: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(pa.table(dict(columns)), buffer)
    write_atomically(path, buffer.getvalue())
