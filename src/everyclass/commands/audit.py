"""`everyclass audit`: its options, and what it shows. Comes in: what was typed.

Goes out: a table of findings. Workflows are imported inside: the audit needs no torch.
"""

from __future__ import annotations

import typer

from everyclass.commands.options import (
    Data,
    Fraction,
    GroupColumn,
    ImageColumn,
    ImageRoot,
    ImageSize,
    Json,
    LabelColumn,
    MaxUnreadable,
    NoCache,
    Quiet,
    RayAddress,
    RayWorkers,
    Seed,
    SplitColumn,
    Strict,
    TileDownsample,
    TileSize,
    cluster_of,
)
from everyclass.printing import counter, progress_console, result_console, write_json


def audit(
    data: Data,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    group_column: GroupColumn = None,
    image_root: ImageRoot = None,
    tile_size: TileSize = None,
    tile_downsample: TileDownsample = 1,
    image_size: ImageSize = None,
    val_fraction: Fraction = None,
    test_fraction: Fraction = None,
    seed: Seed = None,
    max_unreadable: MaxUnreadable = 0.01,
    strict: Strict = False,
    ray: RayAddress = None,
    ray_workers: RayWorkers = None,
    json_file: Json = None,
    no_cache: NoCache = False,
    quiet: Quiet = False,
) -> None:
    """Look at every image once: statistics, counts, faults, duplicates, leakage."""
    from everyclass.terminal.audit import audit_view
    from everyclass.workflows.audit import audit_data
    from everyclass.workflows.data_source import DEFAULT_FRACTION, DataSource

    with cluster_of(ray, ray_workers) as cluster:
        result = audit_data(
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
            side=image_size,
            val_fraction=DEFAULT_FRACTION if val_fraction is None else val_fraction,
            test_fraction=DEFAULT_FRACTION if test_fraction is None else test_fraction,
            seed=seed or 0,
            cached=not no_cache,
            cluster=cluster,
            on_progress=counter("auditing", quiet),
        )
        redone = "" if cluster is None else cluster.redone_sentence()
    write_json(json_file, result.audit.to_dict())
    if not quiet:
        if redone:
            progress_console().print(redone, soft_wrap=True)
        result_console().print(audit_view(result.audit))
        if result.remembered:
            result_console().print(
                f"{result.remembered:,} of {result.audit.n:,} images are as they were at an audit "
                "before and were not read again; --no-cache reads them.",
                style="dim",
            )
    if strict and result.audit.warnings:
        raise typer.Exit(1)
