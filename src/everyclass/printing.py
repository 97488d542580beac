"""Where commands print and write: results, progress, JSON.

Comes in: what to show or write. Goes out: consoles on standard output and standard error, a file
that is whole or absent. Decides nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.console import Console

from everyclass.json_writer import json_text
from everyclass.run_folder import write_atomically


def result_console() -> Console:
    """Standard output, for results."""
    return Console()


def progress_console() -> Console:
    """Standard error, for progress and for everything that `run` says.

    A command that a notebook starts (`!everyclass train`) is given a terminal whose cursor cannot
    move: redrawn lines would stand there one under the other, four times a second. JPY_PARENT_PID
    is set by a kernel of Jupyter for all that it starts.
    """
    return Console(stderr=True, force_terminal=False if "JPY_PARENT_PID" in os.environ else None)


def write_json(path: Path | None, value: Any) -> None:
    """Write the value, or nothing without a path."""
    if path is None:
        return
    write_atomically(path, json_text(value).encode())


def counter(verb: str, quiet: bool) -> Any:
    """A progress line on standard error, redrawn on a terminal and silent elsewhere."""
    console = progress_console()
    if quiet or not console.is_terminal:
        return lambda done, total: None

    def show(done: int, total: int) -> None:
        end = "\n" if done >= total else "\r"
        console.print(f"{verb} {done:,} of {total:,} images", end=end, highlight=False)

    return show
