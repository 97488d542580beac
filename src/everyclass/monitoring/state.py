"""What a monitor remembers, as plain values that a checkpoint can hold, and back.

Comes in: the records of `rounds`, `alarms`, `phases` and `evaluations`. Goes out: dicts, lists,
numbers and tensors, which `torch.load(..., weights_only=True)` reads without running anybody's
code; and the same records again. Knows no file and no monitor.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields, is_dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from everyclass import findings
from everyclass.monitoring import alarms, evaluations, measures, phases, rounds
from everyclass.stats import sequential

SMALL = 10_000
"""Counts of which all are kept. Of more only those that are not 0: a confusion of 5,000 classes has
25 million, and as many that are not 0 as there are images at the most."""


@dataclass(slots=True)
class Waiting:
    """Passes that were not read yet."""

    scores: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    losses: list[Tensor | None] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    kept: int = 0


@dataclass(slots=True)
class OnItsWay:
    """A block whose sums travel to the host while the device goes on."""

    packed: Tensor
    steps: list[int]
    given: list[bool]
    arrived: torch.cuda.Event | None

    def landed(self) -> OnItsWay:
        """The same on the host, waited for."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return OnItsWay(self.packed.cpu(), self.steps, self.given, None)


def plain(value: Any) -> Any:
    """The value in dicts, lists, numbers, texts and tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.ndarray) and value.size > SMALL and value.dtype == np.int64:
        flat = value.ravel()
        filled = np.flatnonzero(flat)
        if 2 * len(filled) < value.size:
            cells, counts = torch.from_numpy(filled), torch.from_numpy(flat[filled])
            return {"cells": cells, "counts": counts, "shape": list(value.shape)}
    if isinstance(value, np.ndarray):
        return {"array": torch.from_numpy(np.ascontiguousarray(value).copy())}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [plain(one) for one in value]}
    if isinstance(value, deque):
        return {"deque": [plain(one) for one in value], "longest": value.maxlen}
    if isinstance(value, dict):
        return {"dict": [(key, plain(one)) for key, one in value.items()]}
    if is_dataclass(value):
        own = {one.name: plain(getattr(value, one.name)) for one in fields(value)}
        return {"record": type(value).__name__, "fields": own}
    assert value is None or isinstance(value, (bool, int, float, str)), type(value)
    return value


def revived(value: Any, device: torch.device) -> Any:
    """The inverse of `plain`.

    Args:
        device: where tensors go; arrays stay on the host.
    """
    if isinstance(value, Tensor):
        return value.to(device)
    if not isinstance(value, dict):
        return value
    if "cells" in value:
        whole = np.zeros(value["shape"], dtype=np.int64)
        whole.ravel()[value["cells"].numpy()] = value["counts"].numpy()
        return whole
    if "array" in value:
        return value["array"].numpy()
    if "list" in value:
        return [revived(one, device) for one in value["list"]]
    if "tuple" in value:
        return tuple(revived(one, device) for one in value["tuple"])
    if "deque" in value:
        return deque((revived(one, device) for one in value["deque"]), maxlen=value["longest"])
    if "dict" in value:
        return {key: revived(one, device) for key, one in value["dict"]}
    kind = _RECORDS[value["record"]]
    record: Any = object.__new__(kind)  # not through __init__: it would begin anew
    for name, one in value["fields"].items():
        object.__setattr__(record, name, revived(one, device))
    return record


def _records(*modules: ModuleType) -> dict[str, type]:
    found = {
        name: kind
        for module in modules
        for name, kind in vars(module).items()
        if isinstance(kind, type) and is_dataclass(kind)
    }
    return {**found, "Waiting": Waiting, "OnItsWay": OnItsWay}


_RECORDS = _records(alarms, evaluations, findings, measures, phases, rounds, sequential)
