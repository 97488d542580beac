"""A proposed change, applied to a script as its writer might, so that it can be measured.

Comes in: a `Plan` and the answer of a diagnosis. Goes out: the script with the change, or why
there is none. Two ways, told apart in results:

- **applied**: the change has a file in `remedies/`, a few lines of Python that are written to the
  head of the script and do what the change says to any training. Nothing of the script's fault is
  known to them: a wrong answer is applied as readily as a right one.
- **by hand**: a cause without such a file (labels joined wrongly, a loss over the wrong axis) is
  put right by its writer. Naming the fault's own cause removes the fault; naming another changes
  nothing and counts as not repaired.

Knows no torch, and runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matrix import Plan

REMEDIES = Path(__file__).parent / "remedies"
FACTORS = {
    "rate-tenth": 0.1,
    "rate-hundredth": 0.01,
    "rate-ten-times": 10,
    "rate-hundred-times": 100,
}
TUTORIAL = ("inputs-standardised", "weights-balanced")
"""What tutorials advise, whatever is the matter."""

How = Literal["applied", "by hand", "nothing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedied:
    """A script with what was proposed.

    Attributes:
        how: see the module's docstring; "nothing" when nothing could be changed.
        changes: names of what was applied, or causes put right by hand.
        script: None when nothing was changed.
    """

    how: How
    changes: tuple[str, ...]
    script: str | None


def has_file(change: str) -> bool:
    """Whether a change can be applied to any script."""
    return change in FACTORS or _file(change).exists()


def with_changes(script: str, changes: Sequence[str]) -> str:
    """A script with changes written to its head, behind the docstring."""
    end = script.index('"""', 3) + 3
    pieces = [_piece(change) for change in changes]
    return "\n\n".join([script[:end], *pieces, script[end:].lstrip("\n")])


def remedied(plan: Plan, answer: Sequence[tuple[str, str]]) -> Remedied:
    """The faulty script with an answer's changes.

    Args:
        plan: the training.
        answer: (cause, change) pairs of the proposal: two for a pair of changes; a change is ""
            where the cause comes with none.
    """
    left = list(plan.faults)
    applied, by_hand = [], []
    for cause, change in answer:
        if change and has_file(change):
            applied.append(change)
            continue
        own = [fault for fault in left if fault.cause == cause]
        left = [fault for fault in left if fault.cause != cause]
        by_hand += [cause] if own else []
    if not applied and not by_hand:
        return Remedied(how="nothing", changes=(), script=None)
    script = with_changes(plan.script(left), applied)
    return Remedied(
        how="applied" if applied else "by hand", changes=(*applied, *by_hand), script=script
    )


def _file(change: str) -> Path:
    return REMEDIES / f"{change.replace('-', '_')}.py"


def _piece(change: str) -> str:
    if change not in FACTORS:
        return _file(change).read_text().strip()
    text = _file("rate-times").read_text().strip()
    return text.replace("RATE_FACTOR = 10.0", f"RATE_FACTOR = {FACTORS[change]:g}")
