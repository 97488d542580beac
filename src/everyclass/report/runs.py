"""Folders of finished work as values that can be put side by side.

Comes in: folders that `train --out` or `run --out` wrote. Goes out: `RunFacts`. A file that cannot
be read costs what stands in it, and is told. Compares nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from everyclass.contracts import Evaluation
from everyclass.recipe import show_value
from everyclass.report.contents import Contents, Kind, read_contents
from everyclass.report.predictions import Predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFacts:
    """One class of a run: images it was judged on, recall in [0, 1], and its 95 % interval."""

    n: int
    recall: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a folder tells of one run. None or empty where it does not tell.

    Attributes:
        name: the folder, as it was given.
        verdict, sentence: of the evaluation; of a script, of the watch.
        judged_on: what the figures rest on, in words; "" without figures.
        evaluation: on images that it was not selected on.
        classes: by name, in the order of the model.
        settings: of the recipe that the training ended with; of a script what was seen of it.
        seconds: of training, without audit and trials.
        predictions: answers, image by image.
        images: what names each image of `predictions` wherever it lies: its content, or its path.
        by_content: whether it is the content.
        grouped: whether images belong to patients, slides or the like.
        notes: what a reader has to know.
    """

    name: str
    kind: Kind
    verdict: str | None
    sentence: str
    judged_on: str = ""
    evaluation: Evaluation | None = None
    classes: Mapping[str, ClassFacts]
    settings: Mapping[str, str]
    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None
    repairs: int = 0
    predictions: Predictions | None = None
    images: tuple[str, ...] = ()
    by_content: bool = False
    grouped: bool = False
    notes: tuple[str, ...] = ()


def is_run(path: Path) -> bool:
    """Whether the folder holds a training of ours, or what `everyclass run --out` left."""
    marks = ("recipe.yaml", ".publishing", "findings.json")
    return path.is_dir() and any((path / mark).exists() for mark in marks)


def read_run(folder: Path) -> RunFacts:
    """The facts of one folder.

    Raises:
        InputError: it holds no run, or one of which nothing can be read.
    """
    contents = read_contents(folder)
    return _of_script(contents) if contents.kind == "script" else _of_training(contents)


def _of_training(contents: Contents) -> RunFacts:
    folder, evaluation, predictions = contents.folder, contents.evaluation, contents.predictions
    recipe = contents.followed or contents.recipe
    notes = list(contents.problems)
    if evaluation is None:
        notes.append("It has no evaluation: it is not finished, or the file is damaged.")
    digests, grouped = _manifest(folder / "manifest.parquet", predictions)
    told = f"{evaluation.n:,} {evaluation.split} images" if evaluation is not None else ""
    return RunFacts(
        name=str(folder),
        kind="training",
        verdict=None if evaluation is None else evaluation.collapse,
        sentence="" if evaluation is None else evaluation.collapse_sentence,
        judged_on=told,
        evaluation=evaluation,
        classes={}
        if evaluation is None
        else {
            one.name: ClassFacts(n=one.n, recall=one.recall, ci95=one.recall_ci95)
            for one in evaluation.classes
        },
        settings={}
        if recipe is None
        else {one.name: show_value(one.value) for one in recipe.decisions},
        epochs=len(contents.epochs) or None,
        steps=contents.epochs[-1].step if contents.epochs else None,
        seconds=_seconds(folder / "metrics.jsonl"),
        repairs=sum(one.outcome == "repaired" for one in contents.repairs),
        predictions=predictions,
        images=digests or (() if predictions is None else predictions.images),
        by_content=bool(digests),
        grouped=grouped,
        notes=tuple(notes),
    )


def _of_script(contents: Contents) -> RunFacts:
    script, watch = contents.script, contents.watch
    assert script is not None
    causes = [one.id for _, found in contents.diagnoses for one in found.causes if one.proved]
    notes = [*contents.problems, f"It ended: {script.ended}."]
    notes += [f"Cause, proved: {causes[0]}."] if causes else []
    seen = () if watch is None else watch.classes
    return RunFacts(
        name=str(contents.folder),
        kind="script",
        verdict=script.verdict,
        sentence=script.sentence,
        judged_on="" if watch is None else f"its last {watch.images:,} training images",
        classes={one.name: ClassFacts(n=one.images, recall=one.recall, ci95=None) for one in seen},
        settings={name: words for name, words in script.watched if name not in ("note", "passes")},
        steps=script.step,
        notes=tuple(notes),
    )


def _seconds(log: Path) -> float | None:
    """Of all sittings: each counts from its own start, so a smaller number begins another."""
    total, before, known = 0.0, 0.0, False
    for value in _logged_seconds(log):
        known = True
        if value < before:
            total += before
        before = value
    return total + before if known else None


def _logged_seconds(log: Path) -> list[float]:
    if not log.exists():
        return []
    found: list[float] = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            value = json.loads(line).get("seconds")
            if isinstance(value, (int, float)) and math.isfinite(value):
                found.append(float(value))
    return found


def _manifest(path: Path, predictions: Predictions | None) -> tuple[tuple[str, ...], bool]:
    """Content digests of the predicted images, () where one of them is not known; and whether
    there are groups. What cannot be read is left out: paths serve then."""
    if predictions is None or not path.exists():
        return (), False
    try:
        table = pq.read_table(path, columns=["image", "group", "content"])
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return (), False
    grouped = table["group"].null_count < len(table)
    contents: dict[str, Any] = dict(zip(table["image"].to_pylist(), table["content"].to_pylist()))
    root = _root(predictions.images, contents)
    digests: list[str] = []
    for image in predictions.images:
        digest = contents.get(image.removeprefix(root), contents.get(image))
        if not isinstance(digest, bytes) or not any(digest):
            return (), grouped
        digests.append(digest.hex())
    return tuple(digests), grouped


def _root(images: tuple[str, ...], contents: Mapping[str, Any]) -> str:
    """What the predictions' paths begin with and the manifest's do not."""
    first = images[0] if images else ""
    starts = range(len(first))
    return next((first[:k] for k in starts if first[k:] in contents), "")
