"""Scripts as people write them, for the tests of edits: the places of their parts are marked.

A line ending in `#M`, `#O` or `#L` is where the network was built, the optimizer was built, and the
loss was called, as a watched run would have told.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import replace

from everyclass.fixing.facts import Facts, InputFigures, Part
from everyclass.fixing.patch import patched

MARKS: dict[str, Part] = {"M": "model", "O": "optimizer", "L": "loss"}

GREY = InputFigures(mean=(118.24,), sd=(63.871,))
COLOUR = InputFigures(mean=(123.68, 116.28, 103.53), sd=(58.395, 57.12, 57.375))

KNOWN = Facts(
    model_class="Net",
    optimizer_class="SGD",
    loss="cross_entropy",
    head="fc",
    inputs=GREY,
    log_prior=(-0.1054, -2.3026),
    first_rate=0.1,
    peak_rate=0.1,
)


def facts_for(text: str, facts: Facts = KNOWN) -> Facts:
    """The facts, with the lines that are marked in the script."""
    lines: dict[Part, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        found = re.search(r"#([MOL])$", line)
        if found:
            lines[MARKS[found[1]]] = number
    return replace(facts, lines=lines)


def edited(text: str, *changes: str, facts: Facts = KNOWN) -> list[str]:
    """What the edit takes and puts, a line each with - or + before it; marks left out."""
    after = patched(text, changes, facts_for(text, facts)).text
    lines = difflib.unified_diff(text.splitlines(), after.splitlines(), lineterm="", n=0)
    kept = [one for one in list(lines)[2:] if not one.startswith("@@")]
    return [re.sub(r" *#[MOL]$", "", one) for one in kept]
