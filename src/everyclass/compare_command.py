"""`everyclass compare`: its options, and what it says. Comes in: what was typed. Goes out: a table.

Trains nothing itself. Workflows are imported inside: help needs no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everyclass.errors import InputError
from everyclass.options import (
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
    SplitColumn,
    wishes_of,
)
from everyclass.printing import progress_console, result_console, write_json


def compare(
    data: Data,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the runs.")] = None,
    methods: Annotated[
        str,
        typer.Option(
            help="Names of --imbalance, or none, with commas between; several in one by +."
        ),
    ] = "none,balanced-sampling,logit-adjustment,weights-balanced",
    epochs: Annotated[
        int, typer.Option(help="Passes over the train split, of each run.", min=1)
    ] = 5,
    seeds: Annotated[int, typer.Option(help="Runs a method.", min=1)] = 3,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting, the same for all."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="'tutorial' or any timm model name.")] = None,
    image_size: ImageSize = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    group_column: GroupColumn = None,
    image_root: ImageRoot = None,
    max_unreadable: MaxUnreadable = 0.01,
    no_cache: NoCache = False,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Train several corrections of imbalance at equal budget, and compare every class's due.

    Finished runs in --out are not run again; an interrupted comparison goes on.
    """
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
