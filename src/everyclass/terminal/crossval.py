"""A cross-validation as a terminal view. Comes in: a CrossValidation. Goes out: a rich renderable.

Made for 80 columns. Class and file names are data: they are never read as markup.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from everyclass.images.readers_rules import plural
from everyclass.stats.confident import MOST_SHARE
from everyclass.stats.intervals import widest_interval
from everyclass.terminal.evaluation import class_view
from everyclass.workflows.crossval_result import CrossValidation, Suspect
from everyclass.workflows.data_source import DEFAULT_FRACTION
from everyclass.workflows.few_images import LEAST_IMAGES

SURE_FROM = 0.8
"""Share of labels that the models agree with, below which half or more of those they suspected
were right in every measurement (benchmarks/RESULTS.md)."""

MOST_PAIRS = 10
FIRST_FILES = 3
MOST_NAMES = 10


def crossval_view(result: CrossValidation) -> RenderableType:
    """The figures, every class, which of them one split could not have judged, and the labels to
    look at."""
    parts: list[RenderableType] = [
        Text.assemble(
            (plural(result.n_folds, "fold"), "bold"),
            f": {plural(result.n, 'image')}, each judged by the model that was not trained on it "
            "(balanced decision)",
        ),
        "",
        _headline_table(result),
        "",
        class_view(result.classes),
        "",
    ]
    parts += [Text(sentence) for sentence in result.sentences]
    parts += [*_few_lines(result), "", *_suspect_parts(result)]
    return Group(*parts)


def _headline_table(result: CrossValidation) -> Table:
    table = _table()
    table.add_column("")
    table.add_column("all images", justify="right", style="bold")
    table.add_column("95 % interval", justify="right")
    table.add_column("lowest to highest fold", justify="right")
    folds = result.fold_balanced_accuracy
    low, high = result.balanced_accuracy_ci95
    table.add_row(
        "balanced accuracy",
        f"{result.balanced_accuracy:.3f}",
        f"{low:.3f}–{high:.3f}",
        f"{min(folds):.3f}–{max(folds):.3f}",
    )
    low, high = result.accuracy_ci95
    table.add_row("accuracy", f"{result.accuracy:.3f}", f"{low:.3f}–{high:.3f}", "")
    table.add_row("macro-F1", f"{result.macro_f1:.3f}", "", "")
    return table


def _few_lines(result: CrossValidation) -> list[Text]:
    """For which classes folds were needed, and which have too few images even so."""
    if not result.few_in_one_split:
        return [
            Text(
                f"One split of {DEFAULT_FRACTION:.0%} would have judged every class on "
                f"{LEAST_IMAGES} images or more."
            )
        ]
    line = Text(
        f"One split of {DEFAULT_FRACTION:.0%} would have judged on fewer than {LEAST_IMAGES} "
        "images, too few to tell: "
    )
    by_name = {one.name: one for one in result.classes}
    told = []
    for name, held in result.few_in_one_split[:MOST_NAMES]:
        told.append(
            f"'{name}' on about {held} (a 95 % interval up to {widest_interval(held):.2f} wide; "
            f"here {_width(by_name[name].recall_ci95):.2f} on {by_name[name].n:,})"
        )
    line.append(", ".join(told))
    more = len(result.few_in_one_split) - MOST_NAMES
    line.append(f" and {plural(more, 'more class', 'more classes')}." if more > 0 else ".")
    lines = [line]
    still = [name for name, _ in result.few_in_one_split if by_name[name].n < LEAST_IMAGES]
    if still:
        names = ", ".join(f"'{name}'" for name in still[:MOST_NAMES])
        rest = f" and {len(still) - MOST_NAMES} more" if len(still) > MOST_NAMES else ""
        lines.append(
            Text(f"Too few images even so: {names}{rest}. Only more images tell.", style="yellow")
        )
    return lines


def _width(interval: tuple[float, float] | None) -> float:
    return 1.0 if interval is None else interval[1] - interval[0]


def _suspect_parts(result: CrossValidation) -> list[RenderableType]:
    if not result.suspects:
        return [Text("No label looks wrong.")]
    parts: list[RenderableType] = [
        Text.assemble(
            (f"{plural(len(result.suspects), 'label')} of {result.n:,} may be wrong. ", "bold"),
            "The models that had not seen these images give them another class:",
        )
    ]
    pairs = result.pairs()
    table = _table()
    table.add_column("labelled", max_width=18, overflow="ellipsis", no_wrap=True)
    table.add_column("looks like", max_width=18, overflow="ellipsis", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    table.add_column("most suspicious first", overflow="fold")
    # By characters, then up to a slash: by parts, "s3://" would lose one of its two.
    shared = os.path.commonprefix([one.name for one in result.suspects])  # noqa: RUF071
    begin = shared.rfind("/") + 1
    for given, suggested, found in pairs[:MOST_PAIRS]:
        table.add_row(Text(given), Text(suggested), f"{len(found):,}", _files(found, begin))
    parts.append(table)
    more = pairs[MOST_PAIRS:]
    if more:
        images = sum(len(found) for _, _, found in more)
        parts.append(
            Text(f"and {plural(images, 'image')} of {plural(len(more), 'other pair')}", style="dim")
        )
    if result.accuracy < SURE_FROM:
        parts.append(
            Text(
                f"The models agree with {result.accuracy:.0%} of all labels; where they err that "
                "often, half of these labels or more may be right. A model that recognises more "
                "(more epochs, another --model) accuses fewer.",
                style="yellow",
            )
        )
    if result.not_listed:
        told = ", ".join(f"'{name}' {count:,}" for name, count in result.not_listed[:MOST_NAMES])
        parts.append(
            Text(
                f"Suspected, too, and not listed, because at most {MOST_SHARE:.0%} of a class "
                f"are: {told}. There the models do not know the class well enough to accuse it."
            )
        )
    return parts


def _files(found: Sequence[Suspect], begin: int) -> Text:
    """The first names, without the `begin` characters of the folder that all have in common."""
    names = ", ".join(one.name[begin:] for one in found[:FIRST_FILES])
    return Text(names + (", ..." if len(found) > FIRST_FILES else ""))


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
