"""`everyclass report`, and the report that other commands leave at their end.

Comes in: what was typed. Goes out: one HTML file and a line that names it. Makes no page itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everyclass.commands.options import Json, Quiet
from everyclass.errors import EveryclassError
from everyclass.printing import progress_console, result_console, write_json


def report(
    run: Annotated[
        Path,
        typer.Argument(
            help="Folder that `train --out` or `run --out` wrote, finished or not.", metavar="RUN"
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The file to write.", show_default="RUN/report.html"),
    ] = None,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """One HTML file of a run: every class with the images behind it, data, recipe, diagnosis."""
    from everyclass.report.write import write_report

    written = write_report(run, out)
    write_json(json_file, written.to_dict())
    if not quiet:
        result_console().print(written.sentence, soft_wrap=True, highlight=False, markup=False)


def leave_report(folder: Path) -> str:
    """Write the report of a run that has just ended; a line on it, or why there is none.

    What was trained or watched is complete without it: a full disk costs the report alone.
    """
    from everyclass.report.write import write_report

    try:
        return write_report(folder).sentence
    except (EveryclassError, OSError) as error:
        return f"No report was written: {error}"


def tell_report(folder: Path, *, quiet: bool) -> None:
    """`leave_report`, told on standard error."""
    line = leave_report(folder)
    if not quiet:
        progress_console().print(line, soft_wrap=True, highlight=False, markup=False)
