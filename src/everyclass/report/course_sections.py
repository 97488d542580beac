"""How the training went: curves, the time line, diagnoses with their trials, checks, a fix.

Comes in: contents. Goes out: sections, or why there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from everyclass.diagnoses import Cause, Diagnosis, Remedy, Trial
from everyclass.findings import CheckResult
from everyclass.recipe import show_value
from everyclass.repairs import Repair
from everyclass.report.contents import Contents
from everyclass.report.curves import accuracy_chart, class_panels, loss_chart
from everyclass.report.section import Absent, Section
from everyclass.report.strips import change_strip, recall_strip, trial_strip
from everyclass.report.thumbnails import Thumbnails
from everyclass.report.timeline import timeline_of

SHOWN_CAUSES = 5
SHOWN_CLASSES = 40


def curves_section(contents: Contents, _: Thumbnails) -> Section | Absent:
    """Loss, balanced accuracy and the recall of each class over the epochs."""
    title = "Learning curves"
    epochs = contents.epochs
    if not epochs:
        why = "no epoch was finished, or metrics.jsonl is gone"
        if contents.kind == "script":
            why = "a watched script writes no metrics of ours"
        return Absent(title=title, reason=why)
    classes = _classes(contents)
    panels = class_panels(epochs, classes)
    return Section(
        id="curves",
        title=title,
        template="curves.html",
        values={
            "loss": loss_chart(epochs, contents.void),
            "accuracy": accuracy_chart(epochs, contents.void, chance=1 / max(len(classes), 1)),
            "panels": panels,
            "of": len(classes),
            "epochs": epochs,
            "void": contents.void,
        },
    )


def _classes(contents: Contents) -> list[str]:
    if contents.evaluation is not None:
        return [one.name for one in contents.evaluation.classes]
    if contents.audit is not None:
        return list(contents.audit.classes)
    return list(contents.epochs[-1].recalls)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairRow:
    """A repair and its settings, in words."""

    repair: Repair
    changes: tuple[tuple[str, str, str], ...]


def timeline_section(contents: Contents, _: Thumbnails) -> Section | Absent:
    """Opening phase, alarms and repairs on the axis of the steps; classes as the watch saw them."""
    found = timeline_of(contents)
    if found is None:
        return Absent(title="Time line", reason="nothing was watched: no optimizer step is known")
    watch = contents.watch
    # A training of ours shows its classes by validation and test images, which tell more.
    seen = watch.classes if watch is not None and contents.kind == "script" else ()
    seen = tuple(sorted(seen, key=lambda one: (one.recall is None, one.recall or 0.0)))
    return Section(
        id="timeline",
        title="Time line",
        template="timeline.html",
        count=str(len(found.moments)) if found.moments else "",
        values={
            "timeline": found,
            "watch": watch,
            "repairs": [
                RepairRow(
                    repair=one,
                    changes=tuple(
                        (change.name, show_value(change.old), show_value(change.new))
                        for change in one.changes
                    ),
                )
                for one in contents.repairs
            ],
            "seen": [
                (one, recall_strip(one.recall, None, name=f"recall of {one.name}"))
                for one in seen[:SHOWN_CLASSES]
            ],
            "more_seen": max(len(seen) - SHOWN_CLASSES, 0),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseRow:
    """A cause with its remedy."""

    cause: Cause
    remedy: Remedy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisView:
    """One diagnosis: causes, and its trials drawn."""

    number: int
    diagnosis: Diagnosis
    causes: tuple[CauseRow, ...]
    more: tuple[CauseRow, ...]
    trials: tuple[tuple[Trial, Markup], ...]


def diagnosis_section(contents: Contents, _: Thumbnails) -> Section | Absent:
    """Why, with the trials drawn."""
    title = "Diagnosis"
    if not contents.diagnoses:
        why = "no alarm had to be explained"
        verdict = None if contents.watch is None else contents.watch.verdict
        if verdict not in (None, "healthy"):
            why = "no trials were made (they can be left out, or the run was interrupted)"
        return Absent(title=title, reason=why)
    views = [_diagnosis_view(number, found) for number, found in contents.diagnoses]
    return Section(
        id="diagnosis",
        title=title,
        template="diagnosis.html",
        values={"views": views, "several": len(views) > 1, "classes": _names(contents)},
    )


def _names(contents: Contents) -> list[str]:
    return [] if contents.watch is None else [one.name for one in contents.watch.classes]


def _diagnosis_view(number: int, found: Diagnosis) -> DiagnosisView:
    remedies = {one.cause: one for one in found.remedies}
    rows = [CauseRow(cause=one, remedy=remedies.get(one.id)) for one in found.causes]
    return DiagnosisView(
        number=number,
        diagnosis=found,
        causes=tuple(rows[:SHOWN_CAUSES]),
        more=tuple(rows[SHOWN_CAUSES:]),
        trials=tuple((one, trial_strip(one)) for one in found.trials),
    )


def fix_section(contents: Contents, _: Thumbnails) -> Section | Absent:
    """The patched copy, and both runs beside each other."""
    fix = contents.fix
    if fix is None:
        return Absent(
            title="Fixed copy",
            reason="no cause was proved that an edit answers, or --fix was not asked for",
        )
    names = [
        *fix.before.recalls,
        *(one for one in fix.after.recalls if one not in fix.before.recalls),
    ]
    return Section(
        id="fix",
        title="The fixed copy, before and after",
        template="fix.html",
        values={
            "fix": fix,
            "diff": _diff_lines(fix.diff),
            "classes": [
                (
                    name,
                    fix.before.recalls.get(name),
                    fix.after.recalls.get(name),
                    change_strip(
                        fix.before.recalls.get(name), fix.after.recalls.get(name), name=name
                    ),
                )
                for name in names[:SHOWN_CLASSES]
            ],
        },
    )


def _diff_lines(diff: str) -> list[tuple[str, str]]:
    """(style, line) pairs."""
    styles = {"+": "added", "-": "removed", "@": "place"}
    return [
        ("head" if one.startswith(("+++", "---")) else styles.get(one[:1], "same"), one)
        for one in diff.splitlines()
    ]


def checks_section(contents: Contents, _: Thumbnails) -> Section | Absent:
    """Exact checks: what they accuse, what passed, what did not apply."""
    checks = contents.checks
    if not checks:
        return Absent(title="Checks", reason="no checks were made, or their results are gone")
    issues = [one for one in checks if one.outcome == "issue"]
    return Section(
        id="checks",
        title="Exact checks",
        template="checks.html",
        count=str(len(issues)) if issues else "",
        values={
            "issues": issues,
            "passed": [one for one in checks if one.outcome == "passed"],
            "lacking": _by_reason([one for one in checks if one.outcome == "not-applicable"]),
            "when": "Before the first step" if contents.kind == "training" else "After the run",
        },
    )


def _by_reason(checks: Sequence[CheckResult]) -> list[tuple[str, str]]:
    """(reason, names): checks that lacked the same thing share a row."""
    by_reason: dict[str, list[str]] = {}
    for one in checks:
        by_reason.setdefault(one.sentence, []).append(one.name.replace("-", " "))
    return [(reason, ", ".join(names)) for reason, names in by_reason.items()]
