"""The two trainings of the demo, side by side. Comes in: a `DemoResult`. Goes out: renderables."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from everyclass.contracts import Evaluation
from everyclass.terminal.bars import recall_bar
from everyclass.workflows.demo import DemoResult


def demo_view(result: DemoResult) -> RenderableType:
    """Recall of each class under both trainings, the headline figures, and where the files are."""
    failing, ours = result.failing.evaluation, result.ours.evaluation
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("recall of", no_wrap=True)
    table.add_column("trained", justify="right")
    table.add_column("tested", justify="right")
    for run in (result.failing, result.ours):
        table.add_column(run.title, no_wrap=True)
    for before, after in zip(failing.classes, ours.classes):
        table.add_row(
            before.name,
            str(before.train_n),
            str(before.n),
            recall_bar(before.recall, cells=12),
            recall_bar(after.recall, cells=12),
        )
    table.add_row()
    for name, key in (
        ("accuracy", "accuracy"),
        ("balanced accuracy", "balanced_accuracy"),
        ("macro-F1", "macro_f1"),
    ):
        values = (f"{getattr(evaluation, key):.3f}" for evaluation in (failing, ours))
        table.add_row(name, "", "", *values)
    table.add_row("classes predicted", "", "", _predicted(failing), _predicted(ours))
    table.add_row("verdict", "", "", failing.collapse, ours.collapse)
    return Group(
        Text(f"The same {failing.n} test images under both trainings", style="bold"),
        Text(""),
        table,
        Text(""),
        Text(f"Tutorial:   {failing.collapse_sentence}"),
        Text(f"everyclass: {ours.collapse_sentence}"),
        Text(""),
        Text(f"Images: {result.source}"),
        Text(f"Runs:   {result.failing.folder} ({result.failing.seconds:.0f} s)"),
        Text(f"        {result.ours.folder} ({result.ours.seconds:.0f} s)"),
        Text(f"Why each choice was made: {result.ours.folder / 'recipe.yaml'}"),
        Text(f"Next: everyclass predict {result.ours.folder} IMAGES... --out predictions.csv"),
    )


def _predicted(evaluation: Evaluation) -> str:
    return f"{evaluation.predicted_classes} of {len(evaluation.classes)}"
