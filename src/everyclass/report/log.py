"""The epochs of a training. Comes in: `metrics.jsonl`. Goes out: `Epoch`s, in order."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass, judged on validation images. NaN where a figure is not known.

    Attributes:
        number: from 1.
        step: optimizer steps done at its end.
        train_loss, val_loss: nats an image.
        balanced_accuracy: in [0, 1].
        recalls: by class name.
        best: its weights were the best so far.
    """

    number: int
    step: int
    train_loss: float
    val_loss: float
    balanced_accuracy: float
    recalls: Mapping[str, float]
    best: bool


def read_epochs(path: Path) -> tuple[Epoch, ...]:
    """The epochs of a log; none without it. A line cut off by a kill is left out."""
    lines: list[object] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
    return epochs_of(lines)


def epochs_of(lines: Iterable[object]) -> tuple[Epoch, ...]:
    """The lines that tell of a whole epoch; others, and broken ones, are left out."""
    found = []
    for line in lines:
        if not isinstance(line, Mapping) or "epoch" not in line or "val_loss" not in line:
            continue
        recalls = line.get("recall")
        found.append(
            Epoch(
                number=int(line["epoch"]) + 1,
                step=int(line.get("step", 0)),
                train_loss=_number(line.get("train_loss")),
                val_loss=_number(line.get("val_loss")),
                balanced_accuracy=_number(line.get("balanced_accuracy")),
                recalls={
                    str(name): _number(value)
                    for name, value in (recalls if isinstance(recalls, Mapping) else {}).items()
                },
                best=line.get("best") is True,
            )
        )
    return tuple(sorted(found, key=lambda one: one.step))


def _number(value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else math.nan
