"""A script's text with the places of its syntax: what edits cut and insert.

Comes in: Python source. Goes out: `Splice`s (from, to, text) by exact position, and the text with
them applied, which parses or is not given out. Whatever no splice touches stays as it was typed:
comments, quotes, line ends, tabs. Knows no torch and no cause.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Module
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)
LOOPS = (ast.For, ast.AsyncFor, ast.While)


class NotEditable(Exception):
    """This change cannot be expressed as an edit of this script; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Splice:
    """What stands between two positions is replaced.

    Attributes:
        start, end: in characters of the text, `start <= end`.
        text: that stands there instead.
    """

    start: int
    end: int
    text: str


class Script:
    """Source text and its syntax tree.

    Raises:
        NotEditable: it does not parse.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self.tree = ast.parse(text)
        except (SyntaxError, ValueError) as error:
            raise NotEditable(f"The script does not parse: {error}.") from None
        # As the tokenizer counts lines; str.splitlines would also break at form feeds.
        self._starts = [0, *(one.end() for one in re.finditer(r"\r\n|\r|\n", text))]
        self.newline = "\r\n" if "\r\n" in text else "\n"

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """Of every node but the module."""
        return {
            child: parent
            for parent in ast.walk(self.tree)
            for child in ast.iter_child_nodes(parent)
        }

    # -- positions ---------------------------------------------------------------------------------

    def start(self, node: ast.AST) -> int:
        """Position of the node's first character."""
        return self._position(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        """Position after the node's last character."""
        return self._position(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def of(self, node: ast.AST) -> str:
        """The node as it is typed."""
        return self.text[self.start(node) : self.end(node)]

    def _position(self, line: int, column: int) -> int:
        start = self._starts[line - 1]
        # ast counts UTF-8 bytes.
        ahead = self.text[start : start + column].encode()[:column].decode()
        return start + len(ahead)

    def line_start(self, position: int) -> int:
        """Position of the first character of the line."""
        return max(one for one in self._starts if one <= position)

    def line_end(self, position: int) -> int:
        """Position before the line end."""
        found = re.compile(r"\r\n|\r|\n").search(self.text, position)
        return len(self.text) if found is None else found.start()

    # -- the tree ----------------------------------------------------------------------------------

    def walk(self, kind: type[ast.Call] = ast.Call) -> Iterator[ast.Call]:
        """Every call, in the order of the text."""
        found = [one for one in ast.walk(self.tree) if isinstance(one, kind)]
        return iter(sorted(found, key=self.start))

    def statements(self) -> Iterator[ast.stmt]:
        """Every statement, in the order of the text."""
        found = [one for one in ast.walk(self.tree) if isinstance(one, ast.stmt)]
        return iter(sorted(found, key=self.start))

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """From the parent to the module."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def statement_of(self, node: ast.AST) -> ast.stmt:
        """The innermost statement that holds the node, or is it."""
        for one in (node, *self.ancestors(node)):
            if isinstance(one, ast.stmt):
                return one
        raise NotEditable("The place lies outside any statement.")

    def statement_at(self, line: int) -> ast.stmt | None:
        """The innermost statement that reaches over a line."""
        over = [one for one in self.statements() if one.lineno <= line <= (one.end_lineno or 0)]
        return min(over, key=lambda one: (one.end_lineno or 0) - one.lineno, default=None)

    def scope_of(self, node: ast.AST) -> Scope:
        """The function that the node stands in, or the module."""
        for one in self.ancestors(node):
            if isinstance(one, SCOPES):
                return one
        return self.tree

    def class_of(self, node: ast.AST) -> ast.ClassDef | None:
        """The innermost class that the node stands in."""
        return next((one for one in self.ancestors(node) if isinstance(one, ast.ClassDef)), None)

    def block_of(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements that it stands among."""
        parent = self.parents[statement]
        for name in ("body", "orelse", "finalbody"):
            block = getattr(parent, name, None)
            if isinstance(block, list) and statement in block:
                return block
        raise NotEditable("The statement stands in no block.")

    def lines_of(self, node: ast.stmt | ast.expr) -> list[str]:
        """The node as it is typed, without the indentation of its statement."""
        begin = self.start(self.statement_of(node))
        head = self.text[self.line_start(begin) : begin]
        return [one.removeprefix(head) for one in self.of(node).split(self.newline)]

    # -- splices -----------------------------------------------------------------------------------

    def replace(self, node: ast.AST, text: str) -> Splice:
        """Something else in the node's place."""
        return Splice(start=self.start(node), end=self.end(node), text=text)

    def before(self, statement: ast.stmt, lines: Sequence[str]) -> Splice:
        """New lines before a statement, indented as it is.

        On the same line when the statement shares it with others.
        """
        at = self.start(statement)
        head = self.text[self.line_start(at) : at]
        if head.strip(" \t\f\ufeff"):
            return Splice(start=at, end=at, text="".join(f"{one}; " for one in _inline(lines)))
        text = "".join(f"{head}{one}".rstrip() + self.newline for one in lines)
        return Splice(start=at - len(head), end=at - len(head), text=text)

    def after(self, statement: ast.stmt, lines: Sequence[str]) -> Splice:
        """New lines after a statement, indented as it is."""
        at, begin = self.end(statement), self.start(statement)
        head = self.text[self.line_start(begin) : begin]
        line_end = self.line_end(at)
        rest = self.text[at:line_end].strip()
        if head.strip(" \t\f\ufeff") or (rest and not rest.startswith("#")):
            return Splice(start=at, end=at, text="".join(f"; {one}" for one in _inline(lines)))
        text = "".join(self.newline + f"{head}{one}".rstrip() for one in lines)
        return Splice(start=line_end, end=line_end, text=text)

    def without(self, statement: ast.stmt) -> Splice:
        """The statement taken away, with its line; `pass` where it is alone in its block."""
        begin, at = self.start(statement), self.end(statement)
        if len(self.block_of(statement)) == 1:
            return Splice(start=begin, end=at, text="pass")
        line_start, line_end = self.line_start(begin), self.line_end(at)
        head, rest = self.text[line_start:begin].strip(), self.text[at:line_end].strip()
        if not head and (not rest or rest.startswith("#")):
            line_end += len(self.newline) if self.text[line_end : line_end + 1] else 0
            return Splice(start=line_start, end=line_end, text="")
        if rest.startswith(";"):
            after = at + self.text[at:line_end].index(";") + 1
            spaces = len(self.text[after:line_end]) - len(self.text[after:line_end].lstrip())
            return Splice(start=begin, end=after + spaces, text="")
        before = self.text[line_start:begin].rstrip(" \t;")
        return Splice(start=line_start + len(before), end=at, text="")

    def applied(self, splices: Iterable[Splice]) -> str:
        """The text with all splices; equal ones count once.

        Raises:
            NotEditable: two touch the same place, or the outcome is no Python.
        """
        ordered = sorted(dict.fromkeys(splices), key=lambda one: (one.start, one.end))
        parts, done = [], 0
        for one in ordered:
            if one.start < done:
                raise NotEditable("Two of the changes touch the same place of the script.")
            parts += [self.text[done : one.start], one.text]
            done = one.end
        text = "".join([*parts, self.text[done:]])
        try:
            compile(text, "<edited script>", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
        except (SyntaxError, ValueError):
            raise NotEditable("The edited script would not parse.") from None
        return text


def _inline(lines: Sequence[str]) -> list[str]:
    """Lines as they can share one with others."""
    kept = [one for one in lines if one and not one.startswith("#")]
    if any(one.startswith(" ") or one.endswith(":") for one in kept):
        raise NotEditable("The statement shares its line with others: there is no room.")
    return kept


# -- calls and their arguments ---------------------------------------------------------------------


def last_name(node: ast.AST) -> str:
    """`c` of `a.b.c` and of `c`; "" for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def keyword(call: ast.Call, name: str) -> ast.keyword | None:
    """The keyword argument of that name."""
    return next((one for one in call.keywords if one.arg == name), None)


def with_keyword(script: Script, call: ast.Call, name: str, value: str) -> Splice:
    """The call with one more keyword argument, behind the others."""
    given = [*call.args, *call.keywords]
    closing = script.end(call) - 1
    if not given:
        return Splice(start=closing, end=closing, text=f"{name}={value}")
    last = max(given, key=script.end)
    at = _past_brackets(script, script.end(last), closing)
    own_line = (
        "\n" in script.text[script.start(call) : script.start(last)]
        and "," in (script.text[at:closing])
    )
    if own_line:  # one argument a line, with a comma behind each
        begin = script.start(last)
        head = script.text[script.line_start(begin) : begin]
        if not head.strip():
            return Splice(start=at, end=at, text=f",{script.newline}{head}{name}={value}")
    return Splice(start=at, end=at, text=f", {name}={value}")


def without_argument(
    script: Script, call: ast.Call, argument: ast.expr | ast.keyword
) -> tuple[Splice, ...]:
    """The call without one argument; None in its place where positional ones follow."""
    given = sorted([*call.args, *call.keywords], key=script.start)
    place = given.index(argument)
    closing = script.end(call) - 1
    if argument in call.args and argument is not call.args[-1]:
        return (script.replace(argument, "None"),)
    if place > 0:
        begin = _past_brackets(script, script.end(given[place - 1]), closing)
        end = _past_brackets(script, script.end(argument), closing)
        return (Splice(start=begin, end=end, text=""),)
    end = script.start(given[1]) if len(given) > 1 else closing
    return (Splice(start=script.start(argument), end=end, text=""),)


def _past_brackets(script: Script, position: int, limit: int) -> int:
    """Past the closing brackets of an argument that is written as `(a + b)`."""
    found = re.compile(r"[\s)]*\)").match(script.text, position, limit)
    return position if found is None else found.end()


def grouped(node: ast.expr, text: str) -> str:
    """The text, in brackets where an operator beside it would tear it apart."""
    single = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant)
    return text if isinstance(node, single) else f"({text})"


def scaled(script: Script, node: ast.expr, factor: float) -> str:
    """An expression times a factor: worked out where it is a number."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return f"{node.value * factor:.6g}"
    shown = f"{factor:g}"
    return f"{grouped(node, script.of(node))} * {shown}"
