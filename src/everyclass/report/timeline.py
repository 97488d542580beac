"""The course of a training on the axis of its steps: the opening phase, stretches with one class,
alarms, repairs; a lane for each attempt, since a repair goes back.

Comes in: what the watch saw and what was repaired. Goes out: lanes drawn in percentages, and the
same as sentences. Judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from everyclass.findings import Finding
from everyclass.repairs import Repair
from everyclass.report.contents import Contents
from everyclass.report.drawing import figure, whole_ticks

HEIGHT = 44
MOST_STRETCHES = 6
"""Single-class stretches that are told in words; all are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened: `number` marks it on its lane.

    Attributes:
        kind: alarm, warning, repair or note; a class of the style sheet.
        where: "step 128".
        title, sentence: what.
    """

    number: int
    kind: str
    step: int
    where: str
    title: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One attempt: from its first step to its last."""

    name: str
    chart: Markup
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Lanes above one axis, and what the numbers on them mean."""

    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[str, str], ...]
    moments: tuple[Moment, ...]
    phases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    name: str
    first: int
    last: int
    kept_until: int
    ill_since: int | None
    moments: tuple[Moment, ...]
    is_last: bool


def timeline_of(contents: Contents) -> Timeline | None:
    """None where the folder tells nothing of the steps."""
    attempts = _attempts(contents)
    watch = contents.watch
    end = max((one.last for one in attempts), default=0)
    if not end:
        return None
    ticks = whole_ticks(0, end, most=6)
    return Timeline(
        lanes=tuple(_lane(one, contents, end) for one in attempts),
        ticks=tuple((f"{100 * tick / end:.2f}", figure(tick)) for tick in ticks),
        moments=tuple(moment for one in attempts for moment in one.moments),
        phases=() if watch is None else tuple(_phases(contents)),
    )


def _attempts(contents: Contents) -> list[_Attempt]:
    """One for each repair that went back, and the one that is in force."""
    found: list[_Attempt] = []
    number, first, name = 0, 0, "as it began"
    waiting: list[Moment] = []
    for one in contents.repairs:
        number += 1
        waiting.append(_repair_moment(number, one))
        if one.outcome != "repaired":
            continue
        found.append(
            _Attempt(
                name=name,
                first=first,
                last=one.step,
                kept_until=one.from_step,
                ill_since=one.since_step,
                moments=tuple(waiting),
                is_last=False,
            )
        )
        first, name, waiting = one.from_step, f"after repair {one.number}", []
    answered = {(one.verdict, one.since_step) for one in contents.repairs}
    for finding in _findings(contents):
        if (finding.id, finding.since_step) not in answered:
            number += 1
            waiting.append(_finding_moment(number, finding))
    last = _last_step(contents)
    found.append(
        _Attempt(
            name=name if found else "training",
            first=first,
            last=max([last, first, *(one.step for one in waiting)]),
            kept_until=last,
            ill_since=None,
            moments=tuple(waiting),
            is_last=True,
        )
    )
    return found


def _findings(contents: Contents) -> tuple[Finding, ...]:
    """Of the watch, and facts that a script's report has beside it."""
    own = () if contents.watch is None else contents.watch.findings
    facts = () if contents.script is None else contents.script.findings
    return (*(one for one in facts if one not in own), *own)


def _last_step(contents: Contents) -> int:
    steps = [one.step for one in contents.epochs[-1:]]
    steps += [] if contents.watch is None else [contents.watch.step]
    steps += [] if contents.script is None else [contents.script.step]
    return max(steps, default=0)


def _repair_moment(number: int, one: Repair) -> Moment:
    done = {
        "repaired": f"repaired, and trained on from step {one.from_step:,}"
        if one.checkpoint is not None
        else "repaired, and trained again from the first weights",
        "left": "nothing was changed",
        "stopped": "the training stopped there",
    }[one.outcome]
    return Moment(
        number=number,
        kind="repair" if one.outcome == "repaired" else "alarm",
        step=one.step,
        where=f"step {one.step:,}",
        title=f"{one.verdict}: {done}",
        sentence=one.alarm,
    )


def _finding_moment(number: int, one: Finding) -> Moment:
    since = "" if one.since_step is None else f", since step {one.since_step:,}"
    over = "" if one.ended_step is None else f"; over at step {one.ended_step:,}"
    return Moment(
        number=number,
        kind={"alarm": "alarm", "warning": "warning", "note": "note"}[one.severity],
        step=one.seen_step,
        where=f"step {one.seen_step:,}{since}{over}",
        title=one.id,
        sentence=one.sentence,
    )


def _phases(contents: Contents) -> list[str]:
    watch = contents.watch
    assert watch is not None
    told = []
    if watch.informative_since is not None:
        told.append(
            f"Opening phase up to step {watch.informative_since:,}: from there on the predictions "
            "tell the classes apart."
        )
    elif watch.step:
        told.append(
            f"Opening phase to the end (step {watch.step:,}): the predictions were not shown to "
            "tell the classes apart."
        )
    stretches = watch.single_class
    if stretches:
        longest = sorted(stretches, key=lambda one: one.first_step - one.last_step)[:MOST_STRETCHES]
        listed = ", ".join(
            f"'{one.name}' (steps {one.first_step:,} to {one.last_step:,})"
            for one in sorted(longest, key=lambda one: one.first_step)
        )
        more = len(stretches) - len(longest)
        rest = f", {more} shorter ones" if more else ""
        told.append(f"Stretches in which (almost) every image was given one class: {listed}{rest}.")
    return told


def _lane(one: _Attempt, contents: Contents, end: int) -> Lane:
    def at(step: int) -> float:
        return 100 * step / end

    parts = [_bar(at(one.first), at(one.last), "undone" if not one.is_last else "plain", "")]
    told = [f"{one.name}: steps {one.first:,} to {one.last:,}"]
    watch = contents.watch
    if one.is_last and watch is not None:
        since = watch.informative_since
        parts.append(
            _bar(
                at(one.first), at(one.last if since is None else since), "opening", "opening phase"
            )
        )
        if since is not None:
            words = f"tells the classes apart since step {since:,}"
            parts.append(_bar(at(since), at(one.last), "learned", words))
            told.append(words)
        for stretch in watch.single_class:
            words = f"only '{stretch.name}', steps {stretch.first_step:,} to {stretch.last_step:,}"
            parts.append(_bar(at(stretch.first_step), at(stretch.last_step + 1), "single", words))
        for finding in _findings(contents):
            if finding.since_step is not None:
                until = one.last if finding.ended_step is None else finding.ended_step
                parts.append(_ill(at(finding.since_step), at(until), finding.id))
    elif not one.is_last:
        if one.kept_until > one.first:
            words = f"kept up to step {one.kept_until:,}, where all was well"
            parts.append(_bar(at(one.first), at(one.kept_until), "learned", words))
            told.append(words)
        if one.ill_since is not None:
            parts.append(_ill(at(one.ill_since), at(one.last), "alarm"))
    for moment in one.moments:
        parts.append(_flag(at(moment.step), moment))
        told.append(f"{moment.number}, {moment.where}: {moment.title}")
    chart = Markup('<svg class="lane" width="100%" height="{}" role="img" aria-label="{}">{}</svg>')
    words = "; ".join(told)
    return Lane(
        name=one.name, told=words, chart=chart.format(HEIGHT, words, Markup("").join(parts))
    )


def _bar(low: float, high: float, style: str, told: str) -> Markup:
    title = Markup("<title>{}</title>").format(told) if told else Markup("")
    return Markup('<rect class="{}" x="{}%" width="{}%" y="16" height="16">{}</rect>').format(
        style, f"{low:.2f}", f"{max(high - low, 0.4):.2f}", title
    )


def _ill(low: float, high: float, told: str) -> Markup:
    return Markup(
        '<rect class="ill" x="{}%" width="{}%" y="34" height="5" rx="2"><title>{}</title></rect>'
    ).format(f"{low:.2f}", f"{max(high - low, 0.4):.2f}", told)


def _flag(at: float, moment: Moment) -> Markup:
    # Kept inside: a flag at the last step would be cut in half.
    place = f"{min(max(at, 1.8), 98.2):.2f}"
    return Markup(
        '<g class="flag {}"><title>{}</title><line x1="{}%" x2="{}%" y1="14" y2="40"/>'
        '<circle cx="{}%" cy="9" r="8.5"/><text x="{}%" y="13" text-anchor="middle">{}</text></g>'
    ).format(moment.kind, moment.title, place, place, place, place, moment.number)
