"""The colours of a report, light and dark, and the contrast between them.

Comes in: nothing. Goes out: CSS custom properties. Text keeps a contrast of 4.5 to what it stands
on and marks one of 3 (WCAG 2.2, 1.4.3 and 1.4.11); `tests/reports` computes it for both schemes.
"""

from __future__ import annotations

from collections.abc import Mapping

Scheme = Mapping[str, str]

LIGHT: Scheme = {
    "bg": "#f5f6f8",
    "surface": "#ffffff",
    "sunken": "#eceff3",
    "ink": "#141a22",
    "muted": "#4a5463",
    "line": "#d5dae2",
    "frame": "#7c8797",
    "accent": "#0a6a6f",
    "on-accent": "#ffffff",
    "good": "#126b37",
    "warn": "#835100",
    "bad": "#b0241c",
    "note": "#1c5aa3",
    "mark": "#08757b",
    "other": "#c2480c",
    "context": "#7a8595",
}
DARK: Scheme = {
    "bg": "#0d1117",
    "surface": "#151b23",
    "sunken": "#1e2631",
    "ink": "#e9edf3",
    "muted": "#a9b4c4",
    "line": "#313b49",
    "frame": "#7a8798",
    "accent": "#56d4cd",
    "on-accent": "#06211f",
    "good": "#5fd38a",
    "warn": "#f2b84b",
    "bad": "#ff938a",
    "note": "#8fbcff",
    "mark": "#45c8c0",
    "other": "#ff9f6b",
    "context": "#758194",
}
TEXT = ("ink", "muted", "accent", "good", "warn", "bad", "note")
"""Colours of words; each must be read on each of `GROUNDS`."""

MARKS = ("frame", "mark", "other", "context")
"""Colours of lines, points and bars that carry meaning."""

GROUNDS = ("bg", "surface", "sunken")
LEVELS = (0.12, 0.26, 0.42, 0.8, 1.0)
"""How much of the full colour a cell of the confusion matrix has, by level."""

RAMPS = {"right": "mark", "wrong": "bad"}


def with_ramps(scheme: Scheme) -> Scheme:
    """The scheme with `right-1` to `wrong-5`, and the colour of the figure on each."""
    found = dict(scheme)
    for name, full in RAMPS.items():
        for level, share in enumerate(LEVELS, start=1):
            ground = mixed(scheme["surface"], scheme[full], share)
            figure = max((scheme["ink"], scheme["on-accent"]), key=lambda c: contrast(c, ground))
            found[f"{name}-{level}"] = ground
            found[f"{name}-{level}-ink"] = figure
    return found


def properties(scheme: Scheme) -> str:
    """CSS custom properties, `--name:colour;` each."""
    return "".join(f"--{name}:{colour};" for name, colour in with_ramps(scheme).items())


def mixed(ground: str, colour: str, share: float) -> str:
    """`share` in [0, 1] of a colour on a ground, both `#rrggbb`."""
    parts = [round((1 - share) * a + share * b) for a, b in zip(_rgb(ground), _rgb(colour))]
    return "#" + "".join(f"{part:02x}" for part in parts)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, from 1 to 21.

    Source: WCAG 2.2, definitions of contrast ratio and relative luminance.
    """
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (part / 255 for part in _rgb(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
