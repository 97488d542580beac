"""What a script does to the weights between steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from everyclass.capture.between_steps import BetweenSteps


def factor(change: Callable[[Tensor], object], *, every: int = 1) -> float:
    torch.manual_seed(0)
    watch = BetweenSteps()
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(15):
        watch.network_begins()
        model(torch.randn(4, 6)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        watch.after_step(optimizer)
        if step % every == 0:
            with torch.no_grad():
                for one in model.parameters():
                    change(one)
    return watch.factor()


@pytest.mark.parametrize("wanted", [0.99, 0.9999, 1.02])
def test_one_factor_on_all_weights_is_read(wanted: float) -> None:
    assert factor(lambda one: one.mul_(wanted)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: None,
        lambda one: one.clamp_(-0.1, 0.1),
        lambda one: one.add_(0.01 * torch.randn_like(one)),
    ],
)
def test_nothing_and_what_is_no_factor(change: Callable[[Tensor], object]) -> None:
    assert factor(change) == 1.0


def test_now_and_then_is_not_each_step() -> None:
    assert factor(lambda one: one.mul_(0.5), every=10) == 1.0
    assert BetweenSteps().factor() == 1.0
