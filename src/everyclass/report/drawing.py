"""SVG by hand: the frame of a chart, its scales and ticks, lines and strips.

Comes in: numbers and words. Goes out: markup in which every word is escaped. Colours are classes of
the style sheet, so that a drawing follows the light and the dark scheme. Knows no value of ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The plane of a chart, in units of its view box.

    Args:
        width, height: of the view box; about the CSS pixels it has on a phone, so that text is read
            there.
        left, right, top, bottom: margins.
        x, y: (low, high) of the figures.
    """

    width: float = 400
    height: float = 240
    left: float = 42
    right: float = 14
    top: float = 12
    bottom: float = 36
    x: tuple[float, float]
    y: tuple[float, float]

    def px(self, value: float) -> float:
        """Where a figure lies on the x axis."""
        low, high = self.x
        share = 0.5 if high == low else (value - low) / (high - low)
        return round(self.left + share * (self.width - self.left - self.right), 2)

    def py(self, value: float) -> float:
        """Where a figure lies on the y axis."""
        low, high = self.y
        share = 0.5 if high == low else (value - low) / (high - low)
        return round(self.height - self.bottom - share * (self.height - self.top - self.bottom), 2)


def picture(frame: Frame, name: str, parts: Iterable[Markup]) -> Markup:
    """A chart with its name for who cannot see it."""
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(_n(frame.width), _n(frame.height), name, Markup("").join(parts))


def axes(
    frame: Frame,
    *,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_name: str,
    y_name: str = "",
) -> Markup:
    """Lines at the y ticks, figures at all ticks, the names of the axes."""
    left, right = frame.left, frame.width - frame.right
    parts = []
    for tick in y_ticks:
        y = frame.py(tick)
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                _n(left), _n(right), _n(y), _n(y)
            )
        )
        parts.append(words(left - 6, y + 4, figure(tick), anchor="end", style="tick"))
    base = frame.height - frame.bottom
    for tick in x_ticks:
        parts.append(words(frame.px(tick), base + 16, figure(tick), style="tick"))
    parts.append(words((left + right) / 2, frame.height - 4, x_name, style="tick"))
    if y_name:
        parts.append(words(6, frame.top - 12, y_name, anchor="start", style="tick"))
    return Markup("").join(parts)


def words(x: float, y: float, text: str, *, anchor: str = "middle", style: str = "label") -> Markup:
    """A text at a place; `style` is a class of the style sheet."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        style, _n(x), _n(y), anchor, text
    )


def line(points: Sequence[Point], style: str) -> Markup:
    """A line through points of the view box, broken where one is not known (NaN)."""
    runs: list[list[str]] = [[]]
    for x, y in points:
        if math.isnan(y):
            runs.append([])
        else:
            runs[-1].append(f"{_n(x)},{_n(y)}")
    drawn = [
        Markup('<polyline class="{}" points="{}"/>').format(style, " ".join(run))
        for run in runs
        if run
    ]
    return Markup("").join(drawn)


def dot(x: float, y: float, style: str, *, told: str, radius: float = 3) -> Markup:
    """A point that says its figures when one points at it."""
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
        style, _n(x), _n(y), _n(radius), told
    )


def rectangle(x: float, y: float, width: float, height: float, style: str, *, told: str) -> Markup:
    """A bar that says its figures when one points at it."""
    return Markup(
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
    ).format(style, _n(x), _n(y), _n(max(width, 0)), _n(max(height, 0)), told)


def segment(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    """A straight line."""
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        style, _n(x1), _n(y1), _n(x2), _n(y2)
    )


def whole_ticks(low: float, high: float, *, most: int) -> list[float]:
    """Whole numbers from `low` to `high`, at most about `most`, the ends of the scale included."""
    step = max(math.ceil((high - low) / max(most - 1, 1)), 1)
    step = next((nice for nice in _nice_steps() if nice >= step), step)
    ticks = [float(value) for value in range(0, math.floor(high) + 1, step) if value >= low]
    return [float(low), *ticks] if not ticks or ticks[0] - low >= step / 2 else ticks


def nice_ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Round figures that span `low` to `high`: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * unit for unit in (1, 2, 5, 10) if power * unit >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def figure(value: float) -> str:
    """A tick's number."""
    return f"{value:,.0f}" if value == round(value) and abs(value) >= 2 else f"{value:g}"


def _nice_steps() -> Iterable[int]:
    power = 1
    while power < 10**12:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def _n(value: float) -> str:
    """Short, and the same on every machine."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
