"""`everyclass compare`: its options, and what it says. Comes in: what was typed. Goes out: a table.

Two questions under one word. With DATA, methods are trained and compared; with folders of finished
runs, nothing is trained and these are put side by side. What was typed tells which: a folder that
holds a run is a run. Trains nothing itself. Workflows are imported inside: help needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from everyclass.commands.options import (
    DATA_HELP,
    GroupColumn,
    ImageColumn,
    ImageRoot,
    ImageSize,
    Json,
    LabelColumn,
    MaxUnreadable,
    NoCache,
    Quiet,
    SplitColumn,
    TileDownsample,
    TileSize,
    wishes_of,
)
from everyclass.errors import InputError
from everyclass.printing import progress_console, result_console, write_json

WITH_RUNS = ("sources", "json_file", "quiet", "help")
"""Parameters that mean something for finished runs; the others say how to train."""


class CompareCommand(TyperCommand):
    """Its help puts the options that only DATA takes into a panel of their own."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, each with its panel."""
        params = super().get_params(ctx)
        for one in params:
            if one.name not in WITH_RUNS:
                one.rich_help_panel = "With DATA: how to train"  # type: ignore[attr-defined]
        return params


DataOrRuns = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA | RUN RUN...",
        help=f"DATA: {DATA_HELP[0].lower()}{DATA_HELP[1:]} RUN: a folder that `train --out` or "
        "`run --out` wrote; the first is what the others are tested against.",
    ),
]


def compare(
    context: typer.Context,
    sources: DataOrRuns,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder of the trainings.",
        ),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            help="Names of --imbalance, or none, with commas between; several in one by +.",
        ),
    ] = "none,balanced-sampling,logit-adjustment,weights-balanced",
    epochs: Annotated[
        int,
        typer.Option(help="Passes over the train split, of each run.", min=1),
    ] = 5,
    seeds: Annotated[int, typer.Option(help="Runs a method.", min=1)] = 3,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting, the same for all.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="As --model of `everyclass train`."),
    ] = None,
    image_size: ImageSize = None,
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
    """Compare methods by training them on DATA, or put finished runs side by side.

    DATA: several corrections of imbalance are trained at equal budget.
    Finished runs in --out stay; an interrupted comparison goes on.

    RUN RUN...: what differs in the recipes, every class's recall, and exact
    paired tests on the images that both judged. Nothing is trained.
    """
    if _are_runs(sources):
        _refuse_training_options(context)
        _side_by_side([Path(one) for one in sources], json_file, quiet)
        return
    data = sources[0]
    if out is None:
        raise InputError("No folder for the runs was given.", remedy="Add --out DIR.")
    flags = {"model": model, "image_size": image_size}
    given = {name: value for name, value in flags.items() if value is not None}
    _, wishes = wishes_of(None, settings or [], given)
    from everyclass.workflows.compare import CompareOptions
    from everyclass.workflows.compare import compare as compare_methods
    from everyclass.workflows.data_source import DataSource
    from everyclass.workflows.job import InterruptedTraining

    names = [name.strip() for name in methods.split(",") if name.strip()]
    console = progress_console()
    done = 0

    def say(method: str, seed: int) -> None:
        nonlocal done
        done += 1
        if not quiet:
            console.print(f"{done} of {len(names) * seeds}: {method}, seed {seed}", highlight=False)

    try:
        result = compare_methods(
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
            names,
            out=out,
            options=CompareOptions(epochs=epochs, seeds=seeds, wishes=wishes, cached=not no_cache),
            on_run=say,
        )
    except InterruptedTraining as stop:
        raise InterruptedTraining(
            f"{stop} Everything is saved. Go on with the same command."
        ) from None
    write_json(json_file, result.to_dict())
    if not quiet:
        result_console().print(str(result), soft_wrap=True, highlight=False, markup=False)


def _are_runs(sources: Sequence[str]) -> bool:
    """Whether finished runs are named, and not data.

    Raises:
        InputError: both are, or data beside other data.
    """
    from everyclass.report.runs import is_run

    runs = [one for one in sources if is_run(Path(one))]
    others = [one for one in sources if one not in runs]
    if runs and others:
        raise InputError(
            f"{runs[0]} is a run, and {others[0]} is none.",
            remedy="Name folders of finished runs alone, to put them side by side, or one DATA, to "
            "train on it.",
        )
    if len(others) > 1:
        raise InputError(
            f"{len(others)} sources were named, and none is a run ({others[0]}, {others[1]}).",
            remedy="Name folders that `everyclass train --out` or `everyclass run --out` wrote, or "
            "one DATA.",
        )
    return bool(runs)


def _refuse_training_options(context: typer.Context) -> None:
    """An option that would change nothing is a mistake of whoever typed it."""
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name not in WITH_RUNS and source is not None and source.name == "COMMANDLINE":
            raise InputError(
                f"{option.opts[0]} says how to train, and finished runs are compared as they are.",
                remedy="Leave it out, or name DATA instead of runs.",
            )


def _side_by_side(folders: Sequence[Path], json_file: Path | None, quiet: bool) -> None:
    from everyclass.report.side_by_side import compare_runs
    from everyclass.terminal.side_by_side import side_by_side_view

    found = compare_runs(folders)
    write_json(json_file, found.to_dict())
    if not quiet:
        result_console().print(side_by_side_view(found), highlight=False)
