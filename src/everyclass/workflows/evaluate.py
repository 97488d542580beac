"""`everyclass evaluate`: how a run's classifier does, class by class, on images with labels.

Comes in: a run and a data source. Goes out: an `Evaluation`, and what was left out. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from everyclass.contracts import DecisionKind, Evaluation
from everyclass.errors import InputError
from everyclass.images.table import SPLITS, ImageTable, SetAside, SplitName
from everyclass.models.file import SavedModel, load_model
from everyclass.run_folder import RunFolder
from everyclass.stats.conformal import check_coverage
from everyclass.training.batches import Rows
from everyclass.workflows.classify import classify_files
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.finish import evaluate_logits
from everyclass.workflows.inference import answering_precision, make_fabric
from everyclass.workflows.looks import Looks
from everyclass.workflows.machine import find_machine
from everyclass.workflows.manifest import splits_of_run
from everyclass.workflows.prediction_sets import read_thresholds

SplitChoice = Literal["auto", "train", "val", "test", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """An evaluation, the images that could not be used, and what was decided on the way."""

    evaluation: Evaluation
    set_aside: tuple[SetAside, ...]
    sentences: tuple[str, ...]


def evaluate(
    run_path: Path,
    data: DataSource,
    *,
    split: SplitChoice = "auto",
    kind: DecisionKind = "balanced",
    coverage: float | None = None,
    on_progress: Callable[[int, int], None],
) -> Evaluated:
    """Evaluate a run's model on labelled images.

    Classes are matched by name, whatever their order or number in the data.

    Args:
        split: auto takes the data's own test split (else val); for the very images the run was
            trained on, the run's test split; and everything for other images.
        kind: the decision that is judged.
        coverage: of the prediction sets that are judged too; 0.9 when left out, and no sets then
            for a run of an earlier version.
        on_progress: told (images done, images in all).
    Raises:
        InputError: no finished model, a class the model does not know, no image in the split,
            too many images that cannot be read, or a coverage that is no share or that the run has
            no calibration scores for.
    """
    if coverage is not None:
        check_coverage(coverage)
    run = RunFolder.open(run_path)
    model = load_model(run.path)
    thresholds = read_thresholds(run, model, coverage)
    table = _by_model_class(data.read(), model)
    chosen, name, sentences = _choose(table, run, split)
    machine = find_machine(None)
    precision = answering_precision(model.precision, machine)
    fabric = make_fabric(device=machine.device, precision=precision)
    classifier = model.classifier.to(fabric.device)
    logits: list[npt.NDArray[np.float32]] = []
    rows: list[Rows] = []
    sides, greys = list[npt.NDArray[np.int64]](), list[npt.NDArray[np.float64]]()
    failed: list[tuple[int, str]] = []
    for batch in classify_files(classifier, chosen.images, threads=machine.threads, fabric=fabric):
        failed.extend(batch.failed)
        if len(batch.rows):
            logits.append(batch.logits)
            rows.append(batch.rows)
            sides.append(batch.short_sides)
            greys.append(batch.greys)
        on_progress(sum(map(len, rows)) + len(failed), len(chosen))
    usable = chosen.without([row for row, _ in failed], [reason for _, reason in failed])
    lost = len(failed) + (len(table.set_aside) if name == "all" else 0)
    _refuse_many(lost, len(chosen) + lost - len(failed), usable, data.max_unreadable)
    evaluation = evaluate_logits(
        np.concatenate(logits),
        usable.labels(),
        model,
        split=name,
        kind=kind,
        train_counts=_train_counts(run, model),
        table=usable,
        looks=Looks(short_sides=np.concatenate(sides), greys=np.concatenate(greys)),
        set_aside=lost,
        thresholds=thresholds,
        same_images=thresholds is not None and _holds_validation(run, chosen),
    )
    return Evaluated(evaluation=evaluation, set_aside=usable.set_aside, sentences=sentences)


def _by_model_class(table: ImageTable, model: SavedModel) -> ImageTable:
    """The table with labels in the model's class order."""
    position = {name: k for k, name in enumerate(model.classes)}
    counts = table.counts()
    unknown = [name for k, name in enumerate(table.classes) if name not in position and counts[k]]
    if unknown:
        raise InputError(
            f"{table.source} has classes that the model does not know: {', '.join(unknown[:5])}"
            f"{f' and {len(unknown) - 5} more' if len(unknown) > 5 else ''} (it knows: "
            f"{', '.join(model.classes[:10])}{', ...' if len(model.classes) > 10 else ''}).",
            remedy="Remove or rename them, or train on data that have them.",
        )
    # A label of -1 (none) takes the last entry, -1 again.
    order = np.array([position.get(name, -1) for name in table.classes] + [-1], dtype=np.int64)
    labels = order[table.labels()]
    column = pa.array(labels, pa.int32(), mask=labels < 0)
    place = table.columns.schema.get_field_index("label")
    return replace(
        table, columns=table.columns.set_column(place, "label", column), classes=model.classes
    )


def _choose(
    table: ImageTable, run: RunFolder, split: SplitChoice
) -> tuple[ImageTable, str, tuple[str, ...]]:
    sentences: list[str] = []
    if not any(table.has_split(name) for name in SPLITS):
        table, sentences = _with_run_splits(table, run)
    present = [name for name in SPLITS if table.has_split(name)]
    name: str = split
    if split == "auto":
        name = next((each for each in ("test", "val") if each in present), "all")
    if name == "all":
        if "train" in present:
            sentences.append("Images that the model was trained on are among these.")
        return table, name, tuple(sentences)
    wanted: SplitName = name  # type: ignore[assignment]
    if wanted not in present:
        raise InputError(
            f"{table.source} has no images in split {name} "
            f"({'it has: ' + ', '.join(present) if present else 'it has no splits'}).",
            remedy="Choose another --split, or 'all'.",
        )
    return table.of_split(wanted), name, tuple(sentences)


def _with_run_splits(table: ImageTable, run: RunFolder) -> tuple[ImageTable, list[str]]:
    """The splits that the run gave these images, where they are the run's own."""
    codes = splits_of_run(run.manifest, table)
    known = int(np.count_nonzero(codes >= 0))
    if known == 0:
        return table, []
    sentences = [
        f"{known:,} of {len(table):,} images are the run's own; they keep the split it gave them."
    ]
    return table.with_split_codes(codes), sentences


def _holds_validation(run: RunFolder, table: ImageTable) -> bool:
    """Whether validation images of the run are among these."""
    return bool((splits_of_run(run.manifest, table) == SPLITS.index("val")).any())


def _refuse_many(lost: int, total: int, usable: ImageTable, limit: float) -> None:
    if len(usable) and lost <= limit * total:
        return
    first = "; ".join(f"{found.image}: {found.reason}" for found in usable.set_aside[-3:])
    raise InputError(
        f"{lost:,} of {total:,} images cannot be used, more than {limit:.1%} ({first}).",
        remedy="Mend them, or allow more with --max-unreadable.",
    )


def _train_counts(run: RunFolder, model: SavedModel) -> npt.NDArray[np.int64]:
    manifest = pq.read_table(run.manifest, columns=["label", "split"])
    labels = manifest["label"].to_numpy()[manifest["split"].to_numpy() == SPLITS.index("train")]
    return np.bincount(labels, minlength=len(model.classes)).astype(np.int64)
