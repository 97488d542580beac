"""Tensors inside what a model takes and gives: tuples, lists, dicts, dataclasses.

Comes in: the arguments or the output of somebody's model. Goes out: its tensors, the same
structure with other tensors, or the scores of the classes. Knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

DEPTH = 6
"""Nesting that is followed; a structure may hold itself."""


def plain(tensor: Tensor) -> Tensor | None:
    """The same memory as an ordinary tensor: libraries name tensors by classes of their own
    (fastai's TensorImage). None for those that compute otherwise (distributed, fake, functorch).
    """
    if type(tensor) in (Tensor, nn.Parameter):
        return tensor
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return None
    return tensor.as_subclass(Tensor)


def tensors_in(value: Any, *, depth: int = DEPTH) -> Sequence[Tensor]:
    """Every tensor inside tuples, lists, mappings and dataclasses, in order, so deep at most."""
    if isinstance(value, Tensor):
        return (value,)
    if depth == 0:
        return ()
    found = list[Tensor]()
    for one in _parts(value):
        if isinstance(one, Tensor):  # nearly always: spares a call in every step
            found.append(one)
        else:
            found.extend(tensors_in(one, depth=depth - 1))
    return found


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same tuples, lists and dicts with every tensor changed; other things as they are."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        # A plain dict: tokenizers hand out classes of their own that take no items.
        return {key: map_tensors(one, change) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(one, change) for one in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(one, change) for one in value)
    return value


def take_rows(value: Any, rows: Tensor, *, n_rows: int) -> Any:
    """The structure with only these rows of each tensor whose first dimension is the batch.

    Args:
        rows: (k,) int64, which rows, on the CPU.
        n_rows: size of the batch; tensors of another first dimension stay whole.
    """

    def change(tensor: Tensor) -> Tensor:
        if tensor.ndim == 0 or tensor.shape[0] != n_rows:
            return tensor
        return tensor[rows.to(tensor.device)]

    return map_tensors(value, change)


def scores_in(output: Any, *, n_rows: int | None) -> Tensor | None:
    """The scores of the classes in what a model returned.

    A tensor is taken as it is; else what is called `logits`; else the first floating tensor with
    a row for each row of the batch.

    Args:
        output: of the model.
        n_rows: size of the batch, None when not known.
    Returns:
        None when there is no such tensor.
    """
    if isinstance(output, Tensor):
        return output
    named = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if isinstance(named, Tensor):
        return named
    for tensor in tensors_in(output):
        if tensor.is_floating_point() and tensor.ndim >= 1 and n_rows in (None, tensor.shape[0]):
            return tensor
    return None


def rows_as_matrix(value: Any, *, n_rows: int) -> tuple[Tensor, ...]:
    """Each tensor with a row for each row of the batch, flattened to (n_rows, -1) float32."""
    return tuple(
        tensor.detach().reshape(n_rows, -1).to(torch.float32)
        for tensor in tensors_in(value)
        if tensor.ndim >= 2 and tensor.shape[0] == n_rows and tensor.numel() > 0
    )


def row_prints(value: Any, *, n_rows: int) -> tuple[int, ...]:
    """A fingerprint of each row's values: rows of equal values have equal ones."""
    rows = [one.cpu().contiguous().numpy() for one in rows_as_matrix(value, n_rows=n_rows)]
    return tuple(hash(tuple(one[i].tobytes() for one in rows)) for i in range(n_rows))


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with the names of the model inside the wrappers."""
    return {
        name.removeprefix("module.").removeprefix("_orig_mod."): value
        for name, value in state.items()
    }


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, (tuple, list)):
        return value
    if isinstance(value, Mapping):
        return value.values()
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, one.name) for one in fields(value)]
    return ()
