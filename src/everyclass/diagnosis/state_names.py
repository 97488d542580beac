"""Which tensor of a checkpoint was meant for which of a network, by their names and shapes.

Comes in: names and shapes of both. Goes out: names of the one -> names of the other. Knows no
module and loads nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from torch import Tensor

Shape = tuple[int, ...]

MOST_DEPTH = 3
"""Dictionaries in dictionaries: {"epoch": 3, "model": {"state_dict": {...}}}."""

IN_ORDER = 0.8
"""Share of the tensors that must agree in shape, one after the other, for names to be ignored."""


def tensors_of(state: Mapping[str, Any], *, depth: int = MOST_DEPTH) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name; of the largest dictionary in it where it holds others,
    such as an optimizer's, beside or instead of weights."""
    own = {name: one for name, one in state.items() if isinstance(one, Tensor)}
    inner = [
        tensors_of(one, depth=depth - 1)
        for one in state.values()
        if depth and isinstance(one, Mapping) and all(isinstance(key, str) for key in one)
    ]
    return max([own, *inner], key=elements)


def elements(tensors: Mapping[str, Tensor]) -> int:
    """Numbers in all of them."""
    return sum(one.numel() for one in tensors.values())


def meant_for(offered: Mapping[str, Shape], expected: Mapping[str, Shape]) -> dict[str, str]:
    """Offered name -> expected name, of tensors of one shape.

    Names that end alike belong together, where most of them differ by the same beginning ("module."
    that a wrapper added, say). Where hardly any do, those in the same place in the order are taken,
    if their shapes agree nearly throughout.
    """
    by_end = _by_end(offered, expected)
    if 2 * len(by_end) >= min(len(offered), len(expected)):
        return by_end
    pairs = list(zip(offered.items(), expected.items()))
    agree = {a: b for (a, shape), (b, other) in pairs if shape == other}
    most = max(len(offered), len(expected), 1)
    return agree if len(agree) >= IN_ORDER * most else by_end


def _by_end(offered: Mapping[str, Shape], expected: Mapping[str, Shape]) -> dict[str, str]:
    ends: dict[str, list[str]] = defaultdict(list)
    for name in expected:
        for end, _ in _ends(name):
            ends[end].append(name)
    turns: Counter[tuple[str, str]] = Counter()
    for name, shape in offered.items():
        for end, beginning in _ends(name):
            fitting = {
                other[: len(other) - len(end)] for other in ends[end] if expected[other] == shape
            }
            turns.update((beginning, one) for one in fitting)
    if not turns:
        return {}
    # Of two that fit as many the shorter change of names is the likelier.
    most = max(turns, key=lambda one: (turns[one], -len(one[0]) - len(one[1])))
    removed, added = most
    found = {name: added + name[len(removed) :] for name in offered if name.startswith(removed)}
    return {a: b for a, b in found.items() if expected.get(b) == offered[a]}


def _ends(name: str) -> list[tuple[str, str]]:
    """(end, beginning) at every dot: "a.b.c" gives ("a.b.c", ""), ("b.c", "a."), ("c", "a.b.")."""
    parts = name.split(".")
    return [
        (".".join(parts[i:]), ".".join(parts[:i]) + ("." if i else "")) for i in range(len(parts))
    ]


def beginnings(meant: Mapping[str, str]) -> tuple[str, str] | None:
    """(beginning in the checkpoint, in the network) by which all names differ; None where they
    differ otherwise."""
    found = set()
    for a, b in meant.items():
        end = _common_end(a, b)
        found.add((a[: len(a) - len(end)], b[: len(b) - len(end)]))
    shortest = min(found, key=lambda one: len(one[0]) + len(one[1]), default=None)
    if shortest is None:
        return None
    removed, added = shortest
    fits = all(a.startswith(removed) and b == added + a[len(removed) :] for a, b in meant.items())
    return shortest if fits and removed != added else None


def _common_end(a: str, b: str) -> str:
    both = zip(reversed(a.split(".")), reversed(b.split(".")))
    kept = []
    for one, other in both:
        if one != other:
            break
        kept.append(one)
    return ".".join(reversed(kept))
