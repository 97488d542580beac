"""A diagnosis in the terminal: the answer first, then what was tried.

Comes in: a `Diagnosis`. Goes out: rich renderables of at most 80 columns. Computes nothing but what
is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from everyclass.diagnoses import Diagnosis, Trial

SHOWN_CAUSES = 3
SHOWN_TRIALS = 6


def diagnosis_view(diagnosis: Diagnosis) -> RenderableType:
    """Causes with their remedies, then the trials as a table."""
    parts: list[RenderableType] = [Text(diagnosis.sentence, style="bold")]
    remedies = {one.cause: one for one in diagnosis.remedies}
    for rank, cause in enumerate(diagnosis.causes[:SHOWN_CAUSES], start=1):
        state, style = cause.state, "yellow" if cause.state == "suspected" else "bold green"
        parts.append(
            Text.assemble("\n", f"{rank}. ", (cause.id, "bold"), " ", (state, style), " ")
            + Text(cause.sentence)
        )
        remedy = remedies.get(cause.id)
        if remedy is not None:
            parts.append(Text.assemble(("   do: ", "bold"), remedy.sentence))
            if remedy.code:
                parts.append(Text(f"   {remedy.code}", style="cyan"))
    more = len(diagnosis.causes) - SHOWN_CAUSES
    if more > 0:
        parts.append(Text(f"\nand {more} more suspicion{'s' if more > 1 else ''}", style="dim"))
    if diagnosis.trials:
        parts += [Text(), _trials(diagnosis.trials)]
    parts += [Text(note, style="dim") for note in diagnosis.notes]
    title = f"diagnosis ({diagnosis.seconds:.0f} s of trials)"
    return Panel(Group(*parts), title=title, title_align="left", expand=False, width=80)


def _trials(trials: tuple[Trial, ...]) -> RenderableType:
    table = Table(box=None, padding=(0, 1))
    table.add_column("tried on a copy", overflow="ellipsis", max_width=30, no_wrap=True)
    table.add_column("balanced accuracy", no_wrap=True)
    table.add_column("gain, 95 %", no_wrap=True)
    table.add_column("")
    for one in trials[:SHOWN_TRIALS]:
        said = ("proved", "green") if one.proved else ("helps", "") if one.ci95[0] > 0 else ("", "")
        table.add_row(
            one.change if one.judged_on == "held-out" else f"{one.change}, by heart",
            f"{one.control:.2f} -> {one.changed:.2f}",
            f"{one.ci95[0]:+.2f} to {one.ci95[1]:+.2f}",
            Text(*said),
        )
    more = len(trials) - SHOWN_TRIALS
    return Group(table, Text(f"and {more} more", style="dim")) if more > 0 else table
