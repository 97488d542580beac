"""Readings of passes whose loss was not seen: the network's output and the batch's targets.

Comes in: a `ModelCall` that knows the targets of its batch. Goes out: scores and targets for the
monitor, or None when the output cannot be scores of these targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from everyclass.capture.losses import LossCall, Reading, read_loss
from everyclass.capture.models import ModelCall

LOOKS = 3
"""Passes whose targets are read to tell class scores from other outputs."""


class HandWritten:
    """Training passes whose loss is none of torch's.

    An embedding has outputs and integer targets too. So without log-probabilities the number of
    columns has to be about the number of labels, and of a single output the targets have to be 0
    and 1; looked at in the first passes only.
    """

    def __init__(self) -> None:
        self.last: tuple[Tensor, Tensor] | None = None
        self._looked = 0
        self._largest_label = 0

    def read(self, call: ModelCall) -> Reading | None:
        """The pass as logits and class ids."""
        if call.targets is None or call.used:
            return None
        if is_binary(call.targets):
            return self._read_binary(call)
        scores = call.log_probs if call.log_probs is not None else class_scores(call)
        if scores is None or len(scores) != len(call.targets):
            return None
        if self._looked < LOOKS and not self._plausible(call, scores):
            return None
        self._looked += 1
        reading = as_logits(scores, call.targets)
        self.last = reading.scores, reading.targets
        return reading

    def _read_binary(self, call: ModelCall) -> Reading | None:
        assert call.targets is not None
        reading = binary_reading(call)
        if reading is None:
            return None
        if self._looked < LOOKS and not bool(((call.targets == 0) | (call.targets == 1)).all()):
            return None
        self._looked += 1
        self.last = reading.scores, reading.targets
        return reading

    def _plausible(self, call: ModelCall, scores: Tensor) -> bool:
        assert call.targets is not None
        low, high = int(call.targets.min()), int(call.targets.max())
        self._largest_label = max(self._largest_label, high)
        if low < 0 or high >= scores.shape[1]:
            return False
        return call.log_probs is not None or scores.shape[1] <= 2 * (self._largest_label + 1)


def read_like(call: ModelCall, main: LossCall | None) -> Reading | None:
    """An evaluation pass as the training loss would read it.

    Args:
        main: a call of the training loss; None when it is written by hand.
    """
    assert call.targets is not None
    if main is None and is_binary(call.targets):
        return binary_reading(call)
    if main is None:
        scores = class_scores(call)
        return None if scores is None else as_logits(scores, call.targets)
    columns = main.inputs.shape[1] if main.inputs.dim() > 1 else 1
    scores = call.scores(columns)
    if scores is None:
        return None
    targets = call.targets.to(scores.device, non_blocking=True)
    if main.name not in ("cross_entropy", "nll_loss", "multi_margin_loss"):
        if columns > 1:
            targets = nn.functional.one_hot(targets.long(), columns)
        targets = targets.to(scores.dtype)
    read = read_loss(
        LossCall(name=main.name, inputs=scores, targets=targets, options={}), look=False
    )
    return None if isinstance(read, str) else read


def the_one(candidates: Sequence[Tensor], rows: int) -> Tensor | None:
    """The only one with so many rows; None where there is none, or several."""
    fitting = [one for one in candidates if len(one) == rows]
    return fitting[0] if len(fitting) == 1 else None


def is_binary(targets: Tensor) -> bool:
    """Whether targets are of a type that class ids do not have."""
    return targets.is_floating_point() or targets.dtype is torch.bool


def binary_reading(call: ModelCall) -> Reading | None:
    """A single output an image, (B,) or (B, 1), as the logit of the second of two classes.

    Returns:
        None when the network answers otherwise.
    """
    z = call.scores(1)
    if z is None or call.targets is None or len(z) != len(call.targets):
        return None
    z = z.reshape(-1)
    targets = call.targets.detach().to(z.device, non_blocking=True).reshape(-1) > 0.5
    return Reading(
        scores=torch.stack([torch.zeros_like(z), z], 1), targets=targets.long(), kind="logits"
    )


def as_logits(scores: Tensor, targets: Tensor) -> Reading:
    """(B, C) scores with their targets on the same device."""
    return Reading(
        scores=scores,
        targets=targets.detach().to(scores.device, non_blocking=True).long(),
        kind="logits",
    )


def class_scores(call: ModelCall) -> Tensor | None:
    """The first (B, C) output with C > 1."""
    return next((one for one in call.outputs if one.dim() == 2 and one.shape[1] > 1), None)
