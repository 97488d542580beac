"""A learning curve in the terminal. Comes in: a `LearningCurve`. Goes out: a rich renderable.

Made for 80 columns. Class names are data: they are never read as markup.
"""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from everyclass.stats.learning_curve import Curve, Gain, LastHalf, LearningCurve

MOST_ROWS = 30


def curve_view(found: LearningCurve) -> RenderableType:
    """Recall over images, what the last half brought, what twice the images would bring, ranked."""
    parts: list[RenderableType] = [_recalls(found), ""]
    if found.last_halves:
        parts.append(Text("One class halved, the others whole: what its last half brought it"))
        parts.extend(Text(f"  {_half_line(one)}") for one in found.last_halves)
        parts.append("")
    parts.append(Text("Expected from twice the images, by the gain"))
    for name, gain, alone in found.ranked[:MOST_ROWS]:
        basis = "" if alone else ", if all classes double"
        parts.append(_gain_line(f"'{name}'{basis}", gain))
    if len(found.ranked) > MOST_ROWS:
        parts.append(Text(f"  and {len(found.ranked) - MOST_ROWS:,} more classes", style="dim"))
    parts.append(_gain_line("balanced accuracy, if all classes double", found.balanced.doubling))
    if found.balanced.doubling.rank > 0:
        parts.append(
            Text(
                "Images are not shown to be what limits balanced accuracy at this number of "
                "optimizer steps: train longer (--epochs) before you collect more.",
                style="yellow",
            )
        )
    parts.append(Text(_reading(found), style="dim"))
    return Group(*parts)


def _recalls(found: LearningCurve) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("recall at", no_wrap=True, max_width=18, overflow="ellipsis")
    for total in found.balanced.images:
        table.add_column(f"{total:,} images", justify="right")
    table.add_column("95 %, all images", no_wrap=True)
    table.add_column("test", justify="right")
    order = {name: place for place, (name, _, _) in enumerate(found.ranked)}
    rows = sorted(found.classes, key=lambda one: order[one.name])[:MOST_ROWS]
    for one in (*rows, found.balanced):
        table.add_row(*_row(one, bold=one is found.balanced))
    return table


def _row(one: Curve, *, bold: bool) -> list[Text]:
    style = "bold" if bold else ""
    of_class = not bold
    cells = [
        f"{recall:.2f} ({images:,})" if of_class else f"{recall:.3f}"
        for images, recall in zip(one.images, one.recalls)
    ]
    low, high = one.intervals[-1]
    texts = [one.name, *cells, f"{low:.2f}–{high:.2f}", f"{one.test_images:,}"]
    return [Text(text, style=style) for text in texts]


def _half_line(one: LastHalf) -> str:
    return (
        f"'{one.name}': {one.images_half:,} -> {one.images:,} images, recall "
        f"{one.recall_half:.2f} -> {one.recall:.2f}: {one.brought}; other classes {one.others}"
    )


def _gain_line(name: str, gain: Gain) -> Text:
    told = "" if gain.told else ": cannot be told"
    return Text(f"  {name}: {gain}{told}", style="" if gain.told else "dim")


def _reading(found: LearningCurve) -> str:
    alone = (
        "A class measured alone: the others kept their images. "
        if found.last_halves
        else "No class was measured alone. "
    )
    luck = (
        "One repeat: the luck of a training is not in the intervals, which are too narrow."
        if found.repeats < 2
        else f"Intervals (95 %) hold the luck of {found.repeats} repeats and of the test images"
        f"{', by group' if found.by_group else ''}."
    )
    return f"{alone}For the others all classes were smaller together. {luck}"
