"""The moving average: its weights by hand, its integers, its state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from everyclass.training.averaging import MovingAverage


def network(value: float) -> nn.Module:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    for one in [*model.parameters(), *model.buffers()]:
        one.data.fill_(value)
    return model


def values(model: nn.Module) -> set[float]:
    return {round(float(one), 6) for one in model.state_dict().values() if one.is_floating_point()}


@pytest.mark.parametrize(
    ("decay", "shares"), [(0.99, [2 / 11, 3 / 12, 4 / 13]), (0.2, [2 / 11, 0.2, 0.2])]
)
def test_the_share_that_is_kept_grows_to_the_decay(decay: float, shares: list[float]) -> None:
    average = MovingAverage(network(-7.0), decay=decay)
    average.update(network(1.0))
    assert values(average.module) == {1.0}  # copied, whatever it began with
    expected = 1.0
    for value, kept in zip([2.0, 5.0, 3.0], shares, strict=True):
        average.update(network(value))
        expected = kept * expected + (1 - kept) * value
        assert values(average.module) == {round(expected, 6)}
    assert int(average.module[1].num_batches_tracked) == 3  # the model's own: no mean of counts


def test_it_moves_by_as_much_in_fewer_moves() -> None:
    average = MovingAverage(network(0.0), decay=0.99)
    expected, moves = 0.0, set[float]()
    for step in range(1, 2001):
        average.update(network(float(step)))
        kept = 0.0 if step == 1 else min(0.99, step / (9 + step))
        expected = kept * expected + (1 - kept) * step
        moves |= values(average.module)
    assert average.steps == 2000
    assert 200 < len(moves) < 400
    # Behind a line it lies by its reach, 100 steps, and by the 20 that it waits at most.
    assert expected == pytest.approx(1901, abs=1)
    assert values(average.module).pop() == pytest.approx(expected, abs=20)


def test_it_goes_on_from_its_state() -> None:
    first, second = (MovingAverage(network(0.0), decay=0.9) for _ in range(2))
    for value in (1.0, 4.0):
        first.update(network(value))
    second.load_state_dict(first.state_dict())
    for average in (first, second):
        average.update(network(9.0))
    torch.testing.assert_close(first.module.state_dict(), second.module.state_dict())
    assert first.steps == second.steps == 3


def test_the_model_is_left_alone_and_the_average_needs_no_gradients() -> None:
    model = network(1.0)
    average = MovingAverage(model, decay=0.9)
    average.update(network(3.0))
    assert values(model) == {1.0}
    assert all(one.requires_grad for one in model.parameters())
    assert not any(one.requires_grad for one in average.module.parameters())
