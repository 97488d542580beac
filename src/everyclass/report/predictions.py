"""What a run answered for each image that it was judged on.

Comes in: `predictions.csv`. Goes out: columns. Judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from everyclass.errors import InputError

_PROB = "prob_"
_RESTORE = "Restore it, or evaluate the run again."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """Images with a label and an answer; rows without one of them are left out.

    Attributes:
        images: N paths or URIs.
        classes: C names, in the order of the probabilities.
        labels, answers: (N,) int64, ids; answers are the balanced decision.
        confidence: (N,) float64, the probability given to the answer.
        probs: (N, C) float64.
    """

    images: tuple[str, ...]
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    answers: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    probs: npt.NDArray[np.float64]

    @property
    def wrong(self) -> npt.NDArray[np.int64]:
        """Rows whose answer is not the label, the most confident first."""
        rows = np.flatnonzero(self.labels != self.answers)
        return rows[np.argsort(-self.confidence[rows], kind="stable")].astype(np.int64)


def read_predictions(path: Path) -> Predictions:
    """The content of the file that `train` writes.

    Raises:
        InputError: it is no such file.
    """
    try:
        table = pa.csv.read_csv(
            path,
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types={
                    name: pa.string() for name in ("image", "label", "prediction_balanced")
                },
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise InputError(
            f"This is no table of predictions ({error}).", where=path.name, remedy=_RESTORE
        ) from None
    lacking = {"image", "label", "prediction_balanced", "confidence"} - set(table.column_names)
    if lacking:
        raise InputError(
            f"There is no column {', '.join(sorted(lacking))}.", where=path.name, remedy=_RESTORE
        )
    classes = tuple(
        name.removeprefix(_PROB) for name in table.column_names if name.startswith(_PROB)
    )
    ids = {name: k for k, name in enumerate(classes)}
    labels = np.array([ids.get(name, -1) for name in table["label"].to_pylist()], dtype=np.int64)
    answers = np.array(
        [ids.get(name, -1) for name in table["prediction_balanced"].to_pylist()], dtype=np.int64
    )
    known = np.flatnonzero((labels >= 0) & (answers >= 0))
    columns = [_numbers(table[f"{_PROB}{name}"])[known] for name in classes]
    images = table["image"].to_pylist()
    return Predictions(
        images=tuple(images[row] for row in known),
        classes=classes,
        labels=labels[known],
        answers=answers[known],
        confidence=_numbers(table["confidence"])[known],
        probs=np.stack(columns, axis=1) if columns else np.zeros((0, 0)),
    )


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    return values
