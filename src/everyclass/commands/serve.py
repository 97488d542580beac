"""`everyclass serve`: its options, and what it says. Comes in: what was typed. Goes out: a server.

Serves nothing itself. The server is imported inside: help needs no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from everyclass.commands.options import Json, Quiet, prior_of
from everyclass.printing import result_console, write_json

if TYPE_CHECKING:
    from everyclass.serving.server import Started

PACKAGES = ("fastapi", "uvicorn", "prometheus_client")


def serve(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", metavar="RUN")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that others reach needs a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes one that is free.", min=0, max=65535)
    ] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the token that clients must give; else EVERYCLASS_TOKEN, where set."
        ),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            help="Class frequencies where the model is used: 'A=0.7,B=0.3', or a YAML or JSON file "
            "of them.",
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Share of each class's images whose prediction set holds it.",
            show_default="0.9, where the run has scores for sets",
        ),
    ] = None,
    max_megabytes: Annotated[float, typer.Option(help="Of an image's file.")] = 10.0,
    max_megapixels: Annotated[float, typer.Option(help="Of an image.")] = 50.0,
    max_seconds: Annotated[float, typer.Option(help="From a request to its answer.")] = 10.0,
    max_waiting: Annotated[
        int, typer.Option(help="Requests under way; more are told to come again.")
    ] = 64,
    max_batch: Annotated[int, typer.Option(help="Images of one forward pass.")] = 32,
    batch_window: Annotated[
        float, typer.Option(help="Milliseconds that a forward pass waits for more images.")
    ] = 3.0,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """The model as a web page and an interface for programs, with limits and a drift watch."""
    from everyclass.serving.artifact import need_packages

    need_packages(PACKAGES, extra="serve", what="everyclass serve")
    from everyclass.serving.limits import Limits
    from everyclass.serving.server import serve as serve_run

    def say_start(started: Started) -> None:
        if not quiet:
            result_console().print(_opening(started), soft_wrap=True, highlight=False, markup=False)

    ended = serve_run(
        run,
        host=host,
        port=port,
        token_file=token_file,
        prior=None if prior is None else prior_of(prior),
        coverage=coverage,
        limits=Limits(
            max_bytes=int(max_megabytes * 1e6),
            max_pixels=int(max_megapixels * 1e6),
            max_seconds=max_seconds,
            max_waiting=max_waiting,
            max_batch=max_batch,
            window_seconds=batch_window / 1e3,
        ),
        on_start=say_start,
    )
    write_json(json_file, ended.told)
    if not quiet:
        closing = _closing(ended.told)
        result_console().print(closing, soft_wrap=True, highlight=False, markup=False)
    if ended.interrupted:
        raise typer.Exit(130)


def _opening(started: Started) -> str:
    served = started.served
    lines = [
        f"Serving {len(served.classes):,} classes at {started.address} (Ctrl-C ends it).",
        "A token is needed: as the password in a browser, or Authorization: Bearer TOKEN."
        if started.token
        else "Reached from this machine alone.",
    ]
    if served.thresholds is None:
        lines.append("No prediction sets: the run has no calibration scores for them.")
    return "\n".join(lines)


def _closing(told: dict[str, Any]) -> str:
    ended = {name: n for name, n in told["requests"].items() if n}
    drift = told["drift"]
    requests = ", ".join(f"{n:,} {name}" for name, n in ended.items()) or "none"
    if drift["alarm"] is not None:
        seen = f"Drift: {drift['alarm']}"
    else:
        seen = f"No drift of classes was seen (p = {drift['p_value']:.2g})."
    return f"Requests: {requests}. {seen}"
