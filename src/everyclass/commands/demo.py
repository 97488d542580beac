"""`everyclass demo`: its options, and what it says. Comes in: what was typed.

Goes out: two trainings in a folder, and what they show. Workflows are imported inside: help needs
no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from everyclass.commands.options import (
    Json,
    Quiet,
    one_of,
)
from everyclass.printing import progress_console, result_console, write_json

if TYPE_CHECKING:
    from everyclass.workflows.demo import DemoData


def demo(
    data: Annotated[
        str, typer.Option("--data", help="tissue (made here), digits or fashion-mnist.")
    ] = "tissue",
    out: Annotated[Path, typer.Option("--out", help="Folder for images and runs.")] = Path(
        "everyclass-demo"
    ),
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """See a script collapse, its cause proved and cured, and our training on the same images."""
    from everyclass.terminal.demo import demo_view
    from everyclass.terminal.training import TrainingView
    from everyclass.workflows.demo import (
        SCRIPT_BUDGET_SECONDS,
        train_ours,
        watch_script,
        write_images,
    )

    chosen: DemoData = one_of(data, ("tissue", "digits", "fashion-mnist"), "--data")  # type: ignore[assignment]
    console = progress_console()

    def say(sentence: str) -> None:
        if not quiet:
            console.print(f"\n{sentence}", style="bold", soft_wrap=True)

    say(f"Writing the images to {out / 'images'} ...")
    source = write_images(out, chosen)
    say(
        "1 of 2: a script as people write them, watched, and cured: "
        f"everyclass run --fix --budget {SCRIPT_BUDGET_SECONDS} train.py"
    )
    script = watch_script(out, source, quiet=quiet)
    say("2 of 2: everyclass train, on the same images and the same split.")
    with TrainingView(console, quiet=quiet) as view:
        result = train_ours(out, source, script, data=chosen, on_event=view.show)
    write_json(json_file, result.to_dict())
    if not quiet:
        result_console().print(demo_view(result))
