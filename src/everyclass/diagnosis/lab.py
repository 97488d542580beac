"""What changes of a training may ask for: the case and what was measured on it.

Comes in: a `Case`, its `Material`, the captured batches in their parts. Goes out: counts and
frequencies of the labels that are trained on. Changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import CapturedBatch, Case
from everyclass.diagnosis.heldout import Parts
from everyclass.diagnosis.material import Material, class_ids, rows_of
from everyclass.findings import CauseId

IMBALANCED = 3.0
"""Ratio of the largest to the smallest class from which a correction is tried."""


@dataclass(frozen=True)
class Lab:
    """What changes may ask for.

    Args:
        case: what is on trial.
        material: measured on it.
        parts: captured batches, on the model's device.
        evaluation: evaluation batches that may be trained on, on the model's device; others judge.
        accused: causes that exact checks accuse.
        seed: of everything that a change draws.
    """

    case: Case
    material: Material
    parts: Parts
    evaluation: tuple[CapturedBatch, ...]
    accused: frozenset[CauseId]
    seed: int = 0

    @cached_property
    def class_counts(self) -> tuple[int, ...]:
        """(C,) labels in the batches that are trained on."""
        counts = np.zeros(max(2, self.case.n_classes or 2), dtype=np.int64)
        for batch in self.parts.training:
            assert batch.targets is not None
            ids = class_ids(batch.targets, ignore=-100)
            if ids is None:
                raise NotApplicable("The targets are no class ids.")
            known = ids[(ids >= 0) & (ids < len(counts))]
            counts += np.bincount(known.numpy(), minlength=len(counts))
        return tuple(int(one) for one in counts)

    def need(self, cause: CauseId, reason: str) -> None:
        """Raise NotApplicable unless a check accuses the cause."""
        if cause not in self.accused:
            raise NotApplicable(reason)

    @cached_property
    def prior(self) -> Tensor:
        """(C,) float32 ln of the class frequencies.

        Raises:
            NotApplicable: the classes are about even.
        """
        counts = self.class_counts
        present = [one for one in counts if one]
        if len(present) < 2 or max(present) < IMBALANCED * min(present):
            raise NotApplicable(f"The classes are about even (ratio below {IMBALANCED:g}).")
        shares = torch.tensor(counts, dtype=torch.float64).clamp(min=0.5)
        return (shares / shares.sum()).log().float()


def ids_of(batch: CapturedBatch) -> Tensor:
    """(B,) int64 class ids, one an image.

    Raises:
        NotApplicable: the targets are something else.
    """
    assert batch.targets is not None
    ids = class_ids(batch.targets, ignore=-100)
    if ids is None or len(ids) != rows_of(batch):
        raise NotApplicable("The targets are not one class an image.")
    return ids
