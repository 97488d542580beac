"""Predictions as rows, and the files they go to: CSV, JSON lines or Parquet.

Comes in: image names with their logits, or the reason why there are none. Goes out: one file,
written as a stream under a temporary name and renamed when it is whole.

Columns: `image`; `label` where known; `prediction_balanced`, the decision for the highest mean
recall; `prediction_natural`, the most probable class at the training frequencies;
`prediction_prior`, the same at a given deployment prior; `confidence`, the probability of the
balanced decision; `set`, the classes that cannot be ruled out at a given coverage, most probable
first, and `set_size`, how many; `reason`, why an image has no prediction; `prob_<class>`,
calibrated. A set is a list of names in JSON lines and Parquet; in CSV the names are joined by `|`.
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
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from everyclass.errors import InputError
from everyclass.models.file import SavedModel
from everyclass.stats.conformal import ConformalThresholds

FORMATS = (".csv", ".jsonl", ".parquet")
SEPARATOR = "|"
"""Between the classes of a set in a CSV file. Few names hold it, and no folder on Windows."""


def prediction_schema(
    classes: Sequence[str], *, labelled: bool = False, prior: bool = False, sets: bool = False
) -> pa.Schema:
    """The columns of a prediction file (module docstring)."""
    fields = [("image", pa.string())]
    if labelled:
        fields.append(("label", pa.string()))
    fields += [("prediction_balanced", pa.string()), ("prediction_natural", pa.string())]
    if prior:
        fields.append(("prediction_prior", pa.string()))
    fields.append(("confidence", pa.float64()))
    if sets:
        fields += [("set", pa.list_(pa.string())), ("set_size", pa.int64())]
    fields.append(("reason", pa.string()))
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
    thresholds: ConformalThresholds | None = None,
) -> pa.RecordBatch:
    """Rows of images that were classified.

    Args:
        images: B paths or URIs.
        logits: (B, C).
        schema: of the file; a `label` column needs `labels`, `prediction_prior` needs `prior`,
            `set` needs `thresholds`.
        labels: B class names, None where unknown.
        prior: (C,) deployment prior; the training frequencies when left out. Sets stay the same
            under any, but for classes that it excludes (`stats.conformal` says why).
        thresholds: of the sets.
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
    if "set" in schema.names:
        assert thresholds is not None
        inside = thresholds.sets(
            decision.even_probabilities(logits),
            possible=None if prior is None else np.asarray(prior) > 0,
        )
        members = [np.flatnonzero(row) for row in inside]
        columns["set"] = [
            names[ids[np.argsort(-row[ids], kind="stable")]].tolist()
            for row, ids in zip(probs, members)
        ]
        columns["set_size"] = [len(ids) for ids in members]
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


def refuse_separator(path: Path, classes: Sequence[str]) -> None:
    """Refuse sets of such classes in a CSV file: nobody could take them apart again.

    Raises:
        InputError: a class name holds the separator, and `path` ends in .csv.
    """
    odd = next((name for name in classes if SEPARATOR in name), None)
    if odd is not None and path.suffix.lower() == ".csv":
        raise InputError(
            f"The name of class '{odd}' holds '{SEPARATOR}', which joins the classes of a set in a "
            "CSV file.",
            remedy="Write a .jsonl or .parquet file: there a set is a list.",
        )


def _is_list(field: pa.Field) -> bool:
    return bool(pa.types.is_list(field.type))


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
        elif suffix == ".csv":
            flat = pa.schema(
                [(one.name, pa.string() if _is_list(one) else one.type) for one in schema]
            )
            self._csv = pyarrow.csv.CSVWriter(self._file, flat)
            self.write, self._finish = self._write_csv, self._csv.close
        else:
            writer = pyarrow.parquet.ParquetWriter(self._file, schema)
            self.write, self._finish = writer.write_batch, writer.close

    def _write_csv(self, batch: pa.RecordBatch) -> None:
        self._csv.write_table(
            pa.table(
                {
                    one.name: pyarrow.compute.binary_join(batch[one.name], SEPARATOR)
                    if _is_list(one)
                    else batch[one.name]
                    for one in batch.schema
                }
            )
        )

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
