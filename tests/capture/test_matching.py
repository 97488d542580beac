"""Which loss judges which answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from everyclass.capture.facts import Facts
from everyclass.capture.losses import bind_loss
from everyclass.capture.matching import main_losses, match_call
from everyclass.capture.models import ModelCall
from everyclass.capture.window import LossRecord

LAYER = nn.Linear(2, 2)


def call(*outputs: Tensor, gradients: bool = True) -> ModelCall:
    return ModelCall(module=LAYER, gradients=gradients, training_mode=True, outputs=outputs)


def record(inputs: Tensor, *, line: int = 1, position: int = -1) -> LossRecord:
    bound = bind_loss("cross_entropy", (inputs, torch.zeros(len(inputs)).long()), {})
    assert bound is not None
    return LossRecord(call=bound, site=("train.py", line), step=0, position=position)


def test_the_open_call_comes_first() -> None:
    one = record(torch.zeros(2, 3))
    running = call()
    match_call(one, running, [call(one.call.inputs)])
    assert one.model_call is running
    assert running.used


def test_an_output_is_known_by_its_place_in_memory() -> None:
    first, second = torch.zeros(2, 3), torch.zeros(2, 3)
    calls = [call(torch.zeros(2, 5), first), call(second)]
    one = record(first)
    match_call(one, None, calls)
    assert (one.model_call, one.position, one.fits_call) == (calls[0], 1, True)


def test_a_new_tensor_belongs_to_the_last_fresh_call_of_as_many_rows() -> None:
    calls = [
        call(torch.zeros(2, 3)),
        call(torch.zeros(2, 3)),
        call(torch.zeros(4, 3)),
        call(torch.zeros(2, 3), gradients=False),
    ]
    one, two, three = (record(torch.zeros(2, 3)) for _ in range(3))
    for each in (one, two, three):
        match_call(each, None, calls)
    assert [each.model_call for each in (one, two, three)] == [calls[1], calls[0], calls[2]]
    assert [each.fits_call for each in (one, two, three)] == [True, True, False]


def test_the_first_output_is_the_main_one_and_each_answer_counts_once() -> None:
    facts = Facts()
    answer, again = call(), call()
    auxiliary = record(torch.zeros(2, 3), line=1, position=1)
    main = record(torch.zeros(2, 3), line=2, position=0)
    mixed = record(torch.zeros(2, 3), line=2, position=0)
    other = record(torch.zeros(2, 3), line=2, position=0)
    auxiliary.model_call = main.model_call = mixed.model_call = answer
    other.model_call = again
    found, chosen = main_losses((auxiliary, main, mixed, other), None, facts)
    assert found is main
    assert chosen == (main, other)
    assert len(facts.notes) == 2
    assert main_losses((), main, facts) == (main, ())
    moved = record(torch.zeros(2, 3), line=3, position=0)
    assert main_losses((moved,), main, facts) == (moved, (moved,))
    assert any("changed its place" in note for note in facts.notes)
