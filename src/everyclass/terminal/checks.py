"""Results of checks as something to read in a terminal: what is wrong first, with its remedy.

Comes in: `CheckResult`s. Goes out: something rich draws, readable at 80 columns. Computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from everyclass.findings import CheckResult


def checks_view(results: Sequence[CheckResult]) -> RenderableType:
    """Issues with sentence and remedy, one line of what passed, then what did not apply and why."""
    return Group(*_sections(results))


def _sections(results: Sequence[CheckResult]) -> Iterable[RenderableType]:
    issues = [one for one in results if one.outcome == "issue"]
    passed = [one for one in results if one.outcome == "passed"]
    lacking = [one for one in results if one.outcome == "not-applicable"]
    if issues:
        yield _issue_table(issues)
    if passed:
        names = ", ".join(one.name.replace("-", " ") for one in passed)
        yield Text.assemble((f"✓ {len(passed)} passed", "green"), f": {names}")
    if lacking:
        yield _lacking_table(lacking)


def _issue_table(issues: Sequence[CheckResult]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    together: dict[tuple[str, str], list[str]] = {}
    for one in issues:
        together.setdefault((str(one.cause), one.remedy), []).append(one.sentence)
    for (cause, remedy), sentences in together.items():
        table.add_row(Text("✗", "bold red"), Text(cause, "bold red"))
        for sentence in sentences:
            table.add_row("", Text(sentence))
        table.add_row("", Text(f"→ {remedy}", "dim"))
        table.add_row()
    return table


def _lacking_table(lacking: Sequence[CheckResult]) -> Table:
    """Checks that lacked the same thing share a row."""
    by_reason: dict[str, list[str]] = {}
    for one in lacking:
        by_reason.setdefault(one.sentence, []).append(one.name.replace("-", " "))
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_row(Text("·", "dim"), Text(f"{len(lacking)} not applicable", "dim"))
    for reason, names in by_reason.items():
        table.add_row("", Text(f"{', '.join(names)}: {reason}", "dim"))
    return table
