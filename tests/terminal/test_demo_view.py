"""The demo's end as seen: three trainings side by side, and what happened in sentences."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from rich.cells import cell_len
from rich.console import Console

from everyclass.stats.evaluation import evaluate_predictions
from everyclass.terminal.demo import demo_view
from everyclass.workflows.demo import DemoResult, ScriptAct

FIX: dict[str, Any] = {
    "copy": "demo/script/train.fixed.py",
    "edits": ["The training loader of line 46 shuffles."],
    "before": {
        "verdict": "collapsed",
        "recalls": {"a": 0.0, "b": 1.0},
        "balanced_accuracy": 0.5,
        "predicted": 1,
        "classes": 2,
    },
    "after": {
        "verdict": "healthy",
        "recalls": {"a": 0.25, "b": None},
        "balanced_accuracy": 0.75,
        "predicted": 2,
        "classes": 2,
    },
}


def shown(fix: dict[str, Any] | None) -> str:
    targets = np.array([0, 0, 1, 1])
    probs = np.eye(2)[targets]
    evaluation = evaluate_predictions(
        targets,
        targets,
        probs=probs,
        probs_before_temperature=probs,
        classes=("a", "b"),
        split="test",
        decision="balanced",
        prior=[0.5, 0.5],
    )
    finding = {"seen_step": 161, "sentence": "Every image is given class 'b'."}
    result = DemoResult(
        data="tissue",
        source=Path("demo/images/train.csv"),
        script=ScriptAct(
            folder=Path("demo/script"),
            diagnosis={"findings": [finding], "sentence": "The cause is stream-sorted."},
            fix=fix,
            seconds=60.0,
        ),
        folder=Path("demo/run"),
        evaluation=evaluation,
        seconds=40.0,
    )
    console = Console(file=io.StringIO(), width=80)
    console.print(demo_view(result))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    return text


def test_recalls_of_three_trainings_stand_side_by_side() -> None:
    text = shown(FIX)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert [rows["a"][i] for i in (4, 6, 8)] == ["0.00", "0.25", "1.00"]
    assert "not known" in " ".join(rows["b"])
    assert rows["verdict"] == ["verdict", "collapsed", "healthy", "healthy"]
    assert "Seen at step 161: Every image is given class 'b'." in text
    assert "Changed in the copy: The training loader of line 46 shuffles." in text


def test_a_demo_without_a_proof_says_so() -> None:
    text = shown(None)
    assert "No cause was proved here that an edit cures" in text
    assert "not known" in text
