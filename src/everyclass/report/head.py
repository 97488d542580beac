"""The top of a report and its end: the verdict with its figures, and how to get the same again.

Comes in: contents. Goes out: values for the page. Words are those of the folder.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from everyclass.contracts import Evaluation
from everyclass.recipe import Recipe
from everyclass.report.contents import Contents
from everyclass.report.result_sections import ordered_by_recall
from everyclass.report.section import Absent, Section
from everyclass.report.strips import recall_strip
from everyclass.report.thumbnails import Thumbnails

SHOWN_CLASSES = 12
TOLD_HARMS = ("invalid", "harmful")
MOST_ALERTS = 3

Mood = Literal["good", "warn", "bad", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure: what it is, its value, and what to know beside it."""

    name: str
    value: str
    note: str = ""
    mood: Mood | Literal[""] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is seen first.

    Attributes:
        title: of the page.
        verdict: one word or a few, in the colour of `mood`.
        sentences: what it means.
        tiles: the figures that matter most.
        classes: (name, recall in words, strip), the lowest recall first.
        classes_of: what these recalls are of; "" without.
        more: classes that are not among them.
        alerts: (harm, sentence) of what was found in the data that makes figures worth less.
    """

    title: str
    subject: str
    verdict: str
    mood: Mood
    sentences: tuple[str, ...]
    tiles: tuple[Tile, ...]
    classes: tuple[tuple[str, str, Markup], ...] = ()
    classes_of: str = ""
    more: int = 0
    alerts: tuple[tuple[str, str], ...] = ()


def head_of(contents: Contents) -> Head:
    """The head of a training or of a watched script."""
    if contents.kind == "script":
        return _script_head(contents)
    if contents.evaluation is None:
        return _unfinished_head(contents)
    return _training_head(contents, contents.evaluation)


def _training_head(contents: Contents, evaluation: Evaluation) -> Head:
    ordered = ordered_by_recall(evaluation)
    shown = [one for one in ordered if one.recall is not None][:SHOWN_CLASSES]
    never = len(evaluation.never_predicted)
    low, high = evaluation.balanced_accuracy_ci95
    tiles = [
        Tile(
            name="balanced accuracy",
            value=f"{evaluation.balanced_accuracy:.3f}",
            note=f"{low:.3f} to {high:.3f}; always '{evaluation.majority.name}' gives "
            f"{evaluation.majority.balanced_accuracy:.3f}",
        )
    ]
    if shown:
        worst = shown[0]
        assert worst.recall is not None
        tiles.append(
            Tile(
                name="lowest recall",
                value=f"{worst.recall:.2f}",
                note=f"'{worst.name}', {round(worst.recall * worst.n):,} of {worst.n:,} images",
                mood="bad" if worst.recall == 0 else "",
            )
        )
    tiles += [
        Tile(
            name="classes predicted",
            value=f"{evaluation.predicted_classes} of {len(evaluation.classes)}",
            note=f"as if {evaluation.effective_predicted_classes:.1f} were in equal use",
            mood="bad" if never else "",
        ),
        Tile(
            name="accuracy",
            value=f"{evaluation.accuracy:.3f}",
            note=f"always '{evaluation.majority.name}' gives {evaluation.majority.accuracy:.3f}",
        ),
        Tile(
            name="images judged",
            value=f"{evaluation.n:,}",
            note=f"{evaluation.split} split"
            + (f"; {evaluation.set_aside:,} unreadable" if evaluation.set_aside else ""),
        ),
    ]
    repaired = sum(one.outcome == "repaired" for one in contents.repairs)
    told = [evaluation.collapse_sentence]
    if repaired:
        times = "once" if repaired == 1 else f"{repaired} times"
        told.append(f"The training was repaired {times} on its way (see the time line).")
    return Head(
        title=f"everyclass: {contents.folder.resolve().name}",
        subject=_subject(contents),
        verdict=evaluation.collapse,
        mood="good" if evaluation.collapse == "healthy" else "bad",
        sentences=tuple(told),
        tiles=tuple(tiles),
        classes=tuple(
            (
                one.name,
                f"{one.recall:.2f}",
                recall_strip(one.recall, one.recall_ci95, name=f"recall of {one.name}"),
            )
            for one in shown
        ),
        classes_of=f"Recall of each class on {evaluation.n:,} {evaluation.split} images, with 95 % "
        "intervals",
        more=len(ordered) - len(shown),
        alerts=_alerts(contents),
    )


def _alerts(contents: Contents) -> tuple[tuple[str, str], ...]:
    warnings = () if contents.audit is None else contents.audit.warnings
    return tuple((one.harm, one.sentence) for one in warnings if one.harm in TOLD_HARMS)[
        :MOST_ALERTS
    ]


def _unfinished_head(contents: Contents) -> Head:
    done = contents.epochs[-1] if contents.epochs else None
    recipe = contents.followed or contents.recipe
    planned = "" if recipe is None else f" of {recipe.settings.epochs}"
    stopped = next((one for one in reversed(contents.repairs) if one.outcome == "stopped"), None)
    told = [
        "The training is not finished: there is no evaluation. What the folder holds so far is "
        "below."
    ]
    if stopped is not None:
        told = [f"The training was stopped at step {stopped.step:,}: {stopped.alarm}"]
    watch = contents.watch
    ill = watch is not None and watch.verdict != "healthy"
    if stopped is None and watch is not None and ill:
        told.insert(0, watch.sentence)
    tiles = [
        Tile(name="epochs done", value=f"{0 if done is None else done.number}{planned}"),
    ]
    verdict: str = "not finished"
    if stopped is not None:
        verdict = stopped.verdict
    elif watch is not None and ill:
        verdict = watch.verdict
    if done is not None:
        tiles.append(
            Tile(
                name="balanced accuracy",
                value=f"{done.balanced_accuracy:.3f}",
                note="validation images, last epoch",
            )
        )
    return Head(
        title=f"everyclass: {contents.folder.resolve().name}",
        subject=_subject(contents),
        verdict=verdict,
        mood="warn" if verdict == "not finished" else "bad",
        sentences=tuple(told),
        tiles=tuple(tiles),
    )


def _subject(contents: Contents) -> str:
    model = contents.model.get("model")
    if model is None and contents.recipe is not None:
        model = contents.recipe.settings.model
    told = [f"{model}"] if model else []
    if contents.audit is not None:
        audit = contents.audit
        told.append(f"{audit.n:,} images of {len(audit.classes):,} classes in {audit.source}")
    return ", ".join(told)


def _script_head(contents: Contents) -> Head:
    script, watch = contents.script, contents.watch
    assert script is not None
    learned = script.phase == "learned"
    verdict: str = script.verdict or "not watched"
    mood: Mood = "warn"
    if script.verdict == "healthy":
        verdict, mood = ("healthy", "good") if learned else ("no alarm", "warn")
    elif script.verdict is not None:
        mood = "bad"
    told = [script.sentence]
    diagnosis = contents.diagnoses[0][1] if contents.diagnoses else None
    if diagnosis is not None:
        told.append(diagnosis.sentence)
    tiles = [Tile(name="optimizer steps", value=f"{script.step:,}", note=script.ended)]
    seen = sorted(
        (one for one in (() if watch is None else watch.classes) if one.recall is not None),
        key=lambda one: one.recall or 0.0,
    )
    if watch is not None and seen:
        predicted = sum(bool(one.predicted_share) for one in watch.classes)
        tiles.append(
            Tile(
                name="lowest recall",
                value=f"{seen[0].recall:.2f}",
                note=f"'{seen[0].name}', recent training batches",
                mood="bad" if seen[0].recall == 0 else "",
            )
        )
        tiles.append(
            Tile(
                name="classes predicted",
                value=f"{predicted} of {len(watch.classes)}",
                mood="bad" if predicted < len(watch.classes) else "",
            )
        )
    answer = None if diagnosis is None else diagnosis.answer
    if answer is not None:
        tiles.append(
            Tile(
                name="cause",
                value=answer.id.replace("-", " "),
                note=answer.state,
                mood="good" if answer.proved else "warn",
            )
        )
    if script.overhead_fraction is not None:
        tiles.append(
            Tile(
                name="cost of watching", value=f"{script.overhead_fraction:.1%}", note="of the run"
            )
        )
    return Head(
        title=f"everyclass: {script.command}",
        subject=script.command,
        verdict=verdict,
        mood=mood,
        sentences=tuple(told),
        tiles=tuple(tiles),
        classes=tuple(
            (
                one.name,
                f"{one.recall:.2f}",
                recall_strip(one.recall, None, name=f"recall of {one.name}"),
            )
            for one in seen[:SHOWN_CLASSES]
        ),
        classes_of=""
        if watch is None
        else f"Recall of each class on the last {watch.images:,} training images",
        more=max(len(seen) - SHOWN_CLASSES, 0),
    )


def reproduce_section(contents: Contents, _: Thumbnails) -> Section | Absent:
    """Commands, versions, seed."""
    environment = contents.environment
    packages = environment.get("packages", {})
    return Section(
        id="reproduce",
        title="How to get the same again",
        template="reproduce.html",
        values={
            "commands": _commands(contents),
            "packages": sorted(packages.items()) if isinstance(packages, Mapping) else [],
            "machine": _machine(environment),
            "recipe": contents.followed or contents.recipe,
            "is_script": contents.kind == "script",
            "watched": () if contents.script is None else contents.script.watched,
        },
    )


def _commands(contents: Contents) -> list[tuple[str, str]]:
    """(what for, command) pairs."""
    folder = str(contents.folder)
    if contents.script is not None:
        again = f"everyclass run --out {shlex.quote(folder)} {contents.script.command}"
        return [("Watch it again", again)]
    typed = contents.environment.get("command")
    source = "DATA" if contents.audit is None else contents.audit.source
    recipe = contents.followed or contents.recipe
    commands = []
    if isinstance(typed, Sequence) and not isinstance(typed, str) and typed:
        commands.append(("As it was typed", shlex.join(str(word) for word in typed)))
    if recipe is not None:
        commands.append(
            ("By its recipe, every value the same", _by_recipe(contents, source, recipe))
        )
    if contents.evaluation is not None:
        run, data = shlex.quote(folder), shlex.quote(source)
        commands += [
            ("Judge it again", f"everyclass evaluate {run} {data}"),
            ("Use it", f"everyclass predict {run} IMAGES... --out predictions.csv"),
        ]
    elif recipe is not None:
        again = f"everyclass train {shlex.quote(source)} --out {shlex.quote(folder)} --resume"
        commands.append(("Go on with it", again))
    return commands


def _by_recipe(contents: Contents, source: str, _: Recipe) -> str:
    last = max((one.number for one in contents.repairs if one.outcome == "repaired"), default=0)
    name = f"recipe-{last}.yaml" if last else "recipe.yaml"
    path = shlex.quote(str(contents.folder / name))
    return f"everyclass train {shlex.quote(source)} --recipe {path} --out NEW_RUN"


def _machine(environment: Mapping[str, object]) -> list[tuple[str, str]]:
    names = (
        ("python", "Python"),
        ("system", "system"),
        ("processor", "processor"),
        ("cuda", "GPU"),
    )
    told = [(name, str(environment[key])) for key, name in names if environment.get(key)]
    if environment.get("threads"):
        told.append(("threads", str(environment["threads"])))
    return told
