"""`everyclass predict`: its options, and what it says. Comes in: what was typed.

Goes out: a file of predictions. Workflows are imported inside: help needs no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everyclass.commands.options import (
    ImageColumn,
    ImageRoot,
    Json,
    Quiet,
    RayAddress,
    RayWorkers,
    TileDownsample,
    TileSize,
    cluster_of,
    prior_of,
)
from everyclass.printing import counter, progress_console, result_console, write_json


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", metavar="RUN")],
    images: Annotated[
        list[str], typer.Argument(help="Files, folders or one manifest.", metavar="IMAGES...")
    ],
    out: Annotated[Path, typer.Option("--out", help="FILE.csv, FILE.jsonl or FILE.parquet.")],
    prior: Annotated[
        str | None,
        typer.Option(
            help="Class frequencies where the model will be used: 'A=0.7,B=0.3', or a YAML or "
            "JSON file of them.",
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Add the set of classes that holds the right one for this share of the images of "
            "each class, as 0.9.",
        ),
    ] = None,
    image_column: ImageColumn = None,
    image_root: ImageRoot = None,
    tile_size: TileSize = None,
    tile_downsample: TileDownsample = 1,
    ray: RayAddress = None,
    ray_workers: RayWorkers = None,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Classify images: calibrated probabilities, both decisions, sets of a given coverage."""
    from everyclass.workflows.predict import predict as predict_images

    with cluster_of(ray, ray_workers) as cluster:
        result = predict_images(
            run,
            images,
            out,
            prior=None if prior is None else prior_of(prior),
            coverage=coverage,
            image_column=image_column,
            image_root=image_root,
            tile_size=tile_size,
            tile_downsample=tile_downsample,
            cluster=cluster,
            on_progress=counter("predicting", quiet),
        )
        redone = "" if cluster is None else cluster.redone_sentence()
    write_json(json_file, result.to_dict())
    if not quiet:
        from everyclass.terminal.prediction_sets import sets_lines

        if redone:
            progress_console().print(redone, soft_wrap=True)
        console = result_console()
        for note in result.notes:
            console.print(note, soft_wrap=True)
        shares = ", ".join(f"{name} {count:,}" for name, count in result.counts)
        console.print(f"{result.n:,} images: {shares}; {result.failed:,} unreadable.")
        if result.sets is not None:
            console.print(sets_lines(result.sets), soft_wrap=True)
        console.print(f"Written to {result.path}.", soft_wrap=True)
