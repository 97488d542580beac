"""`everyclass curve`: its options, and what it says. Comes in: what was typed. Goes out: a table.

Trains nothing itself. Workflows are imported inside: help needs no torch.
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
    SplitColumn,
    TileDownsample,
    TileSize,
    wishes_of,
)
from everyclass.errors import InputError
from everyclass.printing import progress_console, result_console, write_json

if TYPE_CHECKING:
    from everyclass.workflows.curve_trainings import Cost, Planned


def curve(
    data: Data,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the runs, curve.json and curve.png.")
    ] = None,
    shares: Annotated[
        str, typer.Option(help="Shares of the training images, with commas; 1 is added.")
    ] = "0.25,0.5,1",
    repeats: Annotated[
        int, typer.Option(help="Trainings a share, each on a subset of its own.", min=1)
    ] = 3,
    halve: Annotated[
        int,
        typer.Option(
            help="So many classes, the least recognised ones, are halved alone: direct evidence on "
            "more images of one class.",
            min=0,
        ),
    ] = 2,
    halve_class: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Halve this class instead; repeatable."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over all images; smaller sets get as many steps.", min=1),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting, the same for all."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="As --model of `everyclass train`.")] = None,
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
    """Train on parts of the images, and say what more of which class would bring.

    Finished runs in --out are not run again; an interrupted curve goes on.
    """
    if out is None:
        raise InputError("No folder for the runs was given.", remedy="Add --out DIR.")
    given = {"model": model, "image_size": image_size}
    flags = {name: value for name, value in given.items() if value is not None}
    _, wishes = wishes_of(None, settings or [], flags)
    from everyclass.terminal.curve import curve_view
    from everyclass.workflows.curve import PICTURE, CurveOptions
    from everyclass.workflows.curve import curve as learning_curve
    from everyclass.workflows.curve_plot import write_plot
    from everyclass.workflows.data_source import DataSource
    from everyclass.workflows.job import InterruptedTraining

    say = _Progress(quiet=quiet)
    try:
        result = learning_curve(
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
            options=CurveOptions(
                epochs=epochs,
                shares=_shares(shares),
                repeats=repeats,
                halve=halve,
                halve_classes=tuple(halve_class or ()),
                wishes=wishes,
                cached=not no_cache,
            ),
            on_cost=say.cost,
            on_run=say.run,
        )
    except InterruptedTraining as stop:
        raise InterruptedTraining(
            f"{stop} Everything is saved. Go on with the same command."
        ) from None
    write_plot(result.curve, out / PICTURE)
    write_json(json_file, result.to_dict())
    if not quiet:
        console = result_console()
        console.print(curve_view(result.curve))
        for note in result.notes:
            console.print(note, soft_wrap=True, highlight=False, markup=False)
        console.print(f"Picture and figures: {out / PICTURE}, {out / 'curve.json'}", soft_wrap=True)


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(
            f"--shares {text} are no numbers.", remedy="Write --shares 0.25,0.5,1."
        ) from None


class _Progress:
    """Says what is ahead, and which training begins."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet, self._console = quiet, progress_console()
        self._begun = self._all = 0

    def cost(self, cost: Cost) -> None:
        """Before the first training."""
        self._all, self._begun = cost.trainings, cost.finished
        left = cost.trainings - cost.finished
        from everyclass.terminal.training_panel import duration

        there = f", {cost.finished} of them finished" if cost.finished else ""
        ahead = (
            f": about {duration(cost.seconds)} each, {duration(left * cost.seconds)} in all, at "
            "the pace of the first steps"
            if left
            else ""
        )
        self._line(f"{cost.trainings} trainings{there}{ahead}.")

    def run(self, planned: Planned) -> None:
        """Before each."""
        self._begun += 1
        repeat = int(planned.name.rsplit("-", 1)[1]) + 1
        epochs = "epoch" if planned.epochs == 1 else "epochs"
        self._line(
            f"{self._begun} of {self._all}: {planned.words}, repeat {repeat}: "
            f"{int(planned.counts.sum()):,} images, {planned.epochs} {epochs}"
        )

    def _line(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
