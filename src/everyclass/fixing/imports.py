"""What a script imports, and one more import. Comes in: a `Script`. Goes out: splices."""

from __future__ import annotations

import ast

from everyclass.fixing.source import NotEditable, Script, Splice


def import_line(script: Script, line: str) -> Splice:
    """One more import, before the script's first that is not of `__future__`."""
    for one in script.tree.body:
        future = isinstance(one, ast.ImportFrom) and one.module == "__future__"
        if isinstance(one, (ast.Import, ast.ImportFrom)) and not future:
            return script.before(one, (line,))
    raise NotEditable("The script imports nothing at its head.")


def torch_named(script: Script) -> tuple[Splice, ...]:
    """`import torch`, where the script has no such name."""
    known = any(
        (alias.asname or alias.name.split(".")[0]) == "torch"
        for one in script.tree.body
        if isinstance(one, ast.Import)
        for alias in one.names
    )
    return () if known else (import_line(script, "import torch"),)


def imports_lightning(script: Script) -> bool:
    """Whether it imports Lightning, under its new or its old name."""
    return any(
        name.split(".")[0] in ("lightning", "pytorch_lightning")
        for one in ast.walk(script.tree)
        if isinstance(one, (ast.Import, ast.ImportFrom))
        for name in (
            [one.module or ""]
            if isinstance(one, ast.ImportFrom)
            else [alias.name for alias in one.names]
        )
    )
