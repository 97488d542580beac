"""An evaluation as a terminal view. Comes in: an Evaluation. Goes out: a rich renderable.

Made for 80 columns. Class names are data: they are never read as markup.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from everyclass.contracts import ClassEvaluation, Evaluation, Interval, Verdict
from everyclass.terminal.bars import recall_bar
from everyclass.terminal.prediction_sets import coverage_lines
from everyclass.terminal.slices import slice_lines

MOST_ROWS = 50
"""With more classes than this, only the worst are listed."""

WORST_ROWS = 25
MOST_NAMES = 20
BAR_CELLS = 6

_VERDICT_STYLE: dict[Verdict, str] = {
    "healthy": "bold green",
    "collapsed": "bold red",
    "starved": "bold red",
    "not-learning": "bold red",
    "diverged": "bold red",
}


def evaluation_view(evaluation: Evaluation) -> RenderableType:
    """The figures beside the majority baseline, every class, calibration, and the verdict.

    Classes stand in the order of the model. Above 50 classes the 25 of lowest recall are listed,
    worst first, with a line that says how many are not.

    Example:
        >>> from rich.console import Console
        >>> Console().print(evaluation_view(evaluation))  # doctest: +SKIP
    """
    parts: list[RenderableType] = [
        _opening(evaluation),
        "",
        _headline_table(evaluation),
        "",
        class_view(evaluation.classes),
    ]
    parts.append("")
    parts.append(_calibration_line(evaluation))
    if evaluation.prediction_sets is not None:
        parts.append(coverage_lines(evaluation.prediction_sets))
    if evaluation.never_predicted:
        parts.append(_never_predicted_line(evaluation))
    if evaluation.slices is not None:
        parts.extend(slice_lines(evaluation.slices))
    parts.append(_verdict_line(evaluation))
    return Group(*parts)


def class_view(classes: tuple[ClassEvaluation, ...]) -> RenderableType:
    """A row a class, or the worst of many and a line on the rest."""
    shown, rest = _shown_classes(classes)
    table = _class_table(shown, title="Worst classes" if rest else "Classes")
    return Group(table, _rest_line(rest)) if rest else table


def _opening(evaluation: Evaluation) -> Text:
    decision = {
        "balanced": "balanced decision (highest mean recall)",
        "natural": "natural decision (fewest errors at the natural class frequencies)",
    }[evaluation.decision]
    line = Text.assemble(
        (evaluation.split, "bold"), f": {_counted(evaluation.n, 'image')}, {decision}"
    )
    if evaluation.set_aside:
        unread = f"; {_counted(evaluation.set_aside, 'unreadable image')} set aside"
        line.append(unread, style="yellow")
    return line


def _headline_table(evaluation: Evaluation) -> Table:
    table = _table()
    table.add_column("")
    table.add_column("model", justify="right", style="bold")
    table.add_column("95 % interval", justify="right")
    table.add_column(
        Text(f"always '{_short(evaluation.majority.name, 24)}'"), justify="right", style="dim"
    )
    base = evaluation.majority
    rows: tuple[tuple[str, float, Interval | None, float], ...] = (
        (
            "balanced accuracy",
            evaluation.balanced_accuracy,
            evaluation.balanced_accuracy_ci95,
            base.balanced_accuracy,
        ),
        ("accuracy", evaluation.accuracy, evaluation.accuracy_ci95, base.accuracy),
        ("macro-F1", evaluation.macro_f1, None, base.macro_f1),
        ("MCC", evaluation.mcc, None, base.mcc),
    )
    for name, value, interval, baseline in rows:
        table.add_row(name, f"{value:.3f}", _interval(interval, digits=3), f"{baseline:.3f}")
    return table


def _class_table(classes: Sequence[ClassEvaluation], *, title: str) -> Table:
    # 14 + 7 + 7 + 11 + 9 + 5 + 4 + 9 characters and seven gaps of two: 80.
    trained = any(one.train_n is not None for one in classes)
    table = _table()
    table.add_column(title, no_wrap=True, max_width=14 if trained else 22, overflow="ellipsis")
    if trained:
        table.add_column("trained", justify="right", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    table.add_column("recall", no_wrap=True)
    table.add_column("95 %", no_wrap=True)
    table.add_column("prec.", justify="right", no_wrap=True)
    table.add_column("F1", justify="right", no_wrap=True)
    table.add_column("predicted", justify="right", no_wrap=True)
    for one in classes:
        known = [] if not trained else ["" if one.train_n is None else f"{one.train_n:,}"]
        table.add_row(
            Text(one.name, style="red" if one.recall == 0 else ""),
            *known,
            f"{one.n:,}",
            recall_bar(one.recall, cells=BAR_CELLS),
            _interval(one.recall_ci95, digits=2),
            _figure(one.precision),
            _figure(one.f1),
            Text(f"{one.predicted:,}", style="red" if one.predicted == 0 and one.n else ""),
        )
    return table


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))


def _shown_classes(
    classes: tuple[ClassEvaluation, ...],
) -> tuple[tuple[ClassEvaluation, ...], tuple[ClassEvaluation, ...]]:
    """The classes to list and those left out."""
    if len(classes) <= MOST_ROWS:
        return classes, ()
    # Classes without images have no recall to be bad; they go last. Of equal recalls, the one
    # with more images is the surer finding.
    ordered = sorted(
        classes,
        key=lambda one: (one.recall is None, 0.0 if one.recall is None else one.recall, -one.n),
    )
    return tuple(ordered[:WORST_ROWS]), tuple(ordered[WORST_ROWS:])


def _rest_line(rest: Sequence[ClassEvaluation]) -> Text:
    recalls = [one.recall for one in rest if one.recall is not None]
    reached = f", each at recall {min(recalls):.2f} or above" if recalls else ""
    absent = sum(one.recall is None for one in rest)
    without = f" ({absent:,} of them without images here)" if absent else ""
    return Text(f"and {len(rest):,} more classes{reached}{without}", style="dim")


def _calibration_line(evaluation: Evaluation) -> Text:
    line = Text(f"Calibration error {evaluation.ece:.3f}")
    if evaluation.temperature == 1:
        line.append(" (temperature 1)")
    else:
        line.append(
            f" at temperature {evaluation.temperature:.2f}, "
            f"{evaluation.ece_before_temperature:.3f} before"
        )
    line.append(
        f"; {evaluation.predicted_classes} of {len(evaluation.classes)} classes predicted, "
        f"as if {evaluation.effective_predicted_classes:.1f} were in equal use"
    )
    return line


def _never_predicted_line(evaluation: Evaluation) -> Text:
    names = evaluation.never_predicted
    listed = ", ".join(f"'{name}'" for name in names[:MOST_NAMES])
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return Text.assemble("Never predicted: ", (f"{listed}{more}", "bold red"))


def _verdict_line(evaluation: Evaluation) -> Text:
    return Text.assemble(
        "Verdict: ",
        (evaluation.collapse, _VERDICT_STYLE[evaluation.collapse]),
        f". {evaluation.collapse_sentence}",
    )


def _figure(value: float | None) -> Text:
    return Text("n/a", style="dim") if value is None else Text(f"{value:.2f}")


def _interval(interval: Interval | None, *, digits: int) -> str:
    return "" if interval is None else f"{interval[0]:.{digits}f}–{interval[1]:.{digits}f}"


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
