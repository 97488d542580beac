"""Predictions as rows, and the files they go to: CSV, JSON lines or Parquet.

Comes in: image names with their logits, or the reason why there are none. Goes out: one file,
written as a stream under a temporary name and renamed when it is whole.

Columns: `image`; `label` where known; `prediction_balanced`, the decision for the highest mean
recall; `prediction_natural`, the most probable class at the training frequencies;
`prediction_prior`, the same at a given deployment prior; `confidence`, the probability of the
balanced decision; `reason`, why an image has no prediction; `prob_<class>`, calibrated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from everyclass.errors import InputError
from everyclass.models.file import SavedModel

FORMATS = (".csv", ".jsonl", ".parquet")


def prediction_schema(
    classes: Sequence[str], *, labelled: bool = False, prior: bool = False
) -> pa.Schema:
    """The columns of a prediction file (module docstring)."""
    fields = [("image", pa.string())]
    if labelled:
        fields.append(("label", pa.string()))
    fields += [("prediction_balanced", pa.string()), ("prediction_natural", pa.string())]
    if prior:
        fields.append(("prediction_prior", pa.string()))
    fields += [("confidence", pa.float64()), ("reason", pa.string())]
    fields += [(f"prob_{name}", pa.float64()) for name in classes]
    return pa.schema(fields)


def predicted_rows(
    images: Sequence[str],
    logits: npt.NDArray[np.float32],
    model: SavedModel,
    *,
    schema: pa.Schema,
    labels: Sequence[str | None] = (),
    prior: Sequence[float] | None = None,
) -> pa.RecordBatch:
    """Rows of images that were classified.

    Args:
        images: B paths or URIs.
        logits: (B, C).
        schema: of the file; a `label` column needs `labels`, `prediction_prior` needs `prior`.
        labels: B class names, None where unknown.
        prior: (C,) deployment prior; the training frequencies when left out.
    """
    decision = model.decision
    probs = decision.probabilities(logits, prior=prior)
    names = np.array(model.classes, dtype=object)
    balanced = decision.balanced(logits)
    columns: dict[str, Any] = {
        "image": list(images),
        "prediction_balanced": names[balanced],
        "prediction_natural": names[decision.natural(logits)],
        "confidence": probs[np.arange(len(images)), balanced],
        "reason": [None] * len(images),
    }
    if "label" in schema.names:
        columns["label"] = list(labels)
    if "prediction_prior" in schema.names:
        columns["prediction_prior"] = names[probs.argmax(axis=1)]
    columns.update((f"prob_{name}", probs[:, k]) for k, name in enumerate(model.classes))
    return pa.RecordBatch.from_arrays(
        [pa.array(columns[field.name], field.type) for field in schema], schema=schema
    )


def failed_rows(
    images: Sequence[str], reasons: Sequence[str], *, schema: pa.Schema
) -> pa.RecordBatch:
    """Rows of images that could not be read: a reason, and nothing else."""
    columns = {"image": list(images), "reason": list(reasons)}
    return pa.RecordBatch.from_arrays(
        [
            pa.array(columns[field.name], field.type)
            if field.name in columns
            else pa.nulls(len(images), field.type)
            for field in schema
        ],
        schema=schema,
    )


class PredictionFile:
    """A file of predictions being written; used in a `with` statement.

    Nothing is at `path` before the block ends without an error; a file that was there is replaced
    only then.

    Args:
        path: ends in .csv, .jsonl or .parquet.
        schema: its columns.
    Raises:
        InputError: another ending, or a folder that cannot be written to.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        if path.suffix.lower() not in FORMATS:
            raise InputError(
                f"{path} ends in {path.suffix or 'nothing'}; predictions are written as "
                f"{', '.join(FORMATS)}.",
                remedy="Choose one of these endings.",
            )
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._temporary, "wb")  # noqa: SIM115  (closed in __exit__)
        except OSError as error:
            raise InputError(
                f"{path} cannot be written: {error.strerror}.", remedy="Choose another --out."
            ) from error
        self.write: Callable[[pa.RecordBatch], None]
        self._finish: Callable[[], None] = lambda: None
        self._open_writer(path.suffix.lower(), schema)

    def _open_writer(self, suffix: str, schema: pa.Schema) -> None:
        if suffix == ".jsonl":
            self.write = self._write_json
            return
        writer = (
            pyarrow.csv.CSVWriter(self._file, schema)
            if suffix == ".csv"
            else pyarrow.parquet.ParquetWriter(self._file, schema)
        )
        self.write = writer.write_batch
        self._finish = writer.close

    def _write_json(self, batch: pa.RecordBatch) -> None:
        for row in batch.to_pylist():
            self._file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finish()
        if kind is None:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            os.replace(self._temporary, self._path)
        else:
            self._temporary.unlink(missing_ok=True)
