"""A learning curve as a picture. Comes in: a `LearningCurve`. Goes out: a PNG, whole or absent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from everyclass.run_folder import write_atomically
from everyclass.stats.learning_curve import Curve, LastHalf, LearningCurve

MOST_PANELS = 12
COLUMNS = 3
INK, GUESS, ALONE, QUIET = "#1f4e79", "#9dbbd8", "#c0504d", "#999999"


def write_plot(found: LearningCurve, path: Path) -> None:
    """A panel a class (the eleven that gain most) and one for balanced accuracy; below, what twice
    the images would bring, with intervals.

    Args:
        found: what to draw.
        path: of the PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    by_name = {one.name: one for one in found.classes}
    ranked = found.ranked[: MOST_PANELS - 1]
    curves = [found.balanced, *(by_name[name] for name, _, _ in ranked)]
    alone = {one.name: one for one in found.last_halves}
    rows = -(-len(curves) // COLUMNS)
    bars = 0.28 * (len(ranked) + 1) + 1.0
    figure = Figure(figsize=(10, 2.5 * rows + bars), layout="constrained")
    FigureCanvasAgg(figure)
    # Apart, so that long class names below do not push the panels aside.
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.5 * rows, bars])
    above, below = parts
    above.supxlabel(
        "training images of the class (of all classes for balanced accuracy); dots: measured, mean "
        "of the repeats;\ndashed: extrapolated; red diamond: this class alone halved",
        fontsize=9,
    )
    grid = above.add_gridspec(rows, COLUMNS)
    for place, one in enumerate(curves):
        axes = above.add_subplot(grid[place // COLUMNS, place % COLUMNS])
        _panel(axes, one, alone.get(one.name))
        if place % COLUMNS == 0:
            axes.set_ylabel("recall" if place else "balanced accuracy")
    _bars(below.add_subplot(), found, len(ranked))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    write_atomically(path, buffer.getvalue())


def _panel(axes: Any, one: Curve, half: LastHalf | None) -> None:
    n, recall, low, high = (list(values) for values in zip(*one.fitted))
    axes.fill_between(n, low, high, color=GUESS, alpha=0.35, linewidth=0)
    most = one.images[-1]
    inside = sum(value <= most * 1.001 for value in n)
    axes.plot(n[:inside], recall[:inside], color=INK)
    axes.plot(n[inside - 1 :], recall[inside - 1 :], color=INK, linestyle="--")
    below = [value - ends[0] for value, ends in zip(one.recalls, one.intervals)]
    above = [ends[1] - value for value, ends in zip(one.recalls, one.intervals)]
    bars = [[max(value, 0) for value in below], [max(value, 0) for value in above]]
    axes.errorbar(one.images, one.recalls, bars, fmt="o", color=INK, capsize=3, markersize=4)
    if half is not None:
        axes.plot([half.images_half], [half.recall_half], "D", color=ALONE, zorder=5)
    axes.set_xscale("log", base=2)
    ticks = [*one.images, 2 * most]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    # From 0 on only where the band needs it: curves are told apart by their slope.
    floor = min(*low, *(ends[0] for ends in one.intervals))
    axes.set_ylim(max(0.0, floor - 0.05), 1.0)
    axes.set_title(one.name, fontsize=10)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)


def _bars(axes: Any, found: LearningCurve, most: int) -> None:
    rows = [
        (name if alone else f"{name} (all classes double)", gain, alone)
        for name, gain, alone in found.ranked[:most]
    ]
    rows.append(("balanced accuracy (all classes double)", found.balanced.doubling, False))
    for place, (_, gain, alone) in enumerate(reversed(rows)):
        colour = (ALONE if alone else INK) if gain.told else QUIET
        axes.plot(gain.interval, [place, place], color=colour, linewidth=2)
        axes.plot([gain.gain], [place], "D" if alone else "o", color=colour)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in reversed(rows)], fontsize=9)
    axes.set_xlabel(
        "expected change of the recall by twice the images, 95 % interval\n"
        "(diamond: measured on this class alone; grey: cannot be told)",
        fontsize=9,
    )
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", alpha=0.25)
