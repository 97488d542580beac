"""`everyclass export`: its options, and what it says. Comes in: what was typed. Goes out: files.

Exports nothing itself. The workflow is imported inside: help needs no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everyclass.commands.options import Json, Quiet, one_of
from everyclass.printing import progress_console, result_console, write_json

FORMATS = ("onnx", "torch", "openvino")


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", metavar="RUN")],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="onnx (extra: export), torch (a .pt2 program; no extra) or openvino (extra: "
            "openvino).",
        ),
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The file to write.", show_default="RUN/model.onnx, .pt2, .xml"),
    ] = None,
    quantise: Annotated[
        str | None,
        typer.Option(
            help="int8: eight bits for the network, with what that costs each class; onnx only.",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder or manifest of images that the export and PyTorch must agree on.",
            show_default="the run's test images, or validation images",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file that is there.")
    ] = False,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """The model as one file with resizing, normalisation, temperature and softmax inside."""
    chosen = one_of(format, FORMATS, "--format")
    wanted = None if quantise is None else one_of(quantise, ("int8",), "--quantise")
    from everyclass.serving.export import export as export_run

    console = progress_console()
    live = console.is_terminal and not quiet

    def show(stage: str, done: int, total: int) -> None:
        if live:
            end = "\n" if done >= total else "\r"
            console.print(f"{stage}: {done:,} of {total:,} images", end=end, highlight=False)

    found = export_run(
        run,
        out,
        format=chosen,  # type: ignore[arg-type]
        quantise=wanted,  # type: ignore[arg-type]
        images=images,
        overwrite=overwrite,
        on_progress=show,
    )
    write_json(json_file, found.to_dict())
    if not quiet:
        from everyclass.terminal.export import export_view

        result_console().print(export_view(found), soft_wrap=True)
