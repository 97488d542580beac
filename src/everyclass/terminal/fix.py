"""A patched copy in the terminal: what was changed, and before beside after.

Comes in: `Patched` and `Fix`. Goes out: rich renderables of at most 80 columns. Computes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from everyclass.workflows.fix_script import Fix, Patched, Seen

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def patch_view(patched: Patched) -> RenderableType:
    """The edits as sentences; or why there are none."""
    parts: list[RenderableType] = []
    if patched.copy is None:
        parts += [Text("No copy was written.", style="bold")]
    else:
        parts.append(
            Text.assemble(("proved: ", "bold green"), (" and ".join(patched.causes), "bold"))
        )
        parts += [Text(one) for one in patched.sentences]
    parts += [Text(one, style="yellow") for one in patched.refused]
    parts += [Text.assemble(("by hand: ", "bold"), one) for one in patched.remedies]
    title = "fix" if patched.copy is None else f"fix: {patched.copy.name}"
    return Panel(Group(*parts), title=title, title_align="left", expand=False, width=80)


def difference_text(patched: Patched) -> Text:
    """The diff in colours, to be printed without wrapping: it is there to be copied."""
    shown = Text()
    for line in patched.difference.splitlines():
        style = "bold" if line.startswith(("+++", "---")) else _STYLES.get(line[:1], "dim")
        shown.append(f"{line}\n", style=style)
    shown.rstrip()
    return shown


def fix_view(fix: Fix) -> RenderableType:
    """Before beside after, and whether it helped."""
    table = Table(box=None, padding=(0, 2))
    table.add_column("", style="dim")
    table.add_column("as it was", no_wrap=True)
    table.add_column("fixed copy", no_wrap=True)
    sides = (fix.before, fix.after)
    table.add_row("verdict", *(_verdict(one) for one in sides))
    table.add_row("steps", *(f"{one.step:,}" for one in sides))
    if any(one.judged_on for one in sides):
        table.add_row("balanced accuracy", *(_number(one.balanced_accuracy) for one in sides))
        table.add_row("lowest recall", *(_lowest(one) for one in sides))
        table.add_row("classes predicted", *(_predicted(one) for one in sides))
    if any(one.ended != "finished" for one in sides):
        table.add_row("ended", *(Text(one.ended, overflow="ellipsis") for one in sides))
    judged = next((one.judged_on for one in sides if one.judged_on), "")
    parts: list[RenderableType] = [table]
    if judged:
        parts.append(Text(f"Figures of the {judged}.", style="dim"))
    parts.append(Text(_conclusion(fix)))
    return Panel(Group(*parts), title="before and after", title_align="left", width=80)


def _verdict(seen: Seen) -> Text:
    if seen.verdict == "healthy" and seen.phase != "learned":
        return Text("no alarm", style="bold yellow")
    style = {"healthy": "bold green", None: "dim"}.get(seen.verdict, "bold red")
    return Text(seen.verdict or "not watched", style=style)


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f}"


def _lowest(seen: Seen) -> str:
    if seen.lowest_recall is None:
        return "not known"
    return f"{seen.lowest_recall:.2f} ('{seen.lowest_class}')"


def _predicted(seen: Seen) -> str:
    return "not known" if seen.predicted is None else f"{seen.predicted} of {seen.classes}"


def _conclusion(fix: Fix) -> str:
    copy = fix.patched.copy
    name = "The copy" if copy is None else copy.name
    if fix.after.learns:
        return f"{name} trains. Take the change over into your script, which is as it was."
    if fix.after.verdict == "healthy":
        return (
            f"{name} raises no alarm, but it was not seen to learn either: the run may be too "
            "short to tell. The original is as it was."
        )
    if fix.after.verdict is None:
        return f"{name} was written, but nothing of it was watched: {fix.after.ended}."
    return (
        f"{name} is {fix.after.verdict} too: what helped in the trial does not carry this "
        "training to its end. The original is as it was."
    )
