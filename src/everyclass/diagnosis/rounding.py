"""Weights that a script rounds after each step: to a grid, or to numbers of sixteen bits.

Comes in: a network as it stands, and its initial state. Goes out: a `Rounding`, which does to a
copy's weights what the script does, or None. Trains nothing, accuses nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEAST_WEIGHTS = 1_000
"""Of a matrix, that it tells something."""

COARSE = 4
"""Weights a different value, from which a matrix counts as rounded to a grid; free ones are all
different but for a few."""

NARROW = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """How weights are rounded.

    Attributes:
        words: "to multiples of 0.0156".
        spacing: of the grid by parameter; empty for a dtype.
        dtype: of sixteen bits; None for a grid.
    """

    words: str
    spacing: Mapping[str, float]
    dtype: torch.dtype | None

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Round its parameters in place."""
        for name, parameter in model.named_parameters():
            if self.dtype is not None:
                parameter.copy_(parameter.to(self.dtype))
            elif name in self.spacing:
                step = self.spacing[name]
                parameter.copy_((parameter / step).round() * step)


def rounding_of(model: nn.Module, start: Mapping[str, Tensor] | None) -> Rounding | None:
    """The rounding that all its trained matrices show, and did not at the start.

    Args:
        start: the initial state by plain name, None when not known.
    """
    matrices = {
        name: one.detach()
        for name, one in model.named_parameters()
        if one.requires_grad
        and one.ndim >= 2
        and one.numel() >= LEAST_WEIGHTS
        and one.dtype is torch.float32
        and bool(torch.isfinite(one).all())
        and bool(one.any())
    }
    if not matrices:
        return None
    spacing = {name: step for name, one in matrices.items() if (step := _spacing(one))}
    if len(spacing) == len(matrices):
        began = start is not None and any(_spacing(start[n]) for n in matrices if n in start)
        return None if began else _on_a_grid(model, spacing)
    for dtype in NARROW:
        if all(fits_into(one, dtype) for one in matrices.values()):
            known = [start[name] for name in matrices if name in start] if start else []
            if known and all(fits_into(one, dtype) for one in known):
                return None
            words = f"to {str(dtype).removeprefix('torch.')}"
            return Rounding(words=words, spacing={}, dtype=dtype)
    return None


def _on_a_grid(model: nn.Module, spacing: Mapping[str, float]) -> Rounding:
    low, high = min(spacing.values()), max(spacing.values())
    if high > 1.001 * low:
        words = f"to multiples of {low:.3g} to {high:.3g}"
        return Rounding(words=words, spacing=spacing, dtype=None)
    # One grid for all matrices, which vectors are likely to share.
    shared = {name: low for name, _ in model.named_parameters()}
    return Rounding(words=f"to multiples of {low:.3g}", spacing=shared, dtype=None)


def fits_into(values: Tensor, dtype: torch.dtype) -> bool:
    """Whether no number loses a bit in it."""
    return torch.equal(values, values.to(dtype).to(values.dtype))


def _spacing(values: Tensor) -> float | None:
    """The step of a grid that holds all values; None for values that are free."""
    different = torch.unique(values.double())
    if len(different) < 2 or COARSE * len(different) > values.numel():
        return None
    step = float(different.diff().min())
    places = different / step
    return step if float((places - places.round()).abs().max()) < 1e-2 else None
