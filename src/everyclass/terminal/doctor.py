"""What `everyclass doctor` found, as a table. Comes in: `Health`. Goes out: a rich renderable."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from everyclass.workflows.doctor_values import Health, State

_MARKS: dict[State, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "note": ("note", "yellow"),
    "problem": ("problem", "bold red"),
}


def doctor_view(health: Health) -> RenderableType:
    """A row an item: state, name, fact, and below what is not well what to do; then the sum."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for one in health.items:
        word, style = _MARKS[one.state]
        table.add_row(Text(word, style), Text(one.name, "bold"), Text(one.fact))
        if one.remedy:
            table.add_row("", "", Text(f"→ {one.remedy}", style))
    return Group(table, Text(), _sum(health))


def _sum(health: Health) -> Text:
    problems = _counted(health.count("problem"), "problem")
    told = f"{problems} and {_counted(health.count('note'), 'note')}"
    told = told[0].upper() + told[1:]
    told += f" among {len(health.items)} items ({health.seconds:.0f} s)."
    return Text(told, "bold red" if health.count("problem") else "bold green")


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"
