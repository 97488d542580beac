"""How a script clips its gradients, and whether a gradient scaler has multiplied them then.

Comes in: calls of torch's clipping and of a scaler, in their order. Goes out: a `Clipping`. Looks
at the first calls only, and at no number before the training is over.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Any

from torch import Tensor

from everyclass.diagnosis.case import ClipKind, Clipping

LOOKED_AT_CALLS = 40


@dataclass(frozen=True, slots=True)
class _Call:
    kind: ClipKind
    limit: float
    norm_type: float
    norm: Tensor | None
    scaled: tuple[Tensor, Tensor] | None


class ClipWatch:
    """Remembers the first calls."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._scaled: tuple[Tensor, Tensor] | None = None

    def scaled(self, loss: object, result: object) -> None:
        """A scaler has multiplied a loss: so are the gradients, until it divides them."""
        if len(self._calls) >= LOOKED_AT_CALLS:
            return
        if isinstance(loss, Tensor) and isinstance(result, Tensor) and loss.numel() == 1:
            self._scaled = loss.detach(), result.detach()

    def unscaled(self) -> None:
        """It has divided them."""
        self._scaled = None

    def clipped(self, kind: ClipKind, limit: Any, norm_type: Any, norm: object) -> None:
        """Gradients were clipped; their norm before, where it is told."""
        if len(self._calls) >= LOOKED_AT_CALLS:
            return
        if isinstance(limit, Tensor) and limit.device.type != "cpu":
            return  # to read it would wait for the device
        known = norm.detach() if isinstance(norm, Tensor) else None
        self._calls.append(_Call(kind, float(limit), float(norm_type), known, self._scaled))

    def step_ends(self) -> None:
        """The optimizer has stepped."""
        self._scaled = None

    def found(self) -> Clipping | None:
        """How most calls were made; None without any."""
        if not self._calls:
            return None
        ways = Counter(
            (one.kind, one.limit, one.norm_type, one.scaled is not None) for one in self._calls
        )
        way = ways.most_common(1)[0][0]
        kind, limit, norm_type, scaled = way
        own = [
            one
            for one in self._calls
            if (one.kind, one.limit, one.norm_type, one.scaled is not None) == way
        ]
        factors = [
            float(one.scaled[1]) / float(one.scaled[0])
            for one in own
            if one.scaled is not None and float(one.scaled[0])
        ]
        return Clipping(
            kind=kind,
            limit=limit,
            norm_type=norm_type,
            norms=tuple(float(one.norm) for one in own if one.norm is not None),
            scale=max(1.0, median(factors)) if scaled and factors else 1.0,
        )
