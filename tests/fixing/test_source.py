"""Splices keep what they do not touch: line ends, tabs, other alphabets, comments."""

from __future__ import annotations

import ast

import pytest
from as_written import KNOWN, facts_for

from everyclass.diagnosis.changes import changes
from everyclass.fixing.patch import MAKERS, difference, is_ours, marked, patched
from everyclass.fixing.source import NotEditable, Script, Splice, with_keyword


def test_windows_line_ends_and_tabs_stay() -> None:
    text = (
        "import torch\r\nfor x, y in loader:\r\n\tloss = f(model(x), y)  #L\r\n"
        "\tloss.backward()\r\n\topt.step()\r\n"
    )
    after = patched(text, ["gradients-cleared"], facts_for(text)).text
    assert after == text.replace("\tloss.back", "\topt.zero_grad()\r\n\tloss.back")
    assert marked(after, "t.py").count("\r\n") == marked(after, "t.py").count("\n")


def test_positions_count_characters_and_not_bytes() -> None:
    text = 'größe = "日本語"; opt = SGD(ps, lr=0.1)  #O\n'
    after = patched(text, ["rate-tenth"], facts_for(text)).text
    assert after == text.replace("lr=0.1", "lr=0.01")


def test_a_form_feed_ends_no_line() -> None:
    text = "a = 1\n\x0c\nopt = SGD(ps, lr=0.1)  #O\n"
    script = Script(text)
    call = next(iter(script.walk()))
    assert script.of(call) == "SGD(ps, lr=0.1)"


@pytest.mark.parametrize("text", ["", "x = 1", "def f():\n    return f(1)\n", "é = f(g('ü'), x)\n"])
def test_no_splice_changes_nothing_and_every_node_is_found(text: str) -> None:
    script = Script(text)
    assert script.applied(()) == text
    for node in ast.walk(script.tree):
        if isinstance(node, ast.expr):
            assert script.of(node) == ast.get_source_segment(text, node)


def test_changes_of_the_same_place_are_refused() -> None:
    script = Script("opt = SGD(ps, lr=0.1)\n")
    with pytest.raises(NotEditable, match="same place"):
        script.applied([Splice(start=0, end=5, text="a"), Splice(start=3, end=6, text="b")])


def test_what_no_longer_parses_is_refused() -> None:
    script = Script("x = 1\n")
    with pytest.raises(NotEditable, match="would not parse"):
        script.applied([Splice(start=4, end=5, text="(")])


def test_a_statement_alone_in_its_block_leaves_a_pass() -> None:
    script = Script("if x:\n    y = f(y)  # why\nz = 1; w = 2\n")
    inner, first = list(script.statements())[1:3]
    assert script.applied([script.without(inner)]) == "if x:\n    pass  # why\nz = 1; w = 2\n"
    assert script.applied([script.without(first)]) == "if x:\n    y = f(y)  # why\nw = 2\n"


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("f()", "f(a=1)"),
        ("f(x)", "f(x, a=1)"),
        ("f((x + 1))", "f((x + 1), a=1)"),
        ("f(x, **k)", "f(x, **k, a=1)"),
        ("f(\n    x,\n    b=2,\n)", "f(\n    x,\n    b=2,\n    a=1,\n)"),
        ("f(\n    x, b=2\n)", "f(\n    x, b=2, a=1\n)"),
    ],
)
def test_one_more_argument(written: str, wanted: str) -> None:
    script = Script(written)
    call = next(iter(script.walk()))
    assert script.applied([with_keyword(script, call, "a", "1")]) == wanted


@pytest.mark.parametrize(
    ("head", "line"),
    [("", 0), ("#!/usr/bin/env python\n", 1), ("#!/bin/x\n# -*- coding: latin-1 -*-\n", 2)],
)
def test_the_mark_is_the_first_line_that_may_be_one(head: str, line: int) -> None:
    text = f"{head}import torch\n"
    copy = marked(text, "train.py")
    assert copy.splitlines()[line].startswith("# A patched copy, made by everyclass run --fix")
    assert is_ours(copy)
    assert not is_ours(text)
    assert "".join(copy.splitlines(True)[:line]) == head


def test_a_difference_names_both_files() -> None:
    shown = difference("a\nb\n", "a\nc\n", old_name="t.py", new_name="t.fixed.py")
    assert shown.splitlines() == ["--- t.py", "+++ t.fixed.py", "@@ -1,2 +1,2 @@", " a", "-b", "+c"]


def test_every_edit_belongs_to_a_change_that_trials_try() -> None:
    assert set(MAKERS) <= {one.name for one in changes()}


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_script_without_the_place_is_refused_in_words(name: str) -> None:
    with pytest.raises(NotEditable) as refusal:
        patched("import engine\nengine.run()\n", [name], KNOWN)
    assert str(refusal.value).endswith(".")
