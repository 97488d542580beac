"""`everyclass predict`: files, folders or a manifest in; one row an image out.

Comes in: a run, images, an output file. Goes out: the file, and counts. An image that cannot be
read is a row with its reason, never an absence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from everyclass.errors import InputError
from everyclass.images.readers import read_images, read_table
from everyclass.images.table import ImageTable
from everyclass.models.file import load_model
from everyclass.run_folder import RunFolder
from everyclass.workflows.classify import Classified, classify_files
from everyclass.workflows.inference import make_fabric
from everyclass.workflows.machine import find_machine
from everyclass.workflows.prediction_file import (
    PredictionFile,
    failed_rows,
    predicted_rows,
    prediction_schema,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What was written.

    Args:
        counts: images by balanced decision, in class order.
        failed: images with a reason instead of a prediction.
        notes: what the reader guessed.
    """

    path: Path
    n: int
    failed: int
    counts: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]


def predict(
    run_path: Path,
    sources: Sequence[str],
    out: Path,
    *,
    prior: Mapping[str, float] | None = None,
    image_column: str | None = None,
    image_root: str | None = None,
    on_progress: Callable[[int, int], None],
) -> Predicted:
    """Classify images and write a row for each.

    Args:
        sources: files, folders and manifests, or URIs of them.
        out: .csv, .jsonl or .parquet.
        prior: deployment frequencies by class name; they are scaled to sum to 1.
        image_column, image_root: of a manifest, when they cannot be guessed.
        on_progress: told (images done, images in all).
    Raises:
        InputError: no finished model, no images, a prior that does not fit the classes.
    """
    run = RunFolder.open(run_path)
    model = load_model(run.path)
    shares = None if prior is None else check_prior(prior, model.classes)
    table = _images(sources, image_column, image_root)
    labels = [table.classes[label] if label >= 0 else None for label in table.labels()]
    schema = prediction_schema(
        model.classes, labelled=bool(table.classes), prior=shares is not None
    )
    machine = find_machine(None)
    fabric = make_fabric(device=machine.device, precision="fp32")
    classifier = model.classifier.to(fabric.device)
    total, counts = len(table) + len(table.set_aside), Counter[str]()
    failed = done = 0
    with PredictionFile(out, schema) as file:
        if table.set_aside:
            names = [found.image for found in table.set_aside]
            reasons = [found.reason for found in table.set_aside]
            file.write(failed_rows(names, reasons, schema=schema))
            failed = done = len(names)
        for batch in classify_files(
            classifier, table.images, threads=machine.threads, fabric=fabric
        ):
            if len(batch.rows):
                names = [table.image(int(row)) for row in batch.rows]
                rows = predicted_rows(
                    names,
                    batch.logits,
                    model,
                    schema=schema,
                    labels=[labels[int(row)] for row in batch.rows],
                    prior=shares,
                )
                file.write(rows)
                counts.update(rows["prediction_balanced"].to_pylist())
            if batch.failed:
                file.write(_failed(table, batch, schema))
            failed += len(batch.failed)
            done += len(batch.rows) + len(batch.failed)
            on_progress(done, total)
    return Predicted(
        path=out,
        n=total,
        failed=failed,
        counts=tuple((name, counts[name]) for name in model.classes),
        notes=table.notes,
    )


def check_prior(prior: Mapping[str, float], classes: Sequence[str]) -> tuple[float, ...]:
    """The prior in class order, scaled to sum to 1.

    Raises:
        InputError: a class missing or unknown, a negative share, or nothing but zeros.
    """
    unknown = [name for name in prior if name not in classes]
    absent = [name for name in classes if name not in prior]
    if unknown or absent:
        complaint = f"unknown: {', '.join(unknown)}" if unknown else f"missing: {', '.join(absent)}"
        raise InputError(
            f"The prior does not fit the model's classes ({complaint}).",
            remedy=f"Give one share for each of {', '.join(classes)}; 0 excludes a class.",
        )
    shares = np.array([prior[name] for name in classes], dtype=np.float64)
    if not np.isfinite(shares).all() or shares.min() < 0 or shares.sum() <= 0:
        raise InputError(
            f"The prior's shares are {', '.join(f'{share:g}' for share in shares)}; they must be "
            "0 or more and not all 0.",
            remedy="Correct --prior.",
        )
    return tuple(float(share) for share in shares / shares.sum())


def _images(sources: Sequence[str], image_column: str | None, image_root: str | None) -> ImageTable:
    manifest = len(sources) == 1 and sources[0].lower().endswith((".csv", ".tsv", ".parquet"))
    if manifest:
        return read_table(
            sources[0],
            image_column=image_column,
            image_root=image_root,
            require_labels=False,
        )
    if image_column or image_root:
        raise InputError(
            "--image-column and --image-root describe a manifest, and none was given.",
            remedy="Leave them away, or name a CSV, TSV or Parquet file.",
        )
    return read_images(sources)


def _failed(table: ImageTable, batch: Classified, schema: pa.Schema) -> pa.RecordBatch:
    return failed_rows(
        [table.image(row) for row, _ in batch.failed],
        [reason for _, reason in batch.failed],
        schema=schema,
    )
