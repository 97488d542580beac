"""`everyclass.watch`: seen without a call, and nothing changed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import everyclass
from everyclass.errors import InputError


def train(steps: int, *, rate: float = 0.1) -> tuple[list[float], nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    return loop(model, optimizer, steps), model, optimizer


def loop(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        x, y = batch()
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


def batch() -> tuple[Tensor, Tensor]:
    x = torch.randn(32, 8)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def test_a_watched_training_is_bit_identical_and_seen() -> None:
    plain, _, _ = train(150)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with everyclass.watch(model, optimizer) as watching:
        watched = loop(model, optimizer, 150)
    assert watched == plain
    summary = watching.summary()
    assert (summary.verdict, summary.step) == ("healthy", 150)
    assert summary.figures is not None
    case = watching.case()
    assert case is not None
    assert case.model is model
    # The patches are gone.
    assert not hasattr(functional.cross_entropy, "__wrapped__")


def test_a_stuck_training_is_told_at_once() -> None:
    told = []
    torch.manual_seed(0)
    model = nn.Linear(8, 3)
    with torch.no_grad():
        model.weight.zero_()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with everyclass.watch(model, optimizer, on_finding=told.append) as watching:
        loop(model, optimizer, 250)
    assert told
    assert watching.findings()[0].severity == "alarm"
    assert watching.summary().verdict in ("collapsed", "not-learning")


def test_a_frozen_model_is_refused() -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.requires_grad_(False)
    with pytest.raises(InputError, match="no parameter"), everyclass.watch(model, optimizer):
        pass
