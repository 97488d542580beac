"""`everyclass evaluate`: its options, and what it shows. Comes in: what was typed.

Goes out: a table of classes. Workflows are imported inside: help needs no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everyclass.commands.options import (
    Data,
    GroupColumn,
    ImageColumn,
    ImageRoot,
    Json,
    LabelColumn,
    MaxUnreadable,
    Quiet,
    SplitColumn,
    Strict,
    TileDownsample,
    TileSize,
    one_of,
)
from everyclass.printing import counter, result_console, write_json


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", metavar="RUN")],
    data: Data,
    split: Annotated[str, typer.Option(help="auto, train, val, test or all.")] = "auto",
    decision: Annotated[
        str, typer.Option(help="balanced (highest mean recall) or natural (fewest errors).")
    ] = "balanced",
    coverage: Annotated[
        float | None,
        typer.Option(help="Coverage of the prediction sets that are judged too.  [default: 0.9]"),
    ] = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    group_column: GroupColumn = None,
    image_root: ImageRoot = None,
    tile_size: TileSize = None,
    tile_downsample: TileDownsample = 1,
    max_unreadable: MaxUnreadable = 0.01,
    strict: Strict = False,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Per-class recall, precision and F1 with intervals, calibration, and the verdict."""
    from everyclass.terminal.evaluation import evaluation_view
    from everyclass.workflows.data_source import DataSource
    from everyclass.workflows.evaluate import evaluate as evaluate_run

    result = evaluate_run(
        run,
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
        split=one_of(split, ("auto", "train", "val", "test", "all"), "--split"),  # type: ignore[arg-type]
        kind=one_of(decision, ("balanced", "natural"), "--decision"),  # type: ignore[arg-type]
        coverage=coverage,
        on_progress=counter("evaluating", quiet),
    )
    write_json(json_file, result.evaluation.to_dict())
    if not quiet:
        console = result_console()
        for sentence in result.sentences:
            console.print(sentence, soft_wrap=True)
        for found in result.set_aside:
            console.print(f"Set aside: {found.image}: {found.reason}", soft_wrap=True)
        console.print(evaluation_view(result.evaluation))
    if strict and result.evaluation.collapse != "healthy":
        raise typer.Exit(1)
