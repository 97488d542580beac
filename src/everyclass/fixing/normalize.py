"""The edit of `transforms.Normalize(mean, std)` that standardises what leaves it.

Comes in: a `Script` and `InputFigures`. Goes out: an `Edit`, or None where it is not sure that what
reached the network came out of a Normalize of this script: undone by its figures, sampled values
must lie on the steps of 8-bit images.
"""

from __future__ import annotations

import ast

from everyclass.fixing.facts import Edit, InputFigures
from everyclass.fixing.source import Script, keyword, last_name

LEAST_ON_STEPS = 0.95
TOLERANCE = 0.02
"""Of a step between two grey levels."""


def in_normalize(script: Script, figures: InputFigures) -> Edit | None:
    """New figures in each Normalize of the script, if all have the same."""
    calls = [one for one in script.walk() if last_name(one.func) == "Normalize"]
    given = {_given(one) for one in calls}
    if len(given) != 1:
        return None
    known = given.pop()
    if known is None:
        return None
    channels = max(len(known[0]), len(known[1]), len(figures.mean))
    old_mean, old_sd = _widened(known[0], channels), _widened(known[1], channels)
    mean, sd = _widened(figures.mean, channels), _widened(figures.sd, channels)
    if not (old_mean and old_sd and mean and sd) or not _undone(figures, old_mean, old_sd):
        return None
    new_mean = [m + s * own for m, s, own in zip(old_mean, old_sd, mean)]
    new_sd = [s * own for s, own in zip(old_sd, sd)]
    if min(new_sd) <= 0:
        return None
    splices = []
    for call in calls:
        arguments = _arguments(call)
        assert arguments is not None
        for node, values in zip(arguments, (new_mean, new_sd)):
            splices.append(script.replace(node, _shown(values, node)))
    lines = " and ".join(str(one.lineno) for one in calls)
    return Edit(
        sentence=f"Normalize (line {lines}) gets the figures that give the inputs mean 0 and "
        "standard deviation 1.",
        splices=tuple(splices),
    )


def _arguments(call: ast.Call) -> tuple[ast.expr, ast.expr] | None:
    found = []
    for place, name in enumerate(("mean", "std")):
        named = keyword(call, name)
        if named is not None:
            found.append(named.value)
        elif len(call.args) > place:
            found.append(call.args[place])
    return (found[0], found[1]) if len(found) == 2 else None


def _given(call: ast.Call) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    arguments = _arguments(call)
    if arguments is None:
        return None
    numbers = tuple(_numbers(one) for one in arguments)
    return None if numbers[0] is None or numbers[1] is None else (numbers[0], numbers[1])


def _numbers(node: ast.expr) -> tuple[float, ...] | None:
    if not isinstance(node, (ast.Tuple, ast.List)):
        return None
    try:
        values = ast.literal_eval(node)
        return tuple(float(one) for one in values) or None
    except (ValueError, TypeError):
        return None


def _widened(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values if len(values) == channels else values * channels if len(values) == 1 else ()


def _undone(figures: InputFigures, mean: tuple[float, ...], sd: tuple[float, ...]) -> bool:
    """Whether the samples come out of a Normalize with these figures."""
    if len(figures.samples) != len(mean):
        return False
    found = [value * s + m for m, s, values in zip(mean, sd, figures.samples) for value in values]
    return any(
        sum(abs(one * step - round(one * step)) < TOLERANCE for one in found)
        >= LEAST_ON_STEPS * len(found)
        and len({round(one * step) for one in found}) > 2
        for step in (1.0, 255.0, 255.0**2)
    )


def _shown(values: list[float], like: ast.expr) -> str:
    text = ", ".join(f"{one:.4g}" for one in values)
    if isinstance(like, ast.List):
        return f"[{text}]"
    return f"({text},)" if len(values) == 1 else f"({text})"
