from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from everyclass.training.optim import build_optimizer, learning_rate_at


def rates(schedule: str, warmup: float = 0.0) -> list[float]:
    return [
        learning_rate_at(step, n_steps=100, peak=2.0, schedule=schedule, warmup_fraction=warmup)
        for step in range(100)
    ]


def test_constant_stays() -> None:
    assert set(rates("constant")) == {2.0}


def test_cosine_by_hand() -> None:
    # Half-way through, cos(pi/2) = 0: half the peak; a quarter: 0.5 * (1 + cos(pi/4)) * 2.
    found = rates("cosine")
    assert found[0] == 2.0
    assert found[50] == pytest.approx(1.0)
    assert found[25] == pytest.approx(1 + math.cos(math.pi / 4))
    assert found == sorted(found, reverse=True)


def test_step_divides_by_ten_twice() -> None:
    found = rates("step")
    assert found[59] == 2.0
    assert found[60] == pytest.approx(0.2)
    assert found[84] == pytest.approx(0.2)
    assert found[85] == pytest.approx(0.02)


def test_exponential_ends_near_one_percent() -> None:
    found = rates("exponential")
    assert found[50] == pytest.approx(2.0 * 0.1)
    assert found[99] == pytest.approx(2.0 * 0.01**0.99)


def test_warmup_rises_in_equal_steps_and_meets_the_schedule() -> None:
    found = rates("cosine", warmup=0.1)
    assert found[:10] == pytest.approx([2.0 * (k + 1) / 11 for k in range(10)])
    assert found[10] == pytest.approx(2.0)


def test_decay_spares_biases_and_norms() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    optimizer = build_optimizer("adamw", module, learning_rate=0.1, momentum=0.9, weight_decay=0.05)
    decayed, spared = optimizer.param_groups
    assert decayed["weight_decay"] == 0.05
    assert spared["weight_decay"] == 0.0
    assert {tuple(p.shape) for p in decayed["params"]} == {(4, 3, 3, 3), (2, 4)}
    assert len(spared["params"]) == 4


def test_frozen_parameters_stay_out() -> None:
    module = nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    optimizer = build_optimizer("sgd", module, learning_rate=0.1, momentum=0.0, weight_decay=0.0)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 1
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["nesterov"] is False
