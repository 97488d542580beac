"""`everyclass predict`: files, folders or a manifest in; one row an image out.

Comes in: a run, images, an output file. Goes out: the file, and counts. An image that cannot be
read is a row with its reason, never an absence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from everyclass.errors import InputError
from everyclass.images.readers import has_columns, read_images, read_table
from everyclass.images.slides import Tiling, tiling_of
from everyclass.images.table import ImageTable
from everyclass.models.file import SavedModel, load_model
from everyclass.run_folder import RunFolder
from everyclass.stats.conformal import ConformalThresholds, check_coverage
from everyclass.training.batches import Rows
from everyclass.workflows.classify import Classified, classify_files
from everyclass.workflows.cluster import Cluster
from everyclass.workflows.inference import answering_precision, make_fabric
from everyclass.workflows.machine import find_machine
from everyclass.workflows.prediction_file import (
    PredictionFile,
    failed_rows,
    predicted_rows,
    prediction_schema,
    refuse_separator,
)
from everyclass.workflows.prediction_sets import read_thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedSets:
    """What the sets look like.

    Args:
        coverage: that was asked for.
        sizes: (classes in the set, images) pairs, sizes ascending.
        in_every_set: classes with too few validation images for that coverage.
        sentence: what is promised for which classes.
    """

    coverage: float
    sizes: tuple[tuple[int, int], ...]
    in_every_set: tuple[str, ...]
    sentence: str

    @property
    def mean_size(self) -> float | None:
        """Classes in a set, in the mean; None without images."""
        n = sum(images for _, images in self.sizes)
        return sum(size * images for size, images in self.sizes) / n if n else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "coverage": self.coverage,
            "sizes": {str(size): images for size, images in self.sizes},
            "mean_size": self.mean_size,
            "in_every_set": list(self.in_every_set),
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What was written.

    Args:
        counts: images by balanced decision, in class order.
        failed: images with a reason instead of a prediction.
        notes: what the reader guessed.
        sets: of the prediction sets, where a coverage was asked for.
    """

    path: Path
    n: int
    failed: int
    counts: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    sets: PredictedSets | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "out": str(self.path),
            "n": self.n,
            "failed": self.failed,
            "predicted": dict(self.counts),
            **({} if self.sets is None else {"sets": self.sets.to_dict()}),
        }


def predict(
    run_path: Path,
    sources: Sequence[str],
    out: Path,
    *,
    prior: Mapping[str, float] | None = None,
    coverage: float | None = None,
    image_column: str | None = None,
    image_root: str | None = None,
    tile_size: int | None = None,
    tile_downsample: int = 1,
    cluster: Cluster | None = None,
    on_progress: Callable[[int, int], None],
) -> Predicted:
    """Classify images and write a row for each.

    Args:
        sources: files, folders and manifests, or URIs of them.
        out: .csv, .jsonl or .parquet.
        prior: deployment frequencies by class name; they are scaled to sum to 1.
        coverage: of prediction sets, in (0, 1): for each class, the share of its images whose set
            is to hold it. No sets when left out.
        image_column, image_root: of a manifest, when they cannot be guessed.
        tile_size, tile_downsample: of the tiles that slides are cut into; a thumbnail each when
            left out.
        cluster: whose machines classify; this process when left out. The file is the same.
        on_progress: told (images done, images in all).
    Raises:
        InputError: no finished model, no images, a prior that does not fit the classes, a coverage
            that is no share or that the run has no calibration scores for, a machine of the
            cluster that does not see run or images.
    """
    if coverage is not None:
        check_coverage(coverage)
    run = RunFolder.open(run_path)
    model = load_model(run.path)
    thresholds = None if coverage is None else read_thresholds(run, model, coverage)
    if thresholds is not None:
        refuse_separator(out, model.classes)
    shares = None if prior is None else check_prior(prior, model.classes)
    table = _images(sources, image_column, image_root, tiling_of(tile_size, tile_downsample))
    schema = prediction_schema(
        model.classes,
        labelled=bool(table.classes),
        prior=shares is not None,
        sets=thresholds is not None,
    )
    columns = _Columns(model, table, table.labels(), schema, shares, thresholds)
    total, counts, sizes = len(table) + len(table.set_aside), Counter[str](), Counter[int]()
    failed = done = 0
    with PredictionFile(out, schema) as file:
        if table.set_aside:
            names = [found.image for found in table.set_aside]
            reasons = [found.reason for found in table.set_aside]
            file.write(failed_rows(names, reasons, schema=schema))
            failed = done = len(names)
        for batch in _classified(model, run, table, cluster):
            if len(batch.rows):
                rows = columns.of(batch)
                file.write(rows)
                if thresholds is not None:
                    sizes.update(rows["set_size"].to_pylist())
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
        sets=None if thresholds is None else _sets(thresholds, sizes),
    )


def _classified(
    model: SavedModel, run: RunFolder, table: ImageTable, cluster: Cluster | None
) -> Iterator[Classified]:
    """The images of a table in their order, by this machine or by a cluster."""
    machine = find_machine(None)
    if cluster is not None:
        from everyclass.workflows.cluster_predict import classify_on

        return classify_on(
            cluster,
            str(run.path),
            table.images,
            threads=machine.threads,
            precision=answering_precision(model.precision, find_machine("cpu")),
        )
    precision = answering_precision(model.precision, machine)
    fabric = make_fabric(device=machine.device, precision=precision)
    classifier = model.classifier.to(fabric.device)
    return classify_files(classifier, table.images, threads=machine.threads, fabric=fabric)


@dataclass(frozen=True, slots=True)
class _Columns:
    """What the rows of every batch have in common."""

    model: SavedModel
    table: ImageTable
    labels: Rows
    schema: pa.Schema
    prior: tuple[float, ...] | None
    thresholds: ConformalThresholds | None

    def of(self, batch: Classified) -> pa.RecordBatch:
        """The rows of the images that were classified."""
        table, labels = self.table, self.labels[batch.rows]
        return predicted_rows(
            [table.image(int(row)) for row in batch.rows],
            batch.logits,
            self.model,
            schema=self.schema,
            labels=[table.classes[label] if label >= 0 else None for label in labels],
            prior=self.prior,
            thresholds=self.thresholds,
        )


def _sets(thresholds: ConformalThresholds, sizes: Counter[int]) -> PredictedSets:
    return PredictedSets(
        coverage=thresholds.coverage,
        sizes=tuple(sorted(sizes.items())),
        in_every_set=tuple(
            name for name, fine in zip(thresholds.classes, thresholds.guaranteed) if not fine
        ),
        sentence=thresholds.sentence(),
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


def _images(
    sources: Sequence[str], image_column: str | None, image_root: str | None, tiling: Tiling | None
) -> ImageTable:
    if len(sources) == 1 and has_columns(sources[0]):
        return read_table(
            sources[0],
            image_column=image_column,
            image_root=image_root,
            tiling=tiling,
            require_labels=False,
        )
    if image_column or image_root:
        raise InputError(
            "--image-column and --image-root describe a manifest, and none was given.",
            remedy="Leave them away, or name a CSV, TSV or Parquet file.",
        )
    return read_images(sources, tiling=tiling)


def _failed(table: ImageTable, batch: Classified, schema: pa.Schema) -> pa.RecordBatch:
    return failed_rows(
        [table.image(row) for row, _ in batch.failed],
        [reason for _, reason in batch.failed],
        schema=schema,
    )
