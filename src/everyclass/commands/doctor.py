"""`everyclass doctor`: its options, and what it says. Comes in: what was typed. Goes out: a table.

Looks at nothing itself. Workflows are imported inside: help needs no torch.
"""

from __future__ import annotations

from typing import Annotated

import typer

from everyclass.commands.options import Json, Quiet
from everyclass.printing import progress_console, result_console, write_json


def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the two small trainings.")
    ] = False,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Look at versions, devices, room and decoder, and let a forced collapse be found.

    Exits with code 1 when there is a problem. Writes to a temporary folder alone.
    """
    from everyclass.terminal.doctor import doctor_view
    from everyclass.workflows.doctor import examine

    console = progress_console()
    if quiet or not console.is_terminal:
        health = examine(quick=quick)
    else:
        with console.status("everyclass: looking ...") as status:
            health = examine(
                quick=quick,
                on_item=lambda item: status.update(f"everyclass: after {item.name} ..."),
            )
    write_json(json_file, health.to_dict())
    if not quiet:
        result_console().print(doctor_view(health), soft_wrap=False, highlight=False)
    if health.count("problem"):
        raise typer.Exit(1)
