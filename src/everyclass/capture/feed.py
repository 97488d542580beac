"""Gives passes to the monitor, keeps their batches, and counts them.

Comes in: readings of losses, with the call of the network they belong to. Goes out: a fed
`Monitor`, a filled `Reservoir`, the labels in their order. Knows no script and no patch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor

from everyclass.capture.facts import Facts
from everyclass.capture.losses import Reading
from everyclass.capture.models import ModelCall
from everyclass.capture.readings import is_binary
from everyclass.capture.reservoir import KeptBatch, Reservoir
from everyclass.capture.window import LossRecord
from everyclass.diagnosis.nested import plain
from everyclass.monitoring.monitor import Monitor

LABELLED_STEPS = 2_000
"""Steps whose labels are kept in order."""

LABEL_BYTES = 64 * 2**20


class Feed:
    """Where watched passes go.

    Args:
        facts: gets the counts.
        reservoir: gets the batches.
        make_monitor: called with the first training pass.
    """

    def __init__(
        self, *, facts: Facts, reservoir: Reservoir, make_monitor: Callable[[Reading], Monitor]
    ) -> None:
        self.monitor: Monitor | None = None
        self.labels: list[tuple[int, Tensor]] = []
        self.columns = 0
        self._facts = facts
        self._reservoir = reservoir
        self._make_monitor = make_monitor
        self._label_bytes = 0

    def train(
        self, reading: Reading, loss: Tensor | None, call: ModelCall | None, *, step: int
    ) -> None:
        """One training pass, with `step` optimizer steps done."""
        self._facts.training += 1
        if call is not None and not call.training_mode:
            self._facts.eval_mode_training += 1
        if step < LABELLED_STEPS and self._label_bytes < LABEL_BYTES:
            targets = reading.targets.clone()
            self._label_bytes += targets.numel() * targets.element_size()
            self.labels.append((step, targets))
        self.columns = reading.scores.shape[1]
        if self.monitor is None:
            self.monitor = self._make_monitor(reading)
        with _full_precision(reading.scores):
            self.monitor.observe(reading.scores, reading.targets, loss, kind=reading.kind)

    def evaluate(self, reading: Reading, call: ModelCall | None) -> bool:
        """One evaluation pass. Returns whether it was taken: not before training has begun."""
        if self.monitor is None:
            return False
        self._facts.evaluation += 1
        if call is not None and call.training_mode:
            self._facts.train_mode_evaluation += 1
        with _full_precision(reading.scores):
            self.monitor.observe_evaluation(reading.scores, reading.targets, kind=reading.kind)
        return True

    def keep(self, record: LossRecord, *, training: bool) -> None:
        """Keep the batch of a loss, if the reservoir wanted it."""
        if record.copied is None:
            return
        value = record.value
        self._keep(
            record.model_call,
            inputs=record.copied[0],
            targets=record.copied[1],
            loss=value if value is not None and value.dim() == 0 else None,
            step=record.step,
            number=record.number,
            training=training,
        )

    def keep_parts(self, record: LossRecord) -> None:
        """Keep the batches of an evaluation that was judged at once, those the reservoir wanted."""
        for call, start, stop in record.parts:
            if call.kept is not None and len(record.call.targets) >= stop:
                self._keep(
                    call,
                    inputs=to_host(record.call.inputs[start:stop]),
                    targets=to_host(record.call.targets[start:stop]),
                    loss=None,
                    step=record.step,
                    number=call.number,
                    training=False,
                )

    def keep_call(self, call: ModelCall, reading: Reading, *, step: int, training: bool) -> None:
        """Keep the batch of a call without a loss, if the reservoir wanted it."""
        if call.kept is not None:
            # A loss of the script's own wants its targets as they were, of type and shape.
            given, targets = call.targets, reading.targets
            self._keep(
                call,
                inputs=to_host(reading.scores),
                targets=to_host(given if given is not None and is_binary(given) else targets),
                loss=None,
                step=step,
                number=call.number,
                training=training,
            )

    def _keep(
        self,
        call: ModelCall | None,
        *,
        inputs: Tensor,
        targets: Tensor,
        loss: Tensor | None,
        step: int,
        number: int,
        training: bool,
    ) -> None:
        kept = None if call is None else call.kept
        batch = KeptBatch(
            args=None if kept is None else kept[0],
            keywords={} if kept is None else kept[1],
            outputs=inputs,
            targets=targets,
            model_outputs=() if call is None else tuple(to_host(o) for o in call.outputs[:2]),
            model_training=None if call is None else call.training_mode,
            loss=loss,
            step=step,
            number=number,
        )
        self._reservoir.add(batch, training=training)


def to_host(tensor: Tensor) -> Tensor:
    """A copy on the CPU that nothing else changes."""
    tensor = tensor.detach()
    tensor = tensor if (own := plain(tensor)) is None else own
    return tensor.clone() if tensor.device.type == "cpu" else tensor.to("cpu")


def _full_precision(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    # Inside a script's autocast the monitor's sums would be taken in 8 bits of mantissa.
    kind = tensor.device.type
    if not torch.is_autocast_enabled(kind):
        return contextlib.nullcontext()
    return torch.autocast(kind, enabled=False)
