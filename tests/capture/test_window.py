"""Training or evaluation: decided by gradients alone."""

from __future__ import annotations

import torch

from everyclass.capture.losses import bind_loss
from everyclass.capture.models import ModelCall
from everyclass.capture.window import LARGEST_WINDOW, LossRecord, Window


def record(line: int, *, gradients: bool = True, reached: bool = False) -> LossRecord:
    call = bind_loss("cross_entropy", (torch.zeros(2, 3), torch.tensor([0, 1])), {})
    assert call is not None
    return LossRecord(
        call=call,
        site=("train.py", line),
        step=0,
        gradients=gradients,
        differentiable=gradients,
        reached=reached,
    )


def settled(window: Window, *records: LossRecord, stepped: bool = True) -> list[bool]:
    for one in records:
        assert not window.add(one)
    return [training for _, training in window.settle(stepped=stepped).records]


def test_what_a_backward_pass_reached_trains_the_rest_evaluates() -> None:
    window = Window()
    first = settled(window, record(9), record(5, reached=True), record(5, reached=True))
    assert first == [False, True, True]
    assert window.ever_reached
    assert window.add(record(9, gradients=False))
    assert settled(window, record(9), stepped=False) == [False]


def test_a_loss_cut_off_from_its_backward_pass_still_trains() -> None:
    # The line of the last loss before the step, whether it was differentiable or not.
    window = Window()
    validation = [record(9, gradients=False), record(9, gradients=False)]
    assert settled(window, *validation, record(5)) == [False, False, True]
    assert settled(window, *validation, record(5, gradients=False)) == [False, False, True]


def test_without_any_step_differentiable_losses_train() -> None:
    window = Window()
    assert settled(window, record(9, gradients=False), record(5), stepped=False) == [False, True]


def test_inputs_that_are_optimised_are_no_training() -> None:
    attack = record(5, reached=True)
    attack.model_call = ModelCall(
        module=torch.nn.Linear(2, 2), gradients=True, training_mode=True, attacked=True
    )
    assert settled(Window(), attack, record(6, reached=True)) == [False, True]


def test_the_newest_of_a_full_window_waits_for_its_backward_pass() -> None:
    window = Window()
    for _ in range(LARGEST_WINDOW):
        window.add(record(5, reached=True))
    window.waiting[-1].reached = False
    assert window.full
    decided = window.settle(stepped=False, all_but_last=True)
    assert [training for _, training in decided.records] == [True] * (LARGEST_WINDOW - 1)
    assert len(window.waiting) == 1


def test_the_hook_marks_and_tells() -> None:
    told = []
    one = record(5)
    one.on_backward = lambda: told.append(True)
    loss = torch.zeros(1, requires_grad=True) * 2
    loss.register_hook(one.mark_reached)
    loss.sum().backward()
    assert one.reached
    assert told == [True]


def test_a_loss_an_image() -> None:
    one = record(5)
    assert one.mean_loss() is None
    one.value = torch.tensor([1.0, 3.0])
    assert one.mean_loss() == 2.0
    call = bind_loss(
        "cross_entropy", (torch.zeros(2, 3), torch.tensor([0, 1])), {"reduction": "sum"}
    )
    assert call is not None
    one.call, one.value = call, torch.tensor(3.0)
    assert one.mean_loss() == 1.5
