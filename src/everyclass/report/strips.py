"""A figure with its interval on one line, as wide as its column: in tables of classes and trials.

Comes in: shares. Goes out: SVG whose places are percentages, so that it keeps the size of its
points and lines at any width.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from everyclass.diagnoses import Trial

HEIGHT = 22
_MIDDLE = HEIGHT / 2


def recall_strip(
    value: float | None,
    interval: tuple[float, float] | None,
    *,
    name: str,
    goal: float | None = None,
) -> Markup:
    """A share from 0 to 1 with its interval; nothing where there is none.

    Args:
        name: what it is of, for who cannot see it.
        goal: a share to be compared with, as a line.
    """
    if value is None:
        return Markup("")
    told = f"{name}: {value:.2f}"
    parts = [_track(0, 1)]
    if goal is not None:
        parts.append(_tick(goal, "goal"))
    if interval is not None:
        told += f", 95 % interval {interval[0]:.2f} to {interval[1]:.2f}"
        parts.append(_band(interval[0], interval[1], _style(value, "band")))
    parts.append(_point(value, _style(value, "point")))
    return _strip(told, parts)


def difference_strip(value: float, interval: tuple[float, float], *, name: str) -> Markup:
    """A difference from -1 to 1 with its interval; a line at 0."""
    told = f"{name}: {value:+.2f}, {interval[0]:+.2f} to {interval[1]:+.2f}"
    low, high = ((max(-1.0, min(1.0, end)) + 1) / 2 for end in interval)
    parts = [
        _track(0, 1),
        _tick(0.5, "goal"),
        _band(low, high, "band"),
        _point((value + 1) / 2, "point"),
    ]
    return _strip(told, parts)


def trial_strip(trial: Trial) -> Markup:
    """Control against change: where each stands between 0 and 1, and the gain's interval laid at
    the control; the answers of the negative controls and of chance as small marks.
    """
    low, high = (max(0.0, min(1.0, trial.control + end)) for end in trial.ci95)
    style = "good" if trial.proved else "helps" if trial.ci95[0] > 0 else "none"
    told = (
        f"{trial.words}: balanced accuracy {trial.changed:.2f} instead of {trial.control:.2f}, "
        f"gain {trial.ci95[0]:+.2f} to {trial.ci95[1]:+.2f}, chance {trial.chance:.2f}"
    )
    parts = [
        _track(0, 1),
        _tick(trial.chance, "chance"),
        Markup('<line class="gain {}" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(
            style, _p(trial.control), _p(trial.changed), _MIDDLE, _MIDDLE
        ),
        _band(low, high, f"band {style}"),
    ]
    for value, mark, said in (
        (trial.sham, "sham", "another order of the batches alone"),
        (trial.permuted, "permuted", "the change with permuted labels"),
    ):
        if value is not None:
            parts.append(
                Markup(
                    '<circle class="{}" cx="{}%" cy="{}" r="2.5"><title>{}: {:.2f}</title></circle>'
                ).format(mark, _p(value), HEIGHT - 3, said, value)
            )
    parts += [_point(trial.control, "control"), _point(trial.changed, f"point {style}")]
    return _strip(told, parts)


def change_strip(before: float | None, after: float | None, *, name: str) -> Markup:
    """A share before and after, joined by a line."""
    if before is None or after is None:
        return Markup("")
    parts = [
        _track(0, 1),
        Markup('<line class="gain {}" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(
            "good" if after >= before else "none", _p(before), _p(after), _MIDDLE, _MIDDLE
        ),
        _point(before, "control"),
        _point(after, _style(after, "point")),
    ]
    return _strip(f"{name}: {before:.2f} before, {after:.2f} after", parts)


def _style(value: float, base: str) -> str:
    """Zero stands out; below one half it is paler news."""
    return f"{base} zero" if value == 0 else base


def _strip(told: str, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="strip" width="100%" height="{}" role="img" aria-label="{}">{}</svg>'
    ).format(HEIGHT, told, Markup("").join(parts))


def _track(low: float, high: float) -> Markup:
    return Markup('<line class="track" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(
        _p(low), _p(high), _MIDDLE, _MIDDLE
    )


def _tick(value: float, style: str) -> Markup:
    return Markup('<line class="{}" x1="{}%" x2="{}%" y1="2" y2="{}"/>').format(
        style, _p(value), _p(value), HEIGHT - 2
    )


def _band(low: float, high: float, style: str) -> Markup:
    return Markup('<rect class="{}" x="{}%" width="{}%" y="{}" height="8" rx="4"/>').format(
        style, _p(low), _width(low, high), _MIDDLE - 4
    )


def _point(value: float, style: str) -> Markup:
    return Markup('<circle class="{}" cx="{}%" cy="{}" r="5"/>').format(style, _p(value), _MIDDLE)


INSET = 3.0
"""Percent kept free at either end, so that a point at 0 or 1 is whole."""


def _p(value: float) -> str:
    return f"{INSET + value * (100 - 2 * INSET):.2f}"


def _width(low: float, high: float) -> str:
    return f"{(high - low) * (100 - 2 * INSET):.2f}"
