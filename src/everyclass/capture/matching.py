"""Which loss judges which answer of the network, and which of several losses is the one to watch.

Comes in: losses, calls. Goes out: losses that know their call, and the chosen ones. Feeds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch

from everyclass.capture.facts import Facts
from everyclass.capture.models import ModelCall
from everyclass.capture.window import LossRecord


def match_call(
    record: LossRecord, open_call: ModelCall | None, recent: Iterable[ModelCall]
) -> None:
    """Find the call whose answer the loss judges, and note it in the record.

    The call that still runs (the network computes its own loss); else one whose output the loss
    got, by its place in memory; else the last one of as many rows that no loss has judged (what
    stands between them made a new tensor); else the last one.

    Args:
        record: gets `model_call`, `position` and `fits_call`.
        open_call: None when no network runs.
        recent: calls that have ended, in their order.
    """
    call = open_call
    if call is None:
        latest = list(recent)[::-1]
        call, record.position = _by_memory(record, latest)
        if call is None:
            fresh = [one for one in latest if not one.used and one.gradients == record.gradients]
            fitting = [one for one in fresh if one.rows == len(record.call.inputs)]
            call = next(iter((*fitting, *fresh)), None)
            record.fits_call = bool(fitting) or call is None
            if not record.fits_call and not record.gradients:
                record.parts = tuple(_joined(record, fresh))
                for part, _, _ in record.parts:
                    part.used = True
    if call is not None:
        call.used = True
        record.model_call = call


def _joined(
    record: LossRecord, latest: Sequence[ModelCall]
) -> Iterator[tuple[ModelCall, int, int]]:
    """The last calls whose answers the loss judges at once, with their rows, the last one first;
    none where the numbers are others."""
    inputs = record.call.inputs
    stop = len(inputs)
    for call in latest:
        answer = call.outputs[0] if call.outputs else None
        start = stop - call.rows
        if answer is None or call.rows < 1 or start < 0 or answer.shape[1:] != inputs.shape[1:]:
            return
        # Where a look makes nobody wait; elsewhere the numbers of rows have to do.
        if answer.device.type == "cpu" and not torch.equal(answer, inputs[start:stop]):
            return
        yield call, start, stop
        stop = start


def main_losses(
    own: tuple[LossRecord, ...], main: LossRecord | None, facts: Facts
) -> tuple[LossRecord | None, tuple[LossRecord, ...]]:
    """Of several training losses of one network the main ones: one for each of its answers.

    Auxiliary heads, second terms and the second half of mixed labels are left out, and said.

    Args:
        own: in the order they were computed.
        main: the one chosen before, None at first.
        facts: gets the notes.
    Returns:
        The main loss from now on, and the chosen ones.
    """
    if not own:
        return main, ()
    if main is None or not any(one.same_role(main) for one in own):
        if main is not None:
            facts.note("The loss that trains changed its place in the script.")
        main = min(own, key=lambda one: one.position if one.position >= 0 else 99)
    chosen, judged = [], set[int]()
    for one in own:
        if not one.same_role(main):
            facts.note(
                "Other losses are computed from the same network; watched is the one of "
                f"{main.call.name} on its first output."
            )
        elif one.model_call is not None and id(one.model_call) in judged:
            facts.note(
                "One answer reached the loss several times (mixed labels, or a second term): its "
                "first targets are watched."
            )
        else:
            judged.add(id(one.model_call))
            chosen.append(one)
    return main, tuple(chosen)


def _by_memory(record: LossRecord, latest: list[ModelCall]) -> tuple[ModelCall | None, int]:
    for one in latest:
        position = one.position_of(record.call.inputs)
        if position is not None:
            return one, position
    return None, -1
