"""`everyclass crossval`: k trainings of one recipe, each judged on the fold it has not seen.

Comes in: data, a number of folds, wishes. Goes out: figures over all images, suspected label
errors, and a folder with the runs. For each fold the fold is the test split of an ordinary
training; its validation images are cut off from the other folds. The data set's own test split is
left alone; its own validation images are divided among the folds like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.csv

from everyclass.contracts import Evaluation
from everyclass.decide import choose_side
from everyclass.errors import InputError
from everyclass.images.audit import examine_images
from everyclass.images.audit_cache import AuditCache
from everyclass.images.audit_values import Audit
from everyclass.images.folds import LEFT_OUT, Folds, assign_folds
from everyclass.images.probe import short_sides
from everyclass.images.table import SPLITS, ImageTable
from everyclass.recipe import Recipe
from everyclass.run_folder import RunFolder
from everyclass.settings import PRESETS, check_wishes
from everyclass.workflows.cache_folder import cache_folder
from everyclass.workflows.crossval_result import (
    CrossValidation,
    OutOfFold,
    cross_validation,
    write_result,
)
from everyclass.workflows.data_source import SIDE_WHEN_UNKNOWN, DataSource
from everyclass.workflows.events import AuditProgress, Event
from everyclass.workflows.machine import find_machine
from everyclass.workflows.manifest import refuse_other_data
from everyclass.workflows.prepare import rows_of_run
from everyclass.workflows.series import finished_run, recipe_of

OWN_TO_A_FOLD = frozenset({"mean", "std", "val_fraction", "test_fraction", "seed"})
"""Settings that the recipe of the first fold does not decide for the others: statistics of the
images that a model is trained on, and what differs by design."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossvalOptions:
    """What the user asked for, besides the data.

    Args:
        n_folds: k.
        wishes: settings by name, the same for all folds; fold k has the seed plus k.
        preset: name of a ready recipe.
        cached: as in `TrainOptions`.
    """

    n_folds: int = 5
    wishes: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    cached: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldDone:
    """A fold has its predictions.

    Args:
        number: from 1.
        trained: whether it was trained now, or was there.
    """

    number: int
    evaluation: Evaluation
    trained: bool


def crossval(
    data: DataSource,
    *,
    out: Path,
    options: CrossvalOptions,
    on_fold: Callable[[int], None] = lambda number: None,
    on_done: Callable[[FoldDone], None] = lambda done: None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> CrossValidation:
    """Train a model a fold, and pool what each says of the images it has not seen.

    Runs are kept in `out`, `fold-1` and so on. A finished one is not trained again and an
    interrupted one goes on, so that the same call finishes what another began.

    Args:
        on_fold: told the number of each fold, from 1, before it is trained or read.
        on_done: told after it.
        on_event: told what happens in between.
    Raises:
        InputError: bad data or wishes, or runs in `out` that were made otherwise.
        InterruptedTraining: call again to go on.
        NonFiniteLoss: a fold's loss; the others are kept.
    """
    wishes = {
        **PRESETS.get(options.preset or "", {}),
        **check_wishes(options.wishes, where="options"),
    }
    _refuse(wishes, out)
    table, folds = _divided(data, wishes, options, on_event)
    seed, shared = wishes.get("seed", 0), dict[str, Any]()
    runs = list[RunFolder]()
    for fold in range(options.n_folds):
        on_fold(fold + 1)
        own = {**shared, **wishes, "seed": seed + fold}
        source = replace(data, assigned=_assigned(folds, fold))
        folder = out / f"fold-{fold + 1}"
        there = RunFolder(folder).evaluation.exists()
        if RunFolder(folder).recipe.exists():
            _refuse_other_wishes(RunFolder(folder), own)
            _refuse_other_data(RunFolder(folder), source)
        run = finished_run(source, folder, own, cached=options.cached, on_event=on_event)
        if not shared:
            shared = _shared(recipe_of(run))
        evaluation = Evaluation.from_dict(run.read_json(run.evaluation))
        on_done(FoldDone(number=fold + 1, evaluation=evaluation, trained=not there))
        runs.append(run)
    seen = _out_of_fold(table, runs)
    result = cross_validation(
        seen, n_folds=options.n_folds, settings=shared, sentences=folds.sentences
    )
    write_result(out, seen, result)
    return result


def _refuse(wishes: Mapping[str, Any], out: Path) -> None:
    """What is refused before images are looked at."""
    if "test_fraction" in wishes:
        raise InputError(
            "test_fraction plays no part in a cross-validation: each fold is the test split of the "
            "model that was trained without it.",
            remedy="Leave it away; --folds decides how many images a fold has.",
        )
    if out.is_file() or RunFolder(out).recipe.exists():
        kind = "is a file" if out.is_file() else "holds a run"
        raise InputError(f"{out} {kind}.", remedy="Choose another --out.")


def _divided(
    data: DataSource,
    wishes: Mapping[str, Any],
    options: CrossvalOptions,
    on_event: Callable[[Event], None],
) -> tuple[ImageTable, Folds]:
    """The table and its folds. Files are read once for their digests, so that copies stay
    together; the trainings take what was seen here from the cache."""
    machine, table = find_machine(wishes.get("device")), data.read()
    seed, threads = wishes.get("seed", 0), wishes.get("threads", machine.threads)
    side = choose_side(
        short_sides(table, seed=seed) or (SIDE_WHEN_UNKNOWN,),
        device=machine.device,
        wish=wishes.get("image_size"),
    ).value
    folder = cache_folder() / "audits"
    state = examine_images(
        table,
        side=side,
        threads=threads,
        cache=AuditCache(folder, source=data.source, side=side) if options.cached else None,
        on_progress=lambda done, total: on_event(AuditProgress(done=done, total=total)),
    )
    contents = state.contents(len(table))
    return table, assign_folds(table, n_folds=options.n_folds, seed=seed, contents=contents)


def _assigned(folds: Folds, fold: int) -> npt.NDArray[np.int8]:
    """Splits of one fold's training: itself is test, the rest is still to be divided."""
    codes = np.full(len(folds.of_row), -1, dtype=np.int8)
    codes[folds.of_row == fold] = SPLITS.index("test")
    codes[folds.of_row == LEFT_OUT] = LEFT_OUT
    return codes


def _shared(recipe: Recipe) -> dict[str, Any]:
    return {one.name: one.value for one in recipe.decisions if one.name not in OWN_TO_A_FOLD}


def _refuse_other_wishes(run: RunFolder, wishes: Mapping[str, Any]) -> None:
    """Refuse a run with settings that somebody asked for then and nobody asks for now; those that
    are asked for now `finished_run` compares."""
    for one in recipe_of(run).decisions:
        if one.origin == "user" and one.name not in wishes:
            raise InputError(
                f"{run.path} was trained with {one.name} as it was asked for; now it is not.",
                remedy="Repeat the options of the first call, or choose another --out.",
            )


def _refuse_other_data(run: RunFolder, source: DataSource) -> None:
    """Refuse a run on other images, labels or folds, finished or not."""
    _, rows = rows_of_run(source, recipe_of(run).settings, manifest=run.manifest)
    audit = Audit.from_dict(run.read_json(run.audit))
    try:
        refuse_other_data(run.manifest, audit.drop_unreadable(rows), run=str(run.path))
    except InputError as error:
        raise InputError(
            error.what,
            remedy="A cross-validation is of the same data and folds throughout: restore the data "
            "and --folds, or choose another --out.",
        ) from None


def _out_of_fold(table: ImageTable, runs: list[RunFolder]) -> OutOfFold:
    """The predictions of all runs, in the order of the table."""
    row_of = {image: row for row, image in enumerate(table.images)}
    keys = table.keys()
    rows, predicted, folds, probs = list[int](), list[str](), list[int](), list[Any]()
    strings = {name: pyarrow.string() for name in ("image", "label", "prediction_balanced")}
    convert = pyarrow.csv.ConvertOptions(column_types=strings)
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    for fold, run in enumerate(runs):
        found = pyarrow.csv.read_csv(run.predictions, convert_options=convert, parse_options=parse)
        rows += [row_of[image] for image in found["image"].to_pylist()]
        predicted += found["prediction_balanced"].to_pylist()
        folds += [fold] * len(found)
        columns = [found[f"prob_{name}"].to_numpy() for name in table.classes]
        probs.append(np.stack(columns, axis=1).astype(np.float64))
    order = np.argsort(rows, kind="stable")
    id_of = {name: k for k, name in enumerate(table.classes)}
    ordered = [rows[k] for k in order]
    return OutOfFold(
        images=tuple(table.image(row) for row in ordered),
        names=tuple(keys.take(pyarrow.array(ordered)).to_pylist()),
        labels=table.labels()[ordered],
        predicted=np.array([id_of[predicted[k]] for k in order], dtype=np.int64),
        folds=np.array(folds, dtype=np.int64)[order],
        probs=np.concatenate(probs)[order],
        classes=table.classes,
    )
