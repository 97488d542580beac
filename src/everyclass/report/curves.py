"""How a training went, epoch by epoch: loss, balanced accuracy, and a small panel a class.

Comes in: epochs. Goes out: charts. Figures are of validation images unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from everyclass.report.drawing import (
    Frame,
    axes,
    dot,
    line,
    nice_ticks,
    picture,
    segment,
    whole_ticks,
    words,
)
from everyclass.report.log import Epoch

MOST_PANELS = 24
"""Panels of classes; with more classes, those of the lowest recall at the end."""

MOST_DOTS = 40  # an epoch a dot up to here; beyond, lines alone
Figure = Callable[[Epoch], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The recall of one class over the epochs. `last` is NaN where it is not known."""

    name: str
    last: float
    chart: Markup


def loss_chart(epochs: Sequence[Epoch], void: Sequence[Epoch]) -> Markup:
    """Loss on training and on validation images."""
    values = [v for one in (*epochs, *void) for v in (one.train_loss, one.val_loss)]
    known = [value for value in values if not math.isnan(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    ticks = nice_ticks(0.0 if low < high / 2 else low, high)
    frame = _frame((*epochs, *void), (ticks[0], ticks[-1]))
    parts = [_axes(frame, ticks, "nats an image")]
    parts += _undone(frame, void, lambda one: one.val_loss, epochs)
    parts += _series(frame, epochs, lambda one: one.train_loss, "context", "training loss")
    parts += _series(frame, epochs, lambda one: one.val_loss, "mark", "validation loss")
    last = epochs[-1]
    return picture(
        frame,
        f"Loss over {len(epochs)} epochs; at the end {last.train_loss:.3f} on training and "
        f"{last.val_loss:.3f} on validation images",
        parts,
    )


def accuracy_chart(epochs: Sequence[Epoch], void: Sequence[Epoch], *, chance: float) -> Markup:
    """Balanced accuracy, the epoch whose weights were kept, and what guessing gives."""
    frame = _frame((*epochs, *void), (0.0, 1.0))
    parts = [_axes(frame, [0, 0.2, 0.4, 0.6, 0.8, 1], "balanced accuracy")]
    y = frame.py(chance)
    parts.append(segment(frame.left, y, frame.width - frame.right, y, "dashed"))
    parts.append(words(frame.width - frame.right, y - 5, "chance", anchor="end", style="tick"))
    parts += _undone(frame, void, lambda one: one.balanced_accuracy, epochs)
    parts += _series(frame, epochs, lambda one: one.balanced_accuracy, "mark", "balanced accuracy")
    kept = max((one for one in epochs if one.best), key=lambda one: one.step, default=None)
    told = ""
    if kept is not None and not math.isnan(kept.balanced_accuracy):
        x, top = frame.px(kept.number), frame.py(kept.balanced_accuracy)
        parts.append(dot(x, top, "ring", told=f"kept: epoch {kept.number}", radius=7))
        side = "end" if x > frame.width / 2 else "start"
        parts.append(words(x, top - 13, f"kept: {kept.balanced_accuracy:.3f}", anchor=side))
        told = f"; kept from epoch {kept.number}, {kept.balanced_accuracy:.3f}"
    return picture(frame, f"Balanced accuracy over {len(epochs)} epochs{told}", parts)


def class_panels(epochs: Sequence[Epoch], classes: Sequence[str]) -> tuple[Panel, ...]:
    """A panel a class, the lowest recall at the end first, the other classes pale behind it."""
    lines = {
        name: [one.recalls.get(name, math.nan) for one in epochs]
        for name in classes
        if any(name in one.recalls for one in epochs)
    }
    order = sorted(
        lines, key=lambda name: math.inf if math.isnan(lines[name][-1]) else lines[name][-1]
    )[:MOST_PANELS]
    frame = Frame(
        width=180,
        height=96,
        left=8,
        right=8,
        top=8,
        bottom=8,
        x=(epochs[0].number, epochs[-1].number),
        y=(0, 1),
    )
    return tuple(_panel(frame, name, lines, order, epochs) for name in order)


def _panel(
    frame: Frame,
    name: str,
    lines: dict[str, list[float]],
    order: Sequence[str],
    epochs: Sequence[Epoch],
) -> Panel:
    def points(values: Sequence[float]) -> list[tuple[float, float]]:
        return [
            (frame.px(one.number), frame.py(value) if not math.isnan(value) else math.nan)
            for one, value in zip(epochs, values)
        ]

    parts = [
        segment(frame.left, frame.py(share), frame.width - frame.right, frame.py(share), "grid")
        for share in (0, 0.5, 1)
    ]
    parts += [line(points(lines[other]), "pale") for other in order if other != name]
    own = points(lines[name])
    parts.append(line(own, "series mark"))
    last = lines[name][-1]
    if not math.isnan(own[-1][1]):
        style = "bad" if last == 0 else "mark"
        parts.append(dot(*own[-1], f"dot {style}", told=f"{name}: {last:.2f}", radius=4))
    told = ", ".join("no images" if math.isnan(v) else f"{v:.2f}" for v in lines[name][-8:])
    ago = f"the last {min(8, len(epochs))} epochs" if len(epochs) > 1 else "the one epoch"
    return Panel(
        name=name, last=last, chart=picture(frame, f"Recall of {name} in {ago}: {told}", parts)
    )


def _frame(epochs: Sequence[Epoch], y: tuple[float, float]) -> Frame:
    numbers = [one.number for one in epochs]
    low, high = min(numbers), max(numbers)
    pad = 0.5 if low == high else 0.0
    return Frame(x=(low - pad, high + pad), y=y, top=24)


def _axes(frame: Frame, ticks: Sequence[float], name: str) -> Markup:
    low, high = math.ceil(frame.x[0]), math.floor(frame.x[1])
    return axes(
        frame,
        x_ticks=whole_ticks(low, high, most=8),
        y_ticks=ticks,
        x_name="epoch",
        y_name=name,
    )


def _series(
    frame: Frame, epochs: Sequence[Epoch], figure: Figure, style: str, name: str
) -> list[Markup]:
    points = [(frame.px(one.number), _y(frame, figure(one))) for one in epochs]
    parts = [line(points, f"series {style}")]
    if len(epochs) <= MOST_DOTS:
        parts += [
            dot(x, y, f"dot {style}", told=f"epoch {one.number}: {name} {figure(one):.3f}")
            for (x, y), one in zip(points, epochs)
            if not math.isnan(y)
        ]
    return parts


def _undone(
    frame: Frame, void: Sequence[Epoch], figure: Figure, epochs: Sequence[Epoch]
) -> list[Markup]:
    """What a repair undid, as a dashed line."""
    parts: list[Markup] = []
    run: list[tuple[float, float]] = []
    last = math.inf
    for one in void:
        if one.step <= last and run:
            parts.append(line(run, "series undone"))
            run = []
        run.append((frame.px(one.number), _y(frame, figure(one))))
        last = one.step
        parts.append(
            dot(*run[-1], "dot undone", told=f"epoch {one.number}, undone: {figure(one):.3f}")
            if not math.isnan(run[-1][1])
            else Markup("")
        )
    return [*parts, line(run, "series undone")] if run else parts


def _y(frame: Frame, value: float) -> float:
    return math.nan if math.isnan(value) else frame.py(min(max(value, frame.y[0]), frame.y[1]))
