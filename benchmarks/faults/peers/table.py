"""Results of the peers as text: what each found, what it named, whom it accused wrongly.

Comes in: lines of results and of installations. Goes out: text. A run's truth is the control's: the
script with calls that do nothing. Where a peer failed, what it had said until then counts, and the
failure is listed by name.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import binomtest

from peers.causes import Heard, heard
from peers.tools import CONTROL

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One peer on one run, with what the run came to.

    Attributes:
        row: the line of results.
        heard: what it said, in our words.
        outcome: of the control: "sound", "broken", "between", "unknown".
        changed: whether the script printed other figures than the control's.
        ratio: its seconds by the control's.
        failed: the peer's failure, "" where it ran, or where the control failed as well.
    """

    row: Row
    heard: Heard
    outcome: str
    changed: bool
    ratio: float
    failed: str

    @property
    def top(self) -> int | None:
        """Place, from 1, of the first right cause; None where none was named."""
        right = set(self.row["accepts"])
        places = [i for i, cause in enumerate(self.heard.causes, 1) if cause in right]
        return min(places, default=None)


def judged(rows: Sequence[Row]) -> dict[str, list[Judged]]:
    """By peer, every run that has a control."""
    controls = {row["key"]: row for row in rows if row["peer"] == CONTROL}
    found: dict[str, list[Judged]] = defaultdict(list)
    for row in rows:
        control = controls.get(row["key"])
        if row["peer"] == CONTROL or control is None:
            continue
        failed = row["failure"] if not control["failure"] else ""
        found[row["peer"]].append(
            Judged(
                row=row,
                heard=heard(row["peer"], row["said"]),
                outcome=control["truth"]["outcome"],
                changed=bool(row["printed"]) and row["printed"] != control["printed"],
                ratio=row["seconds"] / control["seconds"],
                failed=failed,
            )
        )
    return dict(found)


def print_report(rows: Sequence[Row], installations: Sequence[Row]) -> None:
    """Print everything that the results say."""
    for one in installations:
        state = "installed" if one["ok"] else "not installed"
        note = f": {one['note']}" if one["note"] else ""
        print(f"{one['package']}: {state}{note}")
    by_peer = judged(rows)
    if not by_peer:
        print("no runs")
        return
    print_figures(by_peer)
    for peer, found in sorted(by_peer.items()):
        print_runs(peer, found)


def print_figures(by_peer: dict[str, list[Judged]]) -> None:
    """A line a peer; shares with exact intervals at 95 %."""
    columns: tuple[tuple[str, str, Callable[[Judged], bool]], ...] = (
        ("flagged", "broken", lambda one: one.heard.flagged),
        ("top-1", "broken", lambda one: one.top == 1),
        ("top-2", "broken", lambda one: one.top in (1, 2)),
        ("mentioned", "broken", lambda one: one.top is not None),
        ("healthy accused", "sound", lambda one: one.heard.flagged),
        ("with a cause", "sound", lambda one: bool(one.heard.causes)),
    )
    print(f"\n{'peer':16s}" + "".join(f"{name:>22s}" for name, _, _ in columns) + "  named  other")
    for peer, found in sorted(by_peer.items()):
        cells = [
            share([holds(one) for one in found if one.outcome == outcome])
            for _, outcome, holds in columns
        ]
        named = [len(one.heard.causes) for one in found if one.outcome == "broken"]
        causes = f"{statistics.mean(named):.1f}" if named else "-"
        print(f"{peer:16s}" + "".join(f"{cell:>22s}" for cell in cells) + f"{causes:>7s}", end="")
        ran = [one for one in found if not one.failed]
        slower = f"{statistics.median(one.ratio for one in ran):.2f} x" if ran else "-"
        print(
            f"  {slower} seconds, {sum(one.changed for one in ran)} of {len(ran)} runs printed "
            f"other figures, {len(found) - len(ran)} failed"
        )
    print(
        "flagged to mentioned: of runs that came to be broken; accused: of runs that came to be "
        "sound;\nnamed: causes a broken run, on average; intervals: 95 %, Clopper-Pearson"
    )


def share(holds: Sequence[bool]) -> str:
    """As "k/n low-high %"."""
    if not holds:
        return "-"
    k, n = sum(holds), len(holds)
    interval = binomtest(k, n).proportion_ci(method="exact")
    return f"{k}/{n} ({interval.low:.0%}-{interval.high:.0%})"


def print_runs(peer: str, found: Sequence[Judged]) -> None:
    """What a peer came to on each run."""
    print(f"\n{peer}")
    for one in sorted(found, key=lambda one: (one.outcome, str(one.row["key"]))):
        verdict = "silent"
        if one.heard.flagged:
            named = ", ".join(one.heard.causes) or "no cause"
            verdict = named if one.top is None else f"{named} (right: {one.top})"
        failure = f"; FAILED: {one.failed[:120]}" if one.failed else ""
        print(f"  {one.outcome:8s} {one.row['key']}: {verdict}{failure}")
