"""What more images of which class would bring: trainings on subsets, and a curve through them.

Comes in: a data source, shares, repeats. Goes out: a `LearningCurve`, and a folder with the runs,
`curve.json` and `curve.png`.

Every training has the same recipe, decided once on all images; the same validation and test images;
and the same number of optimizer *steps*: a subset of a quarter makes four times the epochs. With
equal epochs a smaller set would be trained for a shorter time as well, and the curve would give to
the images what longer training brings. The rest is rounding: half an epoch of the subset; and a
smaller set is validated more often, of which the best epoch is kept, so that its recall is a little
flattered. Where steps are few, they are what limits the recall, and the curve is flat. Seed by
seed, a smaller subset is part of the larger one, groups stay whole, and the first weights are the
same. Nothing is repaired on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from everyclass.errors import EveryclassError, InputError
from everyclass.images.table import ImageTable
from everyclass.json_writer import json_text
from everyclass.recipe import Recipe
from everyclass.run_folder import RunFolder, write_atomically
from everyclass.settings import check_wishes
from everyclass.stats.learning_curve import Halved, LearningCurve, learning_curve
from everyclass.workflows.curve_trainings import Cost, CurveTrainings, Planned
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.events import Event
from everyclass.workflows.machine import find_machine
from everyclass.workflows.prepare import prepare
from everyclass.workflows.repair import RepairOptions
from everyclass.workflows.train import TrainOptions, decided

RESULT, PICTURE, RECIPE = "curve.json", "curve.png", "curve-recipe.yaml"


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
        made = CurveTrainings(whole, out, trainer, on_run, on_event)
        answers = _answers(made, whole.table, shares, options, on_cost)
    finally:
        prepared.store.close()
    table = whole.table.of_split(made.split)
    result = CurveResult(
        curve=learning_curve(
            answers.right,
            table.labels(),
            counts=answers.counts,
            classes=table.classes,
            split=made.split,
            halved=answers.halved,
            groups=_groups(table),
            seed=recipe.settings.seed,
        ),
        settings={
            "shares": list(shares),
            "epochs": recipe.settings.epochs,
            "steps": answers.steps,
            "n_train": int(whole.table.counts("train").sum()),
            "n_judged": len(table),
        },
        notes=tuple(made.notes),
    )
    write_atomically(out / RESULT, json_text(result.to_dict()).encode())
    folder.clean()
    return result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answers:
    """What the trainings got right: (S, R, N) bool, with (S, C) training images of each class."""

    right: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]
    halved: tuple[Halved, ...]
    steps: int


def _answers(
    made: CurveTrainings,
    table: ImageTable,
    shares: Sequence[float],
    options: CurveOptions,
    on_cost: Callable[[Cost], None],
) -> _Answers:
    """Train everything. The repeats come in turn, each with all shares; then single classes are
    halved, which are known only now."""
    planned = [
        [made.share_of(share, repeat) for share in shares] for repeat in range(options.repeats)
    ]
    counts = np.rint(np.mean([[one.counts for one in row] for row in planned], axis=0))
    made.leave_out_thin(counts)
    named = _named(options, table)
    halves = len(named) if options.halve_classes else options.halve
    on_cost(made.cost([one for row in planned for one in row], halves * options.repeats))
    answers = [[made.answers(one) for one in row] for row in planned]
    kept = [k for k, row in enumerate(answers) if all(one is not None for one in row)]
    if not kept:
        raise EveryclassError(f"No repeat came to its end: {'; '.join(made.notes)}")
    if not options.halve_classes and options.halve:
        named = made.worst([planned[k][-1] for k in kept], options.halve)
    halved = [made.halved(label, kept) for label in named]
    return _Answers(
        right=np.array([[answers[k][place] for k in kept] for place in range(len(shares))]),
        counts=counts.astype(np.int64),
        halved=tuple(one for one in halved if one is not None),
        steps=made.steps(planned[0][-1]),
    )


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
