"""Runs side by side, for a terminal. Comes in: `SideBySide`. Goes out: a rich renderable.

Names of runs and classes are data: they are never read as markup. Computes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from everyclass.contracts import Evaluation
from everyclass.report.runs import ClassFacts, RunFacts
from everyclass.report.side_by_side import LEVEL, Pair, SideBySide
from everyclass.stats.paired import PairedTest
from everyclass.terminal.training_panel import duration

MOST_WITH_ENDS = 3
"""Runs whose intervals fit beside their figures in 80 columns."""

MOST_CLASSES = 30
MOST_TESTS = 12
"""Rows that are shown; all are in the JSON."""


def side_by_side_view(found: SideBySide) -> RenderableType:
    """Which runs, their figures, what differs in their recipes, every class, and the tests."""
    return Group(*_parts(found))


def _parts(found: SideBySide) -> Iterator[RenderableType]:
    for k, run in enumerate(found.runs):
        yield Text.assemble((found.letter(k), "bold"), f"  {run.name}")
    yield ""
    yield _figures(found)
    yield ""
    yield from _settings(found)
    if found.classes:
        yield ""
        yield _recalls(found)
    yield ""
    for pair in found.pairs:
        yield from _pair(found, pair)
    if any(pair.tests for pair in found.pairs):
        yield Text(
            "This tells these models apart, not their recipes: with another seed the same recipe "
            "trains another model.",
            "dim",
        )
    for k, run in enumerate(found.runs):
        for note in run.notes:
            yield Text.assemble((f"{found.letter(k)}: ", "bold"), note)


def _figures(found: SideBySide) -> Table:
    with_ends = len(found.runs) <= MOST_WITH_ENDS
    rows: list[tuple[str, Callable[[RunFacts], str]]] = [
        ("verdict", lambda run: run.verdict or "none"),
        ("judged on", lambda run: run.judged_on or "nothing"),
        ("balanced accuracy", _of(lambda one: _with(
            one.balanced_accuracy, one.balanced_accuracy_ci95 if with_ends else None, 3))),
        ("accuracy", _of(lambda one: _with(
            one.accuracy, one.accuracy_ci95 if with_ends else None, 3))),
        ("macro-F1", _of(lambda one: f"{one.macro_f1:.3f}")),
        ("lowest recall", _lowest),
        ("calibration error", _of(lambda one: f"{one.ece:.3f}")),
        ("epochs", lambda run: "" if run.epochs is None else f"{run.epochs:,}"),
        ("optimizer steps", lambda run: "" if run.steps is None else f"{run.steps:,}"),
        ("training time", lambda run: "" if run.seconds is None else duration(run.seconds)),
        ("repairs", lambda run: f"{run.repairs}" if run.repairs else ""),
    ]  # fmt: skip
    table = _table(found, "")
    for name, figure in rows:
        cells = [figure(run) for run in found.runs]
        if any(cells):
            table.add_row(name, *(Text(one or "–", "" if one else "dim") for one in cells))
    return table


def _of(figure: Callable[[Evaluation], str]) -> Callable[[RunFacts], str]:
    return lambda run: "" if run.evaluation is None else figure(run.evaluation)


def _lowest(run: RunFacts) -> str:
    recalls = [(one.recall, name) for name, one in run.classes.items() if one.recall is not None]
    return f"{min(recalls)[0]:.2f} {min(recalls)[1]}" if recalls else ""


def _settings(found: SideBySide) -> Iterator[RenderableType]:
    trained = [run for run in found.runs if run.kind == "training"]
    if found.differences:
        table = _table(found, "what differs in the recipe")
        for name, values in found.differences:
            table.add_row(name, *(Text("–", "dim") if v is None else Text(v) for v in values))
        yield table
    elif len(trained) > 1 and all(run.settings for run in trained):
        yield Text("The recipes are the same.")
    unread = [found.letter(k) for k, run in enumerate(found.runs) if not run.settings]
    if unread:
        yield Text(f"No recipe is known of {', '.join(unread)}.", "yellow")


def _recalls(found: SideBySide) -> RenderableType:
    with_ends = len(found.runs) <= MOST_WITH_ENDS
    names = sorted(found.classes, key=lambda name: _least(found.runs, name))
    shown = found.classes if len(names) <= MOST_CLASSES else names[:MOST_CLASSES]
    table = _table(found, "recall" if len(shown) == len(names) else "recall, lowest first")
    for name in shown:
        table.add_row(
            Text(name), *(_recall(run.classes.get(name), with_ends) for run in found.runs)
        )
    if len(shown) == len(names):
        return table
    return Group(table, Text(f"and {len(names) - len(shown):,} more classes", "dim"))


def _least(runs: Sequence[RunFacts], name: str) -> float:
    recalls = [run.classes[name].recall for run in runs if name in run.classes]
    return min((one for one in recalls if one is not None), default=2.0)


def _recall(facts: ClassFacts | None, with_ends: bool) -> Text:
    if facts is None:
        return Text("–", "dim")
    if facts.recall is None:
        return Text("no images", "dim")
    style = "red" if facts.recall == 0 else ""
    return Text(_with(facts.recall, facts.ci95 if with_ends else None, 2), style)


def _pair(found: SideBySide, pair: Pair) -> Iterator[RenderableType]:
    first, second = found.letter(0), found.letter(pair.second)
    head = Text(f"{second} against {first}: ", "bold")
    if not pair.tests:
        yield Text.assemble(head, (f"the figures do not compare: {pair.why_not}.", "yellow"))
        return
    if pair.same_images:
        yield head + Text(f"judged on the same {pair.images:,} images.")
    else:
        yield head + Text(_differing(pair, first, second), "yellow")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    for name in ("images", f"only {first} right", f"only {second} right", "gain", "p"):
        table.add_column(name, justify="right")
    table.add_column("p, all looks", justify="right")
    whole, *classes = pair.tests
    if len(classes) > MOST_TESTS:
        classes = sorted(classes, key=lambda one: one.p)[:MOST_TESTS]
    for one in (whole, *classes):
        style = "bold" if one.adjusted_p <= LEVEL else ""
        table.add_row(
            Text("all images" if one.name is None else one.name, style),
            f"{one.n:,}",
            f"{one.first_only:,}",
            f"{one.second_only:,}",
            Text(f"{one.gain:+.3f}", style),
            _p(one.p),
            Text(_p(one.adjusted_p), style),
        )
        if one.name is None and pair.balanced_gain is not None:
            table.add_row("mean of classes", "", "", "", f"{pair.balanced_gain:+.3f}", "", "")
    yield table
    if len(pair.tests) - 1 > len(classes):
        yield Text(f"and {len(pair.tests) - 1 - len(classes):,} more classes of larger p", "dim")
    yield _conclusion(found, pair, second)
    yield ""


def _differing(pair: Pair, first: str, second: str) -> str:
    told = f"{pair.images:,} images were judged by both, {pair.first_alone:,} by {first} alone, "
    told += f"{pair.second_alone:,} by {second} alone"
    if pair.relabelled:
        told += f", {pair.relabelled:,} by both under different labels"
    return f"{told}. The figures above do not compare; those of the common images do:"


def _conclusion(found: SideBySide, pair: Pair, second: str) -> Text:
    looks = sum(len(one.tests) for one in found.pairs)
    shown = [one for one in pair.tests if one.adjusted_p <= LEVEL]
    method = f"exact McNemar tests, corrected by Holm for {looks} looks"
    if any(run.grouped for run in (found.runs[0], found.runs[pair.second])):
        method += "; images of one group count as independent, so p is too small"
    if not shown:
        return Text(f"No difference is shown ({method}).")
    told = f"Shown: {second} {'; '.join(map(_words, shown))} ({method})."
    return Text(told + _caution(pair))


def _words(test: PairedTest) -> str:
    more = "more" if test.gain > 0 else "less"
    if test.name is None:
        return f"is right {more} often over all images ({test.gain:+.3f})"
    return f"recognises '{test.name}' {more} often ({test.gain:+.3f})"


def _caution(pair: Pair) -> str:
    """Where more images are right and fewer classes served, or the other way round."""
    whole, balanced = pair.tests[0].gain, pair.balanced_gain
    if balanced is None or whole * balanced >= 0:
        return ""
    return (
        f" All images together are mostly those of the large classes: the mean recall of the "
        f"classes moves by {balanced:+.3f}."
    )


def _table(found: SideBySide, title: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(title, overflow="fold")
    for k in range(len(found.runs)):
        table.add_column(found.letter(k), overflow="fold")
    return table


def _with(value: float, ends: tuple[float, float] | None, digits: int) -> str:
    if ends is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({ends[0]:.{digits}f}–{ends[1]:.{digits}f})"


def _p(value: float) -> str:
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"
