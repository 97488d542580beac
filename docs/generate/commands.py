"""Every command with its options as a page, read from the command line itself.

Comes in: the typer application. Goes out: Markdown, and the names that a text may use
(`options_of`). Starts no command.
"""

from __future__ import annotations

import functools
import html
import re
from typing import Any

import typer.main

from everyclass.cli import app

_HEAD = """# Commands

Every command takes `--help`. Results go to standard output, progress to standard error. Exit codes:
0 done; 1 done and a problem was found where `--strict` was given, or the work could not be
finished; 2 bad input or usage; 130 interrupted. `everyclass run` otherwise exits with the script's
own code.

`DATA` is a folder of class folders (optionally under `train/`, `val/`, `test/`), or a CSV, TSV or
Parquet file with a column for the image and one for the label.
"""


@functools.cache
def commands() -> dict[str, Any]:
    """Commands by the words that call them ("train"), those of groups with both ("a b")."""
    return dict(_walk("", typer.main.get_command(app)))


def options_of(command: Any) -> set[str]:
    """Every spelling of every option of a command, `--help` among them."""
    names = {
        name
        for one in command.params
        if one.param_type_name == "option"
        for name in (*one.opts, *one.secondary_opts)
    }
    return {*names, "--help", "-h"}


def page() -> str:
    """The page in Markdown."""
    return "\n".join([_HEAD, *(_entry(name, one) for name, one in sorted(commands().items()))])


def _walk(prefix: str, group: Any) -> list[tuple[str, Any]]:
    found = []
    for name, one in group.commands.items():
        words = f"{prefix} {name}".strip()
        found += _walk(words, one) if hasattr(one, "commands") else [(words, one)]
    return found


def _entry(name: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    usage = " ".join(["everyclass", name, *(_argument(one) for one in arguments)])
    lines = [f"## {name}\n", "```text", usage + (" [OPTIONS]" if options else ""), "```\n"]
    lines += [f"{command.help.strip()}\n", '<dl class="options">']
    for one in (*arguments, *options):
        spelled = (
            _argument(one) if one in arguments else ", ".join((*one.opts, *one.secondary_opts))
        )
        told = _code(html.escape(getattr(one, "help", None) or ""))
        default = one.default
        if one.param_type_name == "option" and isinstance(default, (int, float, str)):
            usual = "" if isinstance(default, bool) else f" Default: <code>{default}</code>."
            told = f"{told}{usual}"
        lines.append(f"<dt><code>{html.escape(spelled)}</code></dt><dd>{told}</dd>")
    return "\n".join([*lines, "</dl>\n"])


def _argument(one: Any) -> str:
    name = str(one.metavar or one.name).upper().strip("{}[].")
    return f"{name}..." if one.nargs == -1 else name


def _code(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", text)
