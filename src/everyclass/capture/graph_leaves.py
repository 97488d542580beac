"""Which tensors the network's answer hangs on: its own parameters, or others.

Comes in: answers of the first steps, the root's parameters. Goes out: `AnswerLeaves`. Keeps numbers
and shapes, no tensor and no graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from everyclass.diagnosis.case import AnswerLeaves

LOOKED_AT_ANSWERS = 2
"""The first may be unlike the rest, as where a lazy layer is made."""

MOST_NODES = 20_000
"""Of a graph that is walked; of a larger one nothing is said."""


class GraphLeaves:
    """Looks at the graphs of the first answers of one network."""

    def __init__(self) -> None:
        self._looked = 0
        self._leaves: list[tuple[int, tuple[int, ...], bool]] | None = None

    def network_answers(self, outputs: Iterable[Tensor]) -> None:
        """The watched network has answered, with gradients switched on, before a step."""
        if self._looked >= LOOKED_AT_ANSWERS:
            return
        self._looked += 1
        answered = list(outputs)
        sizes = {one.shape[0] for one in answered if one.ndim}
        leaves = _leaves(one.grad_fn for one in answered)
        # An input that asks for a gradient is a leaf as well.
        self._leaves = None if leaves is None else [*_described(leaves, sizes)]

    def found(
        self, parameters: Iterable[Tensor], optimised: Iterable[Tensor]
    ) -> AnswerLeaves | None:
        """What the answers hung on; None where nobody looked, or it could not be told.

        Args:
            parameters: of the network, which during a call may stand aside for copies.
            optimised: what optimizers hold; none of it is foreign.
        """
        if self._leaves is None:
            return None
        own, held = {id(one) for one in parameters}, {id(one) for one in optimised}
        foreign = [
            shape
            for key, shape, like_inputs in self._leaves
            if key not in own and key not in held and not like_inputs
        ]
        return AnswerLeaves(
            own=sum(key in own for key, _, _ in self._leaves), foreign=tuple(foreign)
        )


def _described(
    leaves: Iterable[Tensor], sizes: set[int]
) -> Iterator[tuple[int, tuple[int, ...], bool]]:
    """(id, shape, whether it has a row for each row answered, as inputs have) of each."""
    for one in leaves:
        yield id(one), tuple(one.shape), one.ndim > 2 and one.shape[0] in sizes


def _leaves(roots: Iterable[Any]) -> list[Tensor] | None:
    """Tensors at the ends of the graph; None where part of it is hidden or it is too large."""
    found: list[Tensor] = []
    seen: set[Any] = set()
    waiting = [one for one in roots if one is not None]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            found.append(variable)
        elif len(seen) > MOST_NODES or _hides_a_graph(node.name()):
            return None
        waiting += [one for one, _ in node.next_functions if one is not None]
    return found


def _hides_a_graph(name: str) -> bool:
    """Functions of Python may keep a graph inside, as activation checkpointing does; torch's own
    are called "Relu", "Backward" and a number, or lie in its namespace."""
    return not (name.startswith("torch::autograd::") or name.split("Backward")[-1].isdigit())
