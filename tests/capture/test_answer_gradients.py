"""What gradients with respect to the answers tell: whether they come, and class weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everyclass.capture.answer_gradients import AnswerGradients

WEIGHT = torch.tensor([0.5, 1.0, 2.5, 0.0])


def watched(loss: Callable[[Tensor, Tensor], Tensor], *, calls: int = 1) -> AnswerGradients:
    torch.manual_seed(0)
    watch, layer = AnswerGradients(), nn.Linear(6, 4)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(6):
        targets = torch.randint(0, 4, (32,))
        optimizer.zero_grad()
        for _ in range(calls):
            output = layer(torch.randn(32, 6))
            watch.network_answers([output])
            (loss(output, targets) + layer.weight.square().sum()).backward()
        optimizer.step()
        watch.step_ends(targets)
    return watch


def by_row(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = F.cross_entropy(outputs, targets, reduction="none")
    return 128 * (losses * WEIGHT[targets]).sum()


def focal(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = F.cross_entropy(outputs, targets, reduction="none")
    return ((1 - torch.exp(-losses)) ** 2 * losses).mean()


@pytest.mark.parametrize(
    "loss", [by_row, lambda z, y: F.nll_loss(F.log_softmax(z, dim=1), y, weight=WEIGHT)]
)
def test_class_weights_are_read_wherever_they_are_applied(
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    found = watched(loss).class_weights(4)
    assert found is not None
    assert torch.allclose(found, WEIGHT, atol=0.1)


@pytest.mark.parametrize(
    "loss",
    [
        F.cross_entropy,  # all alike
        focal,  # by how well a row is known
        lambda z, y: F.cross_entropy(z, y, label_smoothing=0.2),
        lambda z, y: F.mse_loss(z, F.one_hot(y, 4).float()),
        lambda z, y: -F.cross_entropy(z, y, weight=WEIGHT),
    ],
)
def test_other_losses_show_none(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert watched(loss).class_weights(4) is None


def test_a_class_that_was_not_met_and_steps_of_several_passes_tell_nothing() -> None:
    assert watched(by_row).class_weights(5) is None
    assert watched(by_row, calls=2).class_weights(4) is None


@pytest.mark.parametrize(("detached", "reached"), [(False, True), (True, False)])
def test_gradients_come_by_way_of_the_answer_or_from_a_penalty(
    detached: bool, reached: bool
) -> None:
    watch = watched(lambda z, y: F.cross_entropy(z.detach() if detached else z, y))
    assert watch.reached() is reached
    assert AnswerGradients().reached() is None
