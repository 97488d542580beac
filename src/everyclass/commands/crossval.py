"""`everyclass crossval`: its options, and what it says. Comes in: what was typed.

Goes out: a table a class, and the labels to look at. Trains nothing itself. Workflows are imported
inside: help needs no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from everyclass.commands.options import (
    Data,
    GroupColumn,
    ImageColumn,
    ImageRoot,
    ImageSize,
    Json,
    LabelColumn,
    MaxUnreadable,
    NoCache,
    Quiet,
    Seed,
    SplitColumn,
    TileDownsample,
    TileSize,
    wishes_of,
)
from everyclass.errors import InputError
from everyclass.images.readers_rules import plural
from everyclass.printing import progress_console, result_console, write_json

if TYPE_CHECKING:
    from everyclass.workflows.crossval import FoldDone
    from everyclass.workflows.events import Event


def crossval(
    data: Data,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the runs.")] = None,
    folds: Annotated[
        int, typer.Option(help="Trainings; each image is judged by one of them.", min=2)
    ] = 5,
    recipe: Annotated[
        str | None,
        typer.Option(help="A recipe file (YAML) with values to use, or 'tutorial'."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of the recipe."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="As --model of `everyclass train`.")] = None,
    image_size: ImageSize = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the train split, of each training.", min=1)
    ] = None,
    imbalance: Annotated[
        list[str] | None, typer.Option(help="none, or a correction that train takes.")
    ] = None,
    seed: Seed = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    group_column: GroupColumn = None,
    image_root: ImageRoot = None,
    tile_size: TileSize = None,
    tile_downsample: TileDownsample = 1,
    max_unreadable: MaxUnreadable = 0.01,
    no_cache: NoCache = False,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Judge every class on all of its images, by k trainings, and list labels that may be wrong.

    Finished folds in --out are not trained again; an interrupted cross-validation goes on.
    """
    if out is None:
        raise InputError("No folder for the runs was given.", remedy="Add --out DIR.")
    flags = {
        "model": model,
        "image_size": image_size,
        "epochs": epochs,
        "imbalance": imbalance or None,
        "seed": seed,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    preset, wishes = wishes_of(recipe, settings or [], given)
    from everyclass.terminal.crossval import crossval_view
    from everyclass.workflows.crossval import CrossvalOptions
    from everyclass.workflows.crossval import crossval as cross_validate
    from everyclass.workflows.data_source import DataSource
    from everyclass.workflows.job import InterruptedTraining

    view = _Progress(folds, quiet=quiet)
    try:
        result = cross_validate(
            DataSource(
                source=data,
                image_column=image_column,
                label_column=label_column,
                split_column=split_column,
                group_column=group_column,
                image_root=image_root,
                tile_size=tile_size,
                tile_downsample=tile_downsample,
                max_unreadable=max_unreadable,
            ),
            out=out,
            options=CrossvalOptions(
                n_folds=folds, wishes=wishes, preset=preset, cached=not no_cache
            ),
            on_fold=view.fold,
            on_done=view.done,
            on_event=view.event,
        )
    except InterruptedTraining as stop:
        raise InterruptedTraining(
            f"{stop} Everything is saved. Go on with the same command."
        ) from None
    write_json(json_file, result.to_dict())
    if not quiet:
        console = result_console()
        console.print(crossval_view(result))
        console.print(
            f"Probabilities, all suspected labels, figures: {out / 'out_of_fold.csv'}, "
            f"{out / 'label_errors.csv'}, {out / 'crossval.json'}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )


class _Progress:
    """A line a fold and a line an epoch, on standard error."""

    def __init__(self, folds: int, *, quiet: bool) -> None:
        self._folds = folds
        self._quiet = quiet
        self._number = 0
        self._looking = False
        self._console = progress_console()
        self._classes: tuple[str, ...] = ()

    def fold(self, number: int) -> None:
        self._number = number

    def done(self, done: FoldDone) -> None:
        was = "" if done.trained else "was finished before: "
        n = done.evaluation.n
        self._say(
            f"fold {done.number} of {self._folds}: {was}balanced accuracy "
            f"{done.evaluation.balanced_accuracy:.3f} on {n:,} images"
        )

    def event(self, event: Event) -> None:
        from everyclass.terminal.training import epoch_line
        from everyclass.workflows.events import AuditProgress, EpochDone, TrainingStarted

        if isinstance(event, AuditProgress):
            if not self._number and not self._looking:
                self._looking = True
                self._say(f"looking at {event.total:,} images, so that copies stay in one fold")
        elif isinstance(event, TrainingStarted):
            self._classes = event.classes
            self._say(
                f"fold {self._number} of {self._folds}: training on {sum(event.counts):,} images, "
                f"{plural(event.epochs, 'epoch')}"
            )
        elif isinstance(event, EpochDone):
            self._say(f"  {epoch_line(event, self._classes).plain}")

    def _say(self, sentence: str) -> None:
        if not self._quiet:
            self._console.print(sentence, soft_wrap=True, markup=False, highlight=False)
