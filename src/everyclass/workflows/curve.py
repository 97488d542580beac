"""What more images of which class would bring: trainings on subsets, and a curve through them.

Comes in: a data source, shares, repeats. Goes out: a `LearningCurve`, and a folder with the runs,
`curve.json` and `curve.png`.

Every training has the same recipe, decided once on all images; the same validation and test images;
and the same number of optimizer *steps*: a subset of a quarter makes four times the epochs. With
equal epochs a smaller set would be trained for a shorter time as well, and the curve would give to
the images what longer training brings. The rest is rounding: half an epoch of the subset. Seed by
seed, a smaller subset is part of the larger one, groups stay whole, and the first weights are the
same. Nothing is repaired on the way.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from everyclass.errors import EveryclassError, InputError
from everyclass.images.subsets import nested_subset, one_class_subset
from everyclass.images.table import SPLITS, ImageTable, SplitName
from everyclass.recipe import Recipe
from everyclass.run_folder import RunFolder, write_atomically
from everyclass.settings import check_wishes
from everyclass.stats.learning_curve import Halved, LearningCurve, learning_curve
from everyclass.training.batches import steps_per_epoch
from everyclass.workflows.compute import seconds_a_step
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.events import Event
from everyclass.workflows.job import InterruptedTraining
from everyclass.workflows.machine import find_machine
from everyclass.workflows.prepare import Prepared, prepare
from everyclass.workflows.repair import RepairOptions
from everyclass.workflows.train import Materials, TrainOptions, decided, train_prepared

RESULT, PICTURE, RECIPE = "curve.json", "curve.png", "curve-recipe.yaml"
FORWARD_SHARE = 0.35
"""Of the time of a step: an image that is only looked at, in validation and test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveOptions:
    """Besides the data.

    Args:
        epochs: of the training on all images; None = as the recipe decides.
        shares: of the training images, each in (0, 1]; 1 is always among them.
        repeats: trainings a share, each with a subset and first weights of its own.
        halve: so many classes, those of the lowest recall on validation images, are halved alone.
        halve_classes: these instead.
        wishes: other settings, the same for all.
        cached: as in `TrainOptions`.
    """

    epochs: int | None = None
    shares: tuple[float, ...] = (0.25, 0.5, 1.0)
    repeats: int = 3
    halve: int = 2
    halve_classes: tuple[str, ...] = ()
    wishes: Mapping[str, Any] = field(default_factory=dict)
    cached: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What is ahead, before anything is trained.

    Attributes:
        trainings: in all; `finished` of them are there already.
        seconds: of one, about.
    """

    trainings: int
    finished: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One training of the curve.

    Attributes:
        name: of its folder below `out`.
        words: what it is trained on.
        rows: of the whole table.
        counts: (C,) training images of each class.
        epochs: that give the steps of the whole training.
        seed: of first weights and order.
    """

    name: str
    words: str
    rows: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    epochs: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveResult:
    """The curve, and how it came about.

    Attributes:
        curve: fitted.
        settings: epochs, steps, shares, test images.
        notes: what was left out, and why.
    """

    curve: LearningCurve
    settings: Mapping[str, Any]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The content of `curve.json`."""
        return {**self.settings, **self.curve.to_dict(), "notes": list(self.notes)}


def curve(
    data: DataSource,
    *,
    out: Path,
    options: CurveOptions,
    on_cost: Callable[[Cost], None] = lambda cost: None,
    on_run: Callable[[Planned], None] = lambda planned: None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> CurveResult:
    """Train on subsets, halve single classes, and fit.

    Runs are kept in `out`; a finished one is not trained again, an interrupted one goes on.

    Args:
        data: the images.
        out: folder of the runs and results.
        options: shares, repeats, settings.
        on_cost: told before the first training.
        on_run: told before each training that is not finished.
        on_event: told what happens in each.
    Raises:
        InputError: bad data or options, a class with too few images for these shares, or runs in
            `out` that were made otherwise.
        InterruptedTraining: call again to go on.
        EveryclassError: no repeat came to its end.
    """
    shares, wishes = _checked(options)
    trainer = TrainOptions(wishes=wishes, repair=RepairOptions(most=None), cached=options.cached)
    machine = find_machine(wishes.get("device"))
    folder = RunFolder(out)
    prepared = prepare(
        data,
        wishes=wishes,
        preset=None,
        machine=machine,
        store_folder=folder.store,
        cached=options.cached,
        on_event=on_event,
    )
    try:
        recipe = _recipe(out / RECIPE, wishes, lambda: decided(prepared, trainer, machine, folder))
        whole = replace(prepared, recipe=recipe)
        made = _Trainings(whole, out, trainer, on_run, on_event)
        planned = [
            [made.share_of(share, repeat) for share in shares] for repeat in range(options.repeats)
        ]
        counts = np.mean([[one.counts for one in row] for row in planned], axis=0)
        made.leave_out_thin(counts)
        halved_ids = _named(options, whole.table)
        halves = len(halved_ids) if options.halve_classes else options.halve
        on_cost(made.cost([one for row in planned for one in row], halves * options.repeats))
        answers = [[made.answers(one) for one in row] for row in planned]
        kept = [k for k, row in enumerate(answers) if all(one is not None for one in row)]
        if not kept:
            raise EveryclassError(f"No repeat came to its end: {'; '.join(made.notes)}")
        if not options.halve_classes and options.halve:
            halved_ids = made.worst([planned[k][-1] for k in kept], options.halve)
        arms = [made.halved(label, kept) for label in halved_ids]
    finally:
        prepared.store.close()
    right = np.array([[answers[k][place] for k in kept] for place in range(len(shares))])
    table = whole.table.of_split(made.split)
    found = learning_curve(
        right,
        table.labels(),
        counts=np.rint(counts).astype(np.int64),
        classes=table.classes,
        split=made.split,
        halved=[one for one in arms if one is not None],
        groups=_groups(table),
        seed=recipe.settings.seed,
    )
    result = CurveResult(
        curve=found,
        settings={
            "shares": list(shares),
            "epochs": recipe.settings.epochs,
            "steps": made.steps(planned[0][-1]),
            "n_train": int(whole.table.counts("train").sum()),
            "n_judged": len(table),
        },
        notes=tuple(made.notes),
    )
    write_atomically(out / RESULT, (json.dumps(result.to_dict(), indent=2) + "\n").encode())
    folder.clean()
    return result


def _checked(options: CurveOptions) -> tuple[tuple[float, ...], dict[str, Any]]:
    shares = tuple(sorted({*options.shares, 1.0}))
    if len(shares) < 2 or not shares[0] > 0 or shares[-1] > 1:
        raise InputError(
            f"The shares are {', '.join(f'{share:g}' for share in shares)}; two in (0, 1] are "
            "needed, of which 1 is one.",
            remedy="Write --shares 0.25,0.5,1.",
        )
    if options.repeats < 1 or options.halve < 0:
        raise InputError(
            f"{options.repeats} repeats and {options.halve} classes to halve were asked for; at "
            "least 1 and 0 are needed."
        )
    own = dict(options.wishes)
    if options.epochs is not None:
        own["epochs"] = options.epochs
    return shares, check_wishes(own, where="options")


def _recipe(path: Path, wishes: Mapping[str, Any], decide: Callable[[], Recipe]) -> Recipe:
    """The one that the first call decided: measuring again might decide otherwise."""
    if not path.exists():
        recipe = decide()
        write_atomically(path, recipe.to_yaml().encode())
        return recipe
    recipe = Recipe.from_yaml(path.read_text(encoding="utf-8"), where=str(path))
    for name, wish in wishes.items():
        has = getattr(recipe.settings, name)
        if has != wish:
            raise InputError(
                f"{path.parent} was begun with {name} = {has}; now {wish} is asked for.",
                remedy="Choose another --out, or ask for the same.",
            )
    return recipe


def _named(options: CurveOptions, table: ImageTable) -> list[int]:
    unknown = [name for name in options.halve_classes if name not in table.classes]
    if unknown:
        raise InputError(
            f"There is no class '{unknown[0]}' to halve.",
            remedy=f"Classes are: {', '.join(table.classes[:10])}.",
        )
    return [table.classes.index(name) for name in dict.fromkeys(options.halve_classes)]


def _groups(table: ImageTable) -> npt.NDArray[np.int64] | None:
    """Ids by which test images are resampled; an image without a group has its own."""
    codes = table.group_codes()
    if not np.any(codes >= 0) or np.bincount(codes[codes >= 0]).max() < 2:
        return None
    alone = np.flatnonzero(codes < 0)
    codes = codes.copy()
    codes[alone] = codes.max() + 1 + np.arange(alone.size)
    return codes


class _Trainings:
    """Plans, trains and reads the runs of one curve.

    Args:
        whole: all images, with the recipe of the curve.
        out: folder of the runs.
    """

    def __init__(
        self,
        whole: Prepared,
        out: Path,
        options: TrainOptions,
        on_run: Callable[[Planned], None],
        on_event: Callable[[Event], None],
    ) -> None:
        self._whole, self._out, self._options = whole, out, options
        self._on_run, self._on_event = on_run, on_event
        self._settings = whole.recipe.settings
        self.split: SplitName = "test" if whole.table.has_split("test") else "val"
        self.notes: list[str] = []
        self._thin = np.zeros(len(whole.table.classes), dtype=bool)

    def leave_out_thin(self, counts: npt.NDArray[np.float64]) -> None:
        """Tell of classes that have as many images at one share as at the next: no curve.

        Args:
            counts: (S, C) images at each share.
        """
        self._thin = np.any(np.diff(np.rint(counts), axis=0) <= 0, axis=0)
        names = [f"'{self._whole.table.classes[k]}'" for k in np.flatnonzero(self._thin)]
        if names:
            self.notes.append(
                f"Too few training images, or groups of them, for a curve: {', '.join(names)}."
            )

    def share_of(self, share: float, repeat: int) -> Planned:
        """On a share of the images of every class."""
        seed = self._settings.seed + repeat
        rows = nested_subset(self._whole.table, share=share, seed=seed)
        words = "all images" if share == 1 else f"{share:g} of the images"
        return self._planned(f"share-{share:g}/repeat-{repeat}", words, rows, seed)

    def half_of(self, label: int, repeat: int) -> Planned:
        """On half the images of one class and all of the others."""
        name, seed = self._whole.table.classes[label], self._settings.seed + repeat
        rows = one_class_subset(self._whole.table, label=label, share=0.5, seed=seed)
        folder = f"half-{label}-{re.sub(r'[^A-Za-z0-9_-]+', '-', name)}/repeat-{repeat}"
        return self._planned(folder, f"half of '{name}', all others", rows, seed)

    def _planned(self, name: str, words: str, rows: npt.NDArray[np.int64], seed: int) -> Planned:
        counts = self._whole.table.take(rows).counts("train")
        epochs = self._settings.epochs * self._whole.table.counts("train").sum() / counts.sum()
        return Planned(
            name=name,
            words=words,
            rows=rows,
            counts=counts,
            epochs=max(1, round(float(epochs))),
            seed=seed,
        )

    def steps(self, planned: Planned) -> int:
        """Optimizer steps of a training."""
        n = int(planned.counts.sum())
        return planned.epochs * steps_per_epoch(n, self._settings.batch_size)

    def cost(self, planned: Sequence[Planned], halves: int) -> Cost:
        """Measured on a few steps; trainings of halved classes are like those on all images."""
        finished = sum(RunFolder(self._out / one.name).evaluation.exists() for one in planned)
        finished += sum(one.exists() for one in self._out.glob("half-*/repeat-*/evaluation.json"))
        trainings = len(planned) + halves
        if finished >= trainings:
            return Cost(trainings=trainings, finished=trainings, seconds=0.0)
        job = Materials.of(self._whole, self._options).job(
            self._whole.recipe, RunFolder(self._out), None
        )
        counts = [int(self._whole.table.counts(split).sum()) for split in SPLITS]
        step = seconds_a_step(job, n_train=counts[0])
        look = step * FORWARD_SHARE / self._settings.batch_size
        each = [self.steps(one) * step + one.epochs * counts[1] * look for one in planned]
        mean = float(np.mean(each)) + (counts[1] + counts[2]) * look
        return Cost(trainings=trainings, finished=finished, seconds=mean)

    def answers(self, planned: Planned) -> npt.NDArray[np.bool_] | None:
        """(N,) which test images the training gets right; None where it did not finish."""
        folder = self._out / planned.name
        if not RunFolder(folder).evaluation.exists():
            self._on_run(planned)
        whole, reason = self._whole, f"as many steps as on all images ({planned.words})"
        recipe = whole.recipe.with_value("epochs", planned.epochs, reason)
        subset = replace(
            whole,
            table=whole.table.take(planned.rows),
            store=whole.store.take(planned.rows),
            contents=whole.contents[planned.rows],
            looks=whole.looks.take(planned.rows),
            recipe=recipe.with_value("seed", planned.seed, "one a repeat"),
        )
        try:
            train_prepared(subset, folder, self._options, on_event=self._on_event)
        except (InputError, InterruptedTraining):
            raise
        except EveryclassError as error:
            self.notes.append(f"{planned.name}: {error}")
            return None
        with open(RunFolder(folder).predictions, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return np.array([row["label"] == row["prediction_balanced"] for row in rows], dtype=bool)

    def worst(self, planned: Sequence[Planned], n: int) -> list[int]:
        """The classes of lowest recall on *validation* images, over trainings on all images.

        Chosen by test images, a class of bad luck there would seem to gain less than it does."""
        names = self._whole.table.classes
        recalls = []
        for one in planned:
            lines = list(RunFolder(self._out / one.name).read_metrics())
            known = max(lines, key=lambda line: (line["best"], line["epoch"]))["recall"]
            recalls.append([np.nan if known[name] is None else known[name] for name in names])
        judged = self._whole.table.counts(self.split) > 0
        mean = np.where(judged & ~self._thin, np.mean(recalls, axis=0), np.nan)
        order = [k for k in np.argsort(mean).tolist() if not np.isnan(mean[k])]
        return order[:n]

    def halved(self, label: int, repeats: Sequence[int]) -> Halved | None:
        """Trainings with half of one class; None where one did not finish."""
        planned = [self.half_of(label, repeat) for repeat in repeats]
        images = int(np.mean([one.counts[label] for one in planned]).round())
        if self._thin[label] or images >= self._whole.table.counts("train")[label]:
            name = self._whole.table.classes[label]
            self.notes.append(f"'{name}' cannot be halved: all its images are of one group.")
            return None
        found = [self.answers(one) for one in planned]
        right = [one for one in found if one is not None]
        if len(right) < len(found):
            return None
        return Halved(label=label, images=images, right=np.array(right))
