"""Layers that take a sequence first and are given the batch first.

`nn.MultiheadAttention` and recurrent layers take (sequence, batch, features) unless they were built
with `batch_first=True`. Given (batch, sequence, features) they run along the images of the batch.

Comes in: a model, a batch. Goes out: names of such layers, with the shapes that they got. Changes
nothing; knows no cause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import CapturedBatch
from everyclass.diagnosis.material import pick_rows, rows_of
from everyclass.diagnosis.snapshot import borrowed, seeded
from everyclass.diagnosis.trace import FOREIGN_ERRORS

KINDS = (nn.MultiheadAttention, nn.RNNBase)
ROWS = (5, 7)
"""Two sizes of a batch: the axis that follows them is the batch's."""

Shape = tuple[int, ...]


def given_batch_first(model: nn.Module, batch: CapturedBatch) -> dict[str, Shape]:
    """Name of each layer that runs along the batch -> shape of its input at five images.

    Args:
        batch: on the model's device.
    Raises:
        NotApplicable: the model has no layer of such a kind, or cannot be run on few images.
    """
    wanted: dict[str, nn.Module] = {
        name: one
        for name, one in model.named_modules()
        if isinstance(one, KINDS) and not one.batch_first
    }
    if not wanted:
        raise NotApplicable("No layer takes a sequence first.")
    n_rows = rows_of(batch)
    if n_rows is None or n_rows < max(ROWS):
        raise NotApplicable("The batch has too few rows.")
    shapes: list[dict[str, Shape]] = []
    for rows in ROWS:
        part = pick_rows(batch, torch.arange(rows), n_rows=n_rows)
        shapes.append(_input_shapes(model, wanted, part))
    few, more = shapes
    return {
        name: shape
        for name, shape in few.items()
        if len(shape) == 3
        and name in more
        and (shape[0], more[name][0]) == ROWS
        and shape[1] == more[name][1]
    }


def _input_shapes(
    model: nn.Module, wanted: dict[str, nn.Module], batch: CapturedBatch
) -> dict[str, Shape]:
    found: dict[str, Shape] = {}

    def hook(name: str) -> Callable[..., None]:
        def before(_: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            first = args[0] if args else keywords.get("query", keywords.get("input"))
            if isinstance(first, Tensor):
                found.setdefault(name, tuple(first.shape))

        return before

    handles = [
        one.register_forward_pre_hook(hook(name), with_kwargs=True) for name, one in wanted.items()
    ]
    try:
        # In training mode: evaluation may take a fast path that calls no inner layer.
        with borrowed(model), seeded(0), torch.no_grad():
            model.train()
            model(*batch.args, **batch.keywords)
    except FOREIGN_ERRORS as error:
        raise NotApplicable(f"The model could not be run on few images: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
    return found
