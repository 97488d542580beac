"""What a folder holds, as values: of a run that `train` made, or of a script that `run` watched.

Comes in: a folder. Goes out: `Contents`. A file that is absent leaves its field empty; one that
cannot be read is told in `problems`, and the report is made of the others. Draws nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from everyclass.contracts import Evaluation
from everyclass.diagnoses import Diagnosis
from everyclass.errors import InputError
from everyclass.findings import CheckResult
from everyclass.images.audit_values import Audit
from everyclass.json_reader import Reader
from everyclass.recipe import Recipe
from everyclass.repairs import Repair
from everyclass.report.log import Epoch, read_epochs
from everyclass.report.predictions import Predictions, read_predictions
from everyclass.report.watch import Fix, Script, Watch
from everyclass.run_folder import RunFolder

Kind = Literal["training", "script"]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All that a report is made of. None or () for what the folder does not hold.

    Attributes:
        folder: that was read.
        kind: `training` of ours, or a `script` that was watched.
        recipe: as the training began.
        followed: as it went on after the last repair; None without one.
        epochs: that count; `void` were undone by a repair.
        repairs: alarms that were answered.
        diagnoses: (number, diagnosis); the number of a script's is 0.
        problems: files that could not be read, with the reason.
    """

    folder: Path
    kind: Kind
    audit: Audit | None = None
    recipe: Recipe | None = None
    followed: Recipe | None = None
    evaluation: Evaluation | None = None
    predictions: Predictions | None = None
    epochs: tuple[Epoch, ...] = ()
    void: tuple[Epoch, ...] = ()
    repairs: tuple[Repair, ...] = ()
    watch: Watch | None = None
    script: Script | None = None
    fix: Fix | None = None
    diagnoses: tuple[tuple[int, Diagnosis], ...] = ()
    checks: tuple[CheckResult, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_contents(folder: Path) -> Contents:
    """What the folder holds.

    Raises:
        InputError: there is no such folder, or it is neither a run nor what `everyclass run` left.
    """
    if not folder.exists():
        raise InputError(f"There is no folder {folder}.", remedy="Name the folder of a run.")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file.", remedy="Name the folder of a run.")
    if (folder / "recipe.yaml").exists() or (folder / ".publishing").exists():
        return _training(RunFolder.open(folder))
    if (folder / "findings.json").exists():
        return _script(folder)
    raise InputError(
        f"{folder} is not a run: it has neither recipe.yaml nor findings.json.",
        remedy="Name the folder that `everyclass train --out` or `everyclass run --out` wrote.",
    )


def _training(run: RunFolder) -> Contents:
    read = _Files(run.path)
    evaluation = read.json("evaluation.json", Evaluation.from_dict)
    repairs = read.json("repairs.json", _repairs) or ()
    last = max((one.number for one in repairs if one.outcome == "repaired"), default=0)
    findings = read.json("findings.json", _record) or {}
    return Contents(
        folder=run.path,
        kind="training",
        audit=read.json("audit.json", Audit.from_dict),
        recipe=read.text("recipe.yaml", _recipe),
        followed=read.text(f"recipe-{last}.yaml", _recipe) if last else None,
        evaluation=evaluation,
        predictions=read.file("predictions.csv", read_predictions),
        epochs=read_epochs(run.metrics),
        void=_void(run, repairs),
        repairs=repairs,
        watch=read.parsed("findings.json", findings, Watch.from_dict) if findings else None,
        diagnoses=tuple(
            (one.number, found)
            for one in repairs
            if (found := read.json(f"diagnosis-{one.number}.json", Diagnosis.from_dict))
        ),
        checks=read.json("checks.json", _checks) or (),
        environment=read.json("environment.json", _record) or {},
        model=read.json("model.json", _record) or {},
        problems=tuple(read.problems),
    )


def _script(folder: Path) -> Contents:
    read = _Files(folder)
    found = read.json("findings.json", _record) or {}
    script = read.parsed("findings.json", found, Script.from_dict) if found else None
    if script is None:
        told = f" ({read.problems[0]})" if read.problems else ""
        raise InputError(
            f"{folder} has a findings.json that `everyclass run` did not write{told}.",
            remedy="Name the folder that `everyclass run --out` wrote.",
        )
    summary = found.get("summary")
    diagnosis = read.json("diagnosis.json", Diagnosis.from_dict)
    return Contents(
        folder=folder,
        kind="script",
        script=script,
        watch=None if summary is None else read.parsed("findings.json", summary, Watch.from_dict),
        fix=read.json("fix.json", Fix.from_dict),
        diagnoses=() if diagnosis is None else ((0, diagnosis),),
        checks=read.parsed("findings.json", {"results": found.get("checks")}, _checks) or (),
        problems=tuple(read.problems),
    )


def _void(run: RunFolder, repairs: tuple[Repair, ...]) -> tuple[Epoch, ...]:
    """Epochs that a repair undid: in the log kept before it, and later than where it went back."""
    void: list[Epoch] = []
    for one in repairs:
        if one.outcome == "repaired":
            kept = read_epochs(run.path / f"metrics-{one.number}.jsonl")
            void += [epoch for epoch in kept if epoch.step > one.from_step]
    return tuple(void)


class _Files:
    """Reads files of a folder; remembers which could not be read, and why."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.problems: list[str] = []

    def file(self, name: str, read: Callable[[Path], Value]) -> Value | None:
        """The value of a file; None without it."""
        path = self._folder / name
        return self._tried(name, lambda: read(path)) if path.exists() else None

    def text(self, name: str, parse: Callable[[str], Value]) -> Value | None:
        """The value of a text file; None without it."""
        return self.file(name, lambda path: parse(path.read_text(encoding="utf-8")))

    def json(self, name: str, parse: Callable[[object], Value]) -> Value | None:
        """The value of a JSON file; None without it."""
        return self.text(name, lambda text: parse(json.loads(text)))

    def parsed(self, name: str, value: object, parse: Callable[[object], Value]) -> Value | None:
        """The value of a part of a file."""
        return self._tried(name, lambda: parse(value))

    def _tried(self, name: str, act: Callable[[], Value]) -> Value | None:
        try:
            return act()
        except (InputError, OSError, ValueError, KeyError, TypeError) as error:
            # A report is made of what can be read: a damaged file costs its section alone.
            self.problems.append(f"{name} could not be read: {error}")
            return None


def _recipe(text: str) -> Recipe:
    return Recipe.from_yaml(text, where="recipe.yaml")


def _record(value: object) -> dict[str, Any]:
    return Reader({"value": value}, "file").record("value")


def _checks(value: object) -> tuple[CheckResult, ...]:
    results = Reader(value, "checks").items("results")
    return tuple(CheckResult.from_dict(one) for one in results)


def _repairs(value: object) -> tuple[Repair, ...]:
    lines = Reader(value, "repairs.json").items("repairs")
    return tuple(Repair.from_dict(_record(one)) for one in lines)
