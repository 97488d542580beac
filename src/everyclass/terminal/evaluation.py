"""An evaluation in the terminal. Comes in: an `Evaluation`. Goes out: a rich renderable."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from everyclass.contracts import ClassEvaluation, Evaluation, Interval
from everyclass.terminal.bars import recall_bar

SHOWN_CLASSES = 50

_VERDICT_STYLES = {"healthy": "bold green", "starved": "bold yellow"}


def evaluation_view(evaluation: Evaluation) -> RenderableType:
    """Every class, the headline figures beside the majority baseline, and the verdict.

    With more than 50 classes the ones with the lowest recall are shown, and how many are not.
    """
    parts: list[RenderableType] = [_title(evaluation), Text(""), _classes(evaluation)]
    more = len(evaluation.classes) - SHOWN_CLASSES
    if more > 0:
        parts.append(Text(f"and {more} classes with a higher recall", style="dim"))
    parts += [Text(""), _headline(evaluation), Text(""), _verdict(evaluation)]
    return Group(*parts)


def _title(evaluation: Evaluation) -> Text:
    aside = f", {evaluation.set_aside:,} set aside" if evaluation.set_aside else ""
    return Text.assemble(
        ("Evaluation", "bold"),
        f"  {evaluation.n:,} images of split {evaluation.split}{aside}, {evaluation.decision} "
        "decision; intervals hold with 95 %",
    )


def _classes(evaluation: Evaluation) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("class", overflow="ellipsis", max_width=16, no_wrap=True)
    for name in ("trained", "tested", "predicted"):
        table.add_column(name, justify="right")
    table.add_column("recall", no_wrap=True)
    for name in ("", "precision", "F1"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in _order(evaluation):
        never = one.name in evaluation.never_predicted
        table.add_row(
            Text(one.name, style="red" if never else ""),
            "" if one.train_n is None else f"{one.train_n:,}",
            f"{one.n:,}",
            Text(f"{one.predicted:,}", style="red" if never else ""),
            recall_bar(one.recall, cells=6),
            _interval(one.recall_ci95),
            _figure(one.precision),
            _figure(one.f1),
        )
    return table


def _order(evaluation: Evaluation) -> list[ClassEvaluation]:
    if len(evaluation.classes) <= SHOWN_CLASSES:
        return list(evaluation.classes)
    known = sorted(
        (one for one in evaluation.classes if one.recall is not None),
        key=lambda one: one.recall if one.recall is not None else 1.0,
    )
    return known[:SHOWN_CLASSES]


def _headline(evaluation: Evaluation) -> Table:
    majority = evaluation.majority
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for name in ("figure", "value", "", f"always '{majority.name}'"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    rows: tuple[tuple[str, float, Interval | None, float], ...] = (
        (
            "balanced accuracy",
            evaluation.balanced_accuracy,
            evaluation.balanced_accuracy_ci95,
            majority.balanced_accuracy,
        ),
        ("macro-F1", evaluation.macro_f1, None, majority.macro_f1),
        ("MCC", evaluation.mcc, None, majority.mcc),
        ("accuracy", evaluation.accuracy, evaluation.accuracy_ci95, majority.accuracy),
    )
    for name, value, interval, baseline in rows:
        style = "bold" if name == "balanced accuracy" else ""
        table.add_row(
            Text(name, style=style),
            Text(f"{value:.3f}", style=style),
            _interval(interval),
            f"{baseline:.3f}",
        )
    table.add_row(
        "calibration error",
        f"{evaluation.ece:.3f}",
        f"{evaluation.ece_before_temperature:.3f} before",
        "",
    )
    return table


def _verdict(evaluation: Evaluation) -> Text:
    style = _VERDICT_STYLES.get(evaluation.collapse, "bold red")
    text = Text.assemble("Verdict: ", (evaluation.collapse, style), ". ")
    text.append(evaluation.collapse_sentence)
    if evaluation.never_predicted:
        shown = ", ".join(evaluation.never_predicted[:10])
        more = len(evaluation.never_predicted) - 10
        text.append(
            f"\nNever predicted: {shown}{f' and {more} more' if more > 0 else ''}.", style="red"
        )
    return text


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval[0]:.2f}-{interval[1]:.2f}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
