"""Whether gradients start afresh."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from everyclass.capture.gradients import LOOKED_AT_STEPS, GradientWatch


def watched(*, clear: str) -> GradientWatch:
    watch, layer = GradientWatch(), nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    for step in range(LOOKED_AT_STEPS + 5):
        if clear:
            optimizer.zero_grad(set_to_none=clear == "none")
        watch.backward_begins()
        layer(torch.tensor([[3.0, 4.0]])).sum().backward()
        optimizer.step()
        watch.after_step(optimizer, step)
    return watch


@pytest.mark.parametrize(("clear", "cleared"), [("none", True), ("zero", True), ("", False)])
def test_old_gradients_are_told_from_none_and_from_zero(clear: str, cleared: bool) -> None:
    watch = watched(clear=clear)
    assert watch.cleared() is cleared
    norms = watch.norms()
    assert len(norms) == LOOKED_AT_STEPS
    # The gradient is (3, 4), of norm 5; without clearing it is added once more each step.
    assert norms[2] == (2, pytest.approx(5.0 if cleared else 15.0))


def test_nobody_looked() -> None:
    assert GradientWatch().cleared() is None
    assert GradientWatch().norms() == ()
