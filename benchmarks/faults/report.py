"""Results of the fault benchmark as text: rates with exact intervals, and every error by name.

Comes in: the lines of results. Goes out: text. Nothing is left out: runs that crashed, and runs
that were neither sound nor broken, are listed.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from scipy.stats import binomtest

Row = dict[str, Any]


def print_report(rows: Sequence[Row]) -> None:
    """Print everything that the results say."""
    watched = [row for row in rows if row["watched"]]
    print_truth(rows)
    if watched:
        print_rates(watched)
        print_by_cause(watched)
        print_errors(watched)
        print_accusations(watched)


def print_truth(rows: Sequence[Row]) -> None:
    """What the scripts came to, by what they were meant to be."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        meant = "healthy" if row["cause"] == "healthy" else "faulty"
        table[meant][row["truth"]["outcome"]] += 1
    scripts = {row["script"] for row in rows}
    print(f"\n{len(rows)} runs of {len(scripts)} scripts; what they came to by their own figures:")
    for meant, counts in sorted(table.items()):
        print(f"  meant to be {meant:8s} " + ", ".join(f"{n} {o}" for o, n in counts.items()))
    for row in rows:
        truth = row["truth"]
        expected = "sound" if row["cause"] == "healthy" else "broken"
        if truth["outcome"] != expected:
            print(f"  {truth['outcome']:8s} {row['key']}: {truth['reason']}{_scores(truth)}")
            if row.get("error"):
                print("           " + row["error"].strip().split("\n")[-1][:160])


def print_rates(rows: Sequence[Row]) -> None:
    """Detections and false alarms with Clopper-Pearson intervals, delays, seconds."""
    broken = [row for row in rows if row["truth"]["outcome"] == "broken"]
    sound = [row for row in rows if row["truth"]["outcome"] == "sound"]
    print(f"\n{rate('detected', broken)}\n{rate('false alarms', sound)}")
    delays = sorted(row["alarm_step"] - row["begins"] for row in broken if _alarm(row))
    if delays:
        tenth, half, most = (delays[int(q * (len(delays) - 1))] for q in (0.1, 0.5, 0.9))
        print(
            f"delay of the first alarm, in steps: median {half} (10 %: {tenth}, 90 %: {most}; "
            f"{len(delays)} runs with an alarm, {len(broken)} broken)"
        )
    seconds = [row["seconds"] for row in rows]
    print(f"seconds a run: median {statistics.median(seconds):.1f}, most {max(seconds):.1f}")


def rate(name: str, rows: Sequence[Row]) -> str:
    """A share with its interval, as text."""
    if not rows:
        return f"{name}: no runs"
    k = sum(row["alarmed"] for row in rows)
    interval = binomtest(k, len(rows)).proportion_ci(method="exact")
    return (
        f"{name}: {k} of {len(rows)} = {k / len(rows):.1%} "
        f"(95 % Clopper-Pearson {interval.low:.1%} to {interval.high:.1%})"
    )


def print_by_cause(rows: Sequence[Row]) -> None:
    """A line a cause: broken runs, detected, verdicts, delays."""
    by_cause: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["truth"]["outcome"] == "broken":
            by_cause[row["cause"]].append(row)
    print(f"\n{'cause':28s} {'broken':>6s} {'found':>6s} {'delay':>7s}  last verdicts")
    for cause, found in sorted(by_cause.items()):
        delays = [row["alarm_step"] - row["begins"] for row in found if _alarm(row)]
        verdicts = Counter(str(row["verdict"]) for row in found)
        print(
            f"{cause:28s} {len(found):6d} {sum(row['alarmed'] for row in found):6d} "
            f"{f'{statistics.median(delays):.0f}' if delays else '-':>7s}  "
            + ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common())
        )


def print_errors(rows: Sequence[Row]) -> None:
    """Every miss and every false alarm by name."""
    for title, outcome, alarmed in (
        ("not detected", "broken", False),
        ("false alarms", "sound", True),
        ("alarms on runs that are neither sound nor broken", "between", True),
    ):
        found = [
            row
            for row in rows
            if row["truth"]["outcome"] == outcome and bool(row["alarmed"]) == alarmed
        ]
        print(f"\n{title}: {len(found)}")
        for row in sorted(found, key=lambda row: str(row["key"])):
            truth = row["truth"]
            print(f"  {row['key']}: {truth['reason']}{_scores(truth)}; said {row['verdict']}")
            for finding in row["findings"] if alarmed else ():
                print(f"      step {finding['seen_step']}: {finding['sentence']}")


def print_accusations(rows: Sequence[Row]) -> None:
    """What the exact checks said: the right cause of broken runs, any cause of sound ones."""
    rows = [row for row in rows if "accused" in row]
    broken = [row for row in rows if row["truth"]["outcome"] == "broken"]
    sound = [row for row in rows if row["truth"]["outcome"] == "sound"]
    named = sum(bool(set(row["accepts"]) & set(row["accused"])) for row in broken)
    print(f"\nchecks: the cause, or one as good, accused in {named} of {len(broken)} broken runs")
    wrongly = [row for row in sound if row["accused"]]
    print(f"checks that accuse sound runs: {len(wrongly)} of {len(sound)}")
    by_cause: dict[tuple[str, str], int] = Counter(
        (cause, row["script"]) for row in wrongly for cause in row["accused"]
    )
    for (cause, script), n in sorted(by_cause.items()):
        print(f"  {cause}: {script} ({n} of {sum(row['script'] == script for row in sound)})")


def _alarm(row: Row) -> bool:
    return row["alarm_step"] is not None


def _scores(truth: dict[str, Any]) -> str:
    if truth["val"] is None:
        return ""
    return f" (balanced accuracy: train {truth['train']:.2f}, val {truth['val']:.2f})"
