"""A run of a series: made, gone on with, or taken as it is.

Comes in: data, a folder, wishes. Goes out: a finished run. A command that trains several times is
finished by the same command: what is there is not trained again, if it is what is asked for.
Nothing is repaired on the way, so that the runs of a series stay comparable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from everyclass.errors import InputError
from everyclass.recipe import Recipe, show_value
from everyclass.run_folder import RunFolder
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.events import Event
from everyclass.workflows.repair import RepairOptions
from everyclass.workflows.train import TrainOptions, resume, train


def finished_run(
    data: DataSource,
    folder: Path,
    wishes: Mapping[str, Any],
    *,
    cached: bool,
    on_event: Callable[[Event], None],
) -> RunFolder:
    """The run in `folder`, trained from its beginning or from where it was interrupted if need be.

    Args:
        wishes: settings by name, checked.
        cached: as in `TrainOptions`.
    Raises:
        InputError: it was made with other settings or, where it goes on, with other data.
        InterruptedTraining: call again to go on.
    """
    repair = RepairOptions(most=None)
    run = RunFolder(folder)
    if not run.recipe.exists():
        train(
            data,
            folder,
            TrainOptions(wishes=wishes, repair=repair, cached=cached),
            on_event=on_event,
        )
        return run
    _refuse_other_wishes(run, wishes)
    if not run.evaluation.exists():
        resume(data, folder, TrainOptions(repair=repair, cached=cached), on_event=on_event)
    return run


def recipe_of(run: RunFolder) -> Recipe:
    """What a run was begun with."""
    return Recipe.from_yaml(run.recipe.read_text(encoding="utf-8"), where=str(run.recipe))


def _refuse_other_wishes(run: RunFolder, wishes: Mapping[str, Any]) -> None:
    settings = recipe_of(run).settings
    for name, wish in wishes.items():
        has = getattr(settings, name)
        if has != wish:
            raise InputError(
                f"{run.path} was trained with {name} = {show_value(has)}; now {show_value(wish)} "
                "is asked for.",
                remedy="Choose another --out, or ask for the same.",
            )
