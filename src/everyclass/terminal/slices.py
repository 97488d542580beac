"""The slices of an evaluation in the terminal. Comes in: `SliceFindings`. Goes out: lines."""

from __future__ import annotations

from rich.text import Text

from everyclass.slices import SliceFindings

MOST_SHOWN = 3


def slice_lines(found: SliceFindings) -> list[Text]:
    """The worst slices, a line each, or one line that says that none is shown."""
    if not found.shown:
        return [Text(found.nothing, style="dim")]
    lines = [Text.assemble(("Worse: ", "yellow"), f"{one.sentence}.") for one in found.shown]
    more = len(lines) - MOST_SHOWN
    if more > 0:
        lines[MOST_SHOWN:] = [Text(f"and {more:,} more slices shown to be worse", style="dim")]
    return lines
