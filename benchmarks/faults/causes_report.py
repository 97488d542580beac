"""Results of the second question as Markdown: who names the cause, how often, how surely.

Comes in: rows of `measure`. Goes out: text. Nothing is left out: runs whose fault did no harm,
twins that did not learn, scripts that crashed are counted, and listed by name.

Three answers stand beside each other on the same runs: ours, what our checks alone accuse (in
their order), and what tutorials advise whatever is the matter (inputs, then imbalance).
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from everyclass.stats.intervals import wilson_interval

Row = dict[str, Any]
TUTORIAL_CAUSES = ("inputs-not-scaled", "class-imbalance")
ANSWERS: tuple[tuple[str, Callable[[Row], list[str]]], ...] = (
    ("trials and checks", lambda row: [one["id"] for one in row["named"]]),
    ("checks alone", lambda row: list(row["checks"])),
    ("tutorial's advice", lambda row: list(TUTORIAL_CAUSES)),
)


def report(rows: Sequence[Row]) -> str:
    """Everything that the results say."""
    if not rows:
        return "No results."
    broken = [row for row in rows if row.get("broke")]
    ones = [row for row in broken if row["kind"] == "one"]
    twos = [row for row in broken if row["kind"] == "two"]
    sections = [
        _what_was_run(rows),
        _detection(broken, rows),
        _named(ones),
        _both_named(twos),
        _repaired(broken),
        _by_herring(ones),
        _by_cause(ones),
        _confusion(ones),
        _seconds(rows),
        _listed(rows),
    ]
    return "\n\n".join(section for section in sections if section)


def share(k: int, n: int) -> str:
    """A share with its 95 % interval (Wilson)."""
    if not n:
        return "no runs"
    low, high = wilson_interval(k, n)
    return f"{k} of {n} = {k / n:.1%} ({low:.1%} to {high:.1%})"


def table(head: Sequence[str], body: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in body)])


# -- what was run, what was seen -------------------------------------------------------------------


def _what_was_run(rows: Sequence[Row]) -> str:
    body = []
    for kind in ("one", "two", "healthy"):
        found = [row for row in rows if row["kind"] == kind]
        outcomes = Counter(row["truth"]["outcome"] for row in found)
        body.append(
            (
                {"one": "one fault", "two": "two faults", "healthy": "healthy"}[kind],
                len(found),
                sum(row["held_out"] for row in found),
                sum(bool(row.get("broke")) for row in found) if kind != "healthy" else "-",
                ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common()),
            )
        )
    causes = {cause for row in rows if row.get("broke") for cause in row["causes"]}
    text = (
        f"{len(rows)} trainings, {len(causes)} causes in those that count. A fault counts "
        "where its healthy twin is sound and it is broken; of two, where each alone breaks it too."
    )
    head = ("", "trainings", "with held-out guises", "count", "what they came to")
    return f"# Causes\n\n{text}\n\n{table(head, body)}\n\n{_places(rows)}"


def _places(rows: Sequence[Row]) -> str:
    counts = Counter((row["images"], row["network"]) for row in rows if row.get("broke"))
    networks = sorted({network for _, network in counts})
    body = [
        (images, *(counts[images, network] or "" for network in networks))
        for images in sorted({images for images, _ in counts})
    ]
    return "Where those that count stand:\n\n" + table(("", *networks), body)


def _detection(broken: Sequence[Row], rows: Sequence[Row]) -> str:
    twins = {row["twin"]["name"]: row["twin"] for row in rows if "twin" in row}
    sound_twins = [one for one in twins.values() if one["truth"]["outcome"] == "sound"]
    controls = [
        row for row in rows if row["kind"] == "healthy" and row["truth"]["outcome"] == "sound"
    ]
    delays = sorted(
        row["alarm_step"] - row["begins"] for row in broken if row["alarm_step"] is not None
    )
    body = [("detected", share(sum(row["alarmed"] for row in broken), len(broken)))]
    for held, name in ((False, "developed"), (True, "held out")):
        part = [row for row in broken if row["held_out"] == held]
        body.append((f"- {name}", share(sum(row["alarmed"] for row in part), len(part))))
    for name, found in (("healthy controls", controls), ("healthy twins", sound_twins)):
        body.append(
            (f"false alarms: {name}", share(sum(one["alarmed"] for one in found), len(found)))
        )
    if delays:
        tenth, half, most = (delays[int(q * (len(delays) - 1))] for q in (0.1, 0.5, 0.9))
        told = f"median {half}, 10 %: {tenth}, 90 %: {most} ({len(delays)} runs with an alarm)"
        body.append(("delay of the first alarm, steps", told))
    return "## Detection\n\n" + table(("", "95 % Wilson"), body)


# -- who names the cause ---------------------------------------------------------------------------


def _named(ones: Sequence[Row]) -> str:
    body = []
    for name, answer in ANSWERS:
        for part, found in _parts(ones):
            if not found:
                continue
            right = [_rank(answer(row), row["accepts"][0]) for row in found]
            body.append(
                (
                    name,
                    part,
                    share(sum(rank == 1 for rank in right), len(found)),
                    share(sum(0 < rank <= 2 for rank in right), len(found)),
                )
            )
    proved = [row for row in ones if row["named"] and row["named"][0]["proved"]]
    wrong = [row for row in proved if _rank([row["named"][0]["id"]], row["accepts"][0]) != 1]
    note = f"Called proved and not among the accepted: {share(len(wrong), len(proved))}."
    head = ("who", "guises", "first named is right", "right within the first two")
    return f"## The cause, one fault\n\n{table(head, body)}\n\n{note}"


def _both_named(twos: Sequence[Row]) -> str:
    if not twos:
        return ""
    body = []
    for name, answer in ANSWERS:
        for part, found in _parts(twos):
            if not found:
                continue
            both = sum(
                all(0 < _rank(answer(row), accepts) <= 2 for accepts in row["accepts"])
                for row in found
            )
            first = sum(
                any(_rank(answer(row), accepts) == 1 for accepts in row["accepts"]) for row in found
            )
            body.append((name, part, share(first, len(found)), share(both, len(found))))
    head = ("who", "guises", "first named is one of them", "both are the first two")
    return f"## Two faults, both needed\n\n{table(head, body)}"


def _parts(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    return [
        ("all", list(rows)),
        ("developed", [row for row in rows if not row["held_out"]]),
        ("held out", [row for row in rows if row["held_out"]]),
    ]


def _rank(answer: Sequence[str], accepts: Sequence[str]) -> int:
    """Place of the first accepted cause, from 1; 0 when none is named."""
    return next((k for k, cause in enumerate(answer, start=1) if cause in accepts), 0)


def _repaired(broken: Sequence[Row]) -> str:
    body = []
    for kind, name in (("one", "one fault"), ("two", "two faults")):
        for part, found in _parts([row for row in broken if row["kind"] == kind]):
            if not found:
                continue
            ours = [row["repair"] for row in found]
            applied = [one for one in ours if one["how"] == "applied"]
            body.append(
                (
                    name,
                    part,
                    share(sum(one["restored"] for one in ours), len(ours)),
                    f"{sum(one['restored'] for one in applied)} of {len(applied)}",
                    f"{sum(one['how'] == 'by hand' for one in ours)}",
                    share(sum(row["tutorial"]["restored"] for row in found), len(found)),
                )
            )
    text = (
        "The first named cause's change (of two faults those of the first two causes), made to the "
        "faulty script and run again: restored when validation images reach 95 % of the healthy "
        "twin's balanced accuracy. *By hand*: its own cause was named, and no line that fits every "
        "script can put it right."
    )
    head = ("", "guises", "restored", "of those applied", "by hand", "by the tutorial's two fixes")
    return f"## Repair\n\n{text}\n\n{table(head, body)}" if body else ""


# -- where, and what instead -----------------------------------------------------------------------


def _by_herring(ones: Sequence[Row]) -> str:
    body = []
    for herring in sorted({row["herring"] for row in ones}):
        found = [row for row in ones if row["herring"] == herring]
        right = sum(_first_right(row) for row in found)
        body.append((herring or "none", share(right, len(found))))
    return "## Red herrings\n\n" + table(("present", "first named is right"), body) if body else ""


def _by_cause(ones: Sequence[Row]) -> str:
    body = []
    for cause in sorted({row["causes"][0] for row in ones}):
        found = [row for row in ones if row["causes"][0] == cause]
        body.append(
            (
                cause,
                len({row["guises"][0] for row in found}),
                len(found),
                sum(bool(row["alarmed"]) for row in found),
                sum(_first_right(row) for row in found),
                sum(_rank(row["checks"], row["accepts"][0]) == 1 for row in found),
                sum(bool(row["named"]) and row["named"][0]["proved"] for row in found),
                sum(row["repair"]["restored"] for row in found),
            )
        )
    head = ("cause", "guises", "runs", "told", "right", "right by checks", "proved", "restored")
    return "## By cause\n\n" + table(head, body) if body else ""


def _first_right(row: Row) -> bool:
    return _rank([one["id"] for one in row["named"]], row["accepts"][0]) == 1


def _confusion(ones: Sequence[Row]) -> str:
    """Row: the cause that was put in; column entries: what was named instead of it."""
    named: dict[str, Counter[str]] = defaultdict(Counter)
    for row in ones:
        first = row["named"][0]["id"] if row["named"] else "(none)"
        accepted = first in row["accepts"][0] and first != row["causes"][0]
        named[row["causes"][0]][f"{first} (accepted)" if accepted else first] += 1
    body = [
        (
            cause,
            counts[cause],
            ", ".join(f"{n} {other}" for other, n in counts.most_common() if other != cause),
        )
        for cause, counts in sorted(named.items())
    ]
    head = ("put in", "named first", "named first instead")
    return "## Confusion of causes\n\n" + table(head, body) if body else ""


def _seconds(rows: Sequence[Row]) -> str:
    body = []
    for name, values in (
        ("script under the watch, trials included", [row["seconds"] for row in rows]),
        (
            "trials, where there were any",
            [row["trial_seconds"] for row in rows if row["diagnosed"]],
        ),
        ("a training in all: twin, repair and the rest", [row["seconds_in_all"] for row in rows]),
        ("processor seconds of it", [row["cpu_seconds_in_all"] for row in rows]),
    ):
        if values:
            told = (f"{f(values):.1f}" for f in (statistics.median, max, sum))
            body.append((name, len(values), *told))
    return "## Time\n\n" + table(("seconds", "n", "median", "most", "sum"), body)


def _listed(rows: Sequence[Row]) -> str:
    """By name: what does not count and why, misses, false alarms, wrong answers."""
    lines = ["## By name"]
    faulty = [row for row in rows if row["kind"] != "healthy"]
    for title, found in (
        ("Do not count", [row for row in faulty if not row["broke"]]),
        ("Not detected", [row for row in faulty if row["broke"] and not row["alarmed"]]),
        ("Healthy scripts accused", _accused(rows)),
        (
            "First named is not right",
            [row for row in faulty if row["broke"] and not _any_right(row)],
        ),
    ):
        lines.append(f"\n{title}: {len(found)}\n")
        lines += [_line(row) for row in sorted(found, key=lambda row: str(row["key"]))]
    return "\n".join(lines)


def _accused(rows: Sequence[Row]) -> list[Row]:
    controls = [row for row in rows if row["kind"] == "healthy"]
    twins = {row["twin"]["name"]: row for row in rows if "twin" in row}
    of_twins = [{**row["twin"], "key": f"twin of {row['key']}"} for row in twins.values()]
    return [
        one
        for one in (*controls, *of_twins)
        if one["alarmed"] and one["truth"]["outcome"] == "sound"
    ]


def _any_right(row: Row) -> bool:
    named = [one["id"] for one in row["named"]]
    return any(_rank(named, accepts) == 1 for accepts in row["accepts"])


def _line(row: Row) -> str:
    truth, twin = row["truth"], row.get("twin")
    told = f"{truth['outcome']} ({truth['reason']}{_score(truth)})"
    if twin is not None and twin["truth"]["outcome"] != "sound":
        told = f"twin {twin['truth']['outcome']} ({twin['truth']['reason']}{_score(twin['truth'])})"
    elif row.get("alone") and set(row["alone"].values()) != {"broken"}:
        told = ", ".join(f"{name} alone: {outcome}" for name, outcome in row["alone"].items())
    named = [f"{one['id']}{'' if one['proved'] else '?'}" for one in row["named"][:3]]
    return f"- {row['key']}: {told}; said {row['verdict']}; named {', '.join(named) or 'nothing'}"


def _score(truth: Row) -> str:
    return "" if truth["val"] is None else f", {truth['train']:.2f} / {truth['val']:.2f}"
