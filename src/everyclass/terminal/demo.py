"""The demo's end: a script before and after its cure, and ours, side by side.

Comes in: a `DemoResult`. Goes out: renderables. Computes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from everyclass.terminal.bars import recall_bar
from everyclass.workflows.demo import DemoResult


def demo_view(result: DemoResult) -> RenderableType:
    """Recall of each class, the headline figures, and where the files are."""
    ours = result.evaluation
    before, after = _sides(result.script.fix)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("recall of", no_wrap=True)
    table.add_column("trained", justify="right", no_wrap=True)
    table.add_column("tested", justify="right", no_wrap=True)
    for title in ("script", "fixed copy", "everyclass"):
        table.add_column(title, no_wrap=True)
    for one in ours.classes:
        table.add_row(
            one.name,
            str(one.train_n),
            str(one.n),
            _bar(before["recalls"].get(one.name)),
            _bar(after["recalls"].get(one.name)),
            recall_bar(one.recall, cells=8),
        )
    table.add_row()
    table.add_row(
        "balanced accuracy",
        "",
        "",
        *(_number(side["balanced_accuracy"]) for side in (before, after)),
        f"{ours.balanced_accuracy:.3f}",
    )
    table.add_row(
        "classes predicted",
        "",
        "",
        *(_predicted(side) for side in (before, after)),
        f"{ours.predicted_classes} of {len(ours.classes)}",
    )
    table.add_row(
        "verdict", "", "", *(side["verdict"] or "" for side in (before, after)), ours.collapse
    )
    return Group(
        Text(f"The same {ours.n} test images after three trainings", style="bold"),
        Text(""),
        table,
        Text(""),
        *_story(result),
        Text(""),
        Text(f"Images:     {result.source}"),
        Text(f"Script:     {result.script.folder} ({result.script.seconds:.0f} s with its trials)"),
        Text(f"everyclass: {result.folder} ({result.seconds:.0f} s)"),
        Text(f"Why each choice was made: {result.folder / 'recipe.yaml'}"),
        Text(f"Next: everyclass predict {result.folder} IMAGES... --out predictions.csv"),
    )


def _story(result: DemoResult) -> Iterator[Text]:
    """What was seen, what was proved, what was changed."""
    diagnosis, fix = result.script.diagnosis, result.script.fix
    for finding in diagnosis.get("findings", ())[:1]:
        yield Text(f"Seen at step {finding['seen_step']}: {finding['sentence']}")
    if diagnosis:
        yield Text(diagnosis["sentence"])
    for sentence in () if fix is None else fix["edits"]:
        yield Text(f"Changed in the copy: {sentence}")
    if fix is None or not fix["copy"]:
        yield Text("No cause was proved here that an edit cures: there is no fixed copy.")
    yield Text(f"everyclass: {result.evaluation.collapse_sentence}")


_UNKNOWN: Mapping[str, Any] = {
    "recalls": {},
    "balanced_accuracy": None,
    "predicted": None,
    "classes": None,
    "verdict": None,
}


def _sides(fix: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if fix is None:
        return _UNKNOWN, _UNKNOWN
    return fix["before"], fix["after"]


def _bar(recall: float | None) -> str | Text:
    return "not known" if recall is None or math.isnan(recall) else recall_bar(recall, cells=8)


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"


def _predicted(side: Mapping[str, Any]) -> str:
    return "not known" if side["predicted"] is None else f"{side['predicted']} of {side['classes']}"
