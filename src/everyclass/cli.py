"""The command line: parse, call one workflow, show, exit code.

Exit codes: 0 done; 1 done but a problem was found and --strict was given, or the work could not be
finished; 2 bad input or usage; 130 interrupted. Results go to standard output, progress to
standard error. Workflows are imported inside the commands: torch takes seconds to load, and help
and the audit do not need it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from everyclass.commands.audit import audit
from everyclass.commands.compare import CompareCommand, compare
from everyclass.commands.crossval import crossval
from everyclass.commands.curve import curve
from everyclass.commands.demo import demo
from everyclass.commands.doctor import doctor
from everyclass.commands.evaluate import evaluate
from everyclass.commands.export import export
from everyclass.commands.predict import predict
from everyclass.commands.report import report
from everyclass.commands.run import run
from everyclass.commands.serve import serve
from everyclass.commands.train import train
from everyclass.errors import EveryclassError, InputError

app = typer.Typer(
    name="everyclass",
    help="Image classifiers that predict every class: audit a data set, decide a recipe and say "
    "why, train, and report every class honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


# In the order of help: what one starts with, then what one does with a run.
app.command(context_settings={"allow_interspersed_args": False})(run)
app.command()(audit)
app.command()(train)
app.command()(evaluate)
app.command()(predict)
app.command()(report)
app.command(cls=CompareCommand)(compare)
app.command()(curve)
app.command()(crossval)
app.command()(export)
app.command()(serve)
app.command()(doctor)
app.command()(demo)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"everyclass {version('everyclass')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    show_version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Options of all commands."""
    # Threads that wait by spinning slow a training to a seventh as soon as anything else runs on
    # the same cores (measured: 46 against 6 images/s beside one busy process). It must be said
    # before torch is loaded; whoever sets it otherwise is left alone, and so is a script that
    # `run` runs as plain Python would.
    if context.invoked_subcommand != "run":
        from everyclass.workflows.freed_memory import keep_freed_memory

        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        keep_freed_memory()
    if context.invoked_subcommand not in ("run", "train"):
        from everyclass.workflows.launched import refuse_several

        refuse_several(str(context.invoked_subcommand))


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: runs a command and exits with its code; errors are one message."""
    try:
        code = app(args=None if arguments is None else list(arguments), standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
    except InputError as error:
        code = _complain(error, 2)
    except EveryclassError as error:
        code = _complain(error, 130 if type(error).__name__ == "InterruptedTraining" else 1)
    except (KeyboardInterrupt, typer.Abort):
        code = _complain("Interrupted.", 130)
    except Exception as error:
        # Click's own usage errors know how to show themselves; anything else is our mistake and
        # keeps its traceback.
        if not hasattr(error, "show") or not hasattr(error, "exit_code"):
            raise
        error.show()
        code = int(error.exit_code)
    sys.exit(code or 0)


def _complain(error: object, code: int) -> int:
    typer.echo(f"everyclass: {error}", err=True)
    return code
