"""Messages of all errors that bad input can raise: whole sentences that say what to do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "everyclass"

FORMULAS = ("stats/", "imbalance/", "models/decision.py")
"""Arrays in, numbers out: the fact says which shape or range is expected, and that is all to do."""

WORDS = ("contracts", "calibrations", "diagnoses", "findings", "json_reader", "repairs", "slices")
"""Values read from a file: whoever reads it knows which, and what makes it again."""

SAYS_WHAT_IS_DUE = (" expected", " needed", " needs ", " must ")
HAS_NO_FULL_STOP = ("'", ")", ": ")  # a command to copy, a list of names, another's message


def errors() -> Iterator[tuple[str, ast.Call]]:
    """Each making of an InputError, by module and line."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            # One that is passed on from another process has no words of its own.
            made = isinstance(node, ast.Call) and ast.unparse(node.func) == "InputError"
            if made and node.args:
                yield f"{name}:{node.lineno}", node


ALL = dict(errors())


def literal(node: ast.expr) -> str:
    """The written parts of a text; what is filled in is an ellipsis."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) for part in node.values)
    if isinstance(node, ast.IfExp):
        return literal(node.body)
    if isinstance(node, ast.BoolOp):
        return literal(node.values[-1])
    return "…"


def keyword(call: ast.Call, name: str) -> str:
    return next((literal(one.value) for one in call.keywords if one.arg == name), "")


def test_all_errors_are_found() -> None:
    assert len(ALL) > 300


@pytest.mark.parametrize("place", ALL)
def test_fact_and_remedy_are_whole_sentences(place: str) -> None:
    what, remedy = literal(ALL[place].args[0]), keyword(ALL[place], "remedy")
    for sentence in (what, remedy):
        if not sentence or sentence.endswith("…"):
            continue
        assert sentence.rstrip().endswith((".", "?", *HAS_NO_FULL_STOP)), sentence
    assert not remedy or remedy.startswith("…") or not remedy[0].islower() or "pip " in remedy


@pytest.mark.parametrize("place", ALL)
def test_what_a_user_can_meet_says_what_to_do(place: str) -> None:
    if place.startswith(FORMULAS) or place.split(".py")[0] in WORDS:
        return
    call = ALL[place]
    what = literal(call.args[0])
    assert keyword(call, "remedy") or any(word in what for word in SAYS_WHAT_IS_DUE), (
        f"{place} says '{what}' and no remedy"
    )
