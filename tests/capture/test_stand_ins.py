"""Optimizers that stand for fastai's, and for updates that a script writes by hand."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW

from everyclass.capture.patches import Patches
from everyclass.capture.session import Session
from everyclass.capture.stand_ins import LOOKED_AT_STEPS, FastaiOptimizers, HandUpdates


def average_grad() -> None: ...
def average_sqr_grad() -> None: ...
def weight_decay() -> None: ...
def l2_reg() -> None: ...


class Fastai:
    """The part of fastai's interface that is read."""

    def __init__(self, network: nn.Module, *cbs: Any, **hyper: float) -> None:
        self.cbs = cbs
        self.param_lists = [list(network.parameters())]
        self.hypers = [dict(hyper)]
        self.state: dict[Tensor, dict[str, Any]] = defaultdict(dict)


def test_fastais_settings_become_torchs() -> None:
    network = nn.Linear(4, 3)
    own = Fastai(
        *(network, weight_decay, average_grad, average_sqr_grad),
        lr=0.1,
        mom=0.8,
        sqr_mom=0.98,
        eps=1e-4,
        wd=0.02,
    )
    own.state[network.bias]["do_wd"] = False
    optimizers = FastaiOptimizers()
    made, new = optimizers.stand_in(own)
    assert new
    assert type(made) is AdamW
    decayed, plain = made.param_groups
    assert decayed["params"] == [network.weight]
    assert (decayed["lr"], decayed["betas"], decayed["eps"]) == (0.1, (0.8, 0.98), 1e-4)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.02, 0.0)
    own.hypers[0]["lr"] = 0.05
    again, new = optimizers.stand_in(own)
    assert again is made
    assert not new
    assert [group["lr"] for group in made.param_groups] == [0.05, 0.05]


@pytest.mark.parametrize(
    ("cbs", "kind"), [((l2_reg, average_grad, average_sqr_grad), Adam), ((average_grad,), SGD)]
)
def test_the_rule_decides_the_kind(cbs: tuple[Any, ...], kind: type) -> None:
    made, _ = FastaiOptimizers().stand_in(Fastai(nn.Linear(4, 3), *cbs, lr=0.1, mom=0.9, wd=0.0))
    assert type(made) is kind


def passes(network: nn.Module, update: Any, count: int) -> HandUpdates:
    torch.manual_seed(0)
    own = HandUpdates()
    inputs, targets = torch.randn(32, 6), torch.randint(0, 3, (32,))
    seen = 0
    for _ in range(count):
        seen += own.pass_begins(network)
        F.cross_entropy(network(inputs), targets).backward()
        with torch.no_grad():
            for parameter in network.parameters():
                update(parameter)
                parameter.grad = None
    assert seen == (0 if own.optimizer is None else count - 1)
    return own


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_plain_descent_is_recognised_with_its_rate(decay: float) -> None:
    def update(parameter: Tensor) -> None:
        assert parameter.grad is not None
        parameter.data -= 0.05 * (parameter.grad + decay * parameter)

    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    own = passes(network, update, LOOKED_AT_STEPS + 4)
    assert own.optimizer is not None
    (group,) = own.optimizer.param_groups
    assert group["lr"] == pytest.approx(0.05, rel=1e-3)
    assert group["weight_decay"] == pytest.approx(decay, rel=2e-2)
    assert {id(one) for one in group["params"]} == {id(one) for one in network.parameters()}
    assert "without an optimizer" in own.note
    hooks = [one._post_accumulate_grad_hooks for one in network.parameters()]
    assert not any(hooks)  # nothing is left on the network


def test_another_rule_is_told_as_unknown() -> None:
    network = nn.Linear(6, 3)
    own = passes(network, lambda one: one.data.sub_(0.01 * one.grad.sign()), 4)
    assert own.optimizer is not None
    assert "not plain gradient descent" in own.note


def test_weights_that_rest_are_no_updates() -> None:
    assert passes(nn.Linear(6, 3), lambda one: None, 4).optimizer is None


def test_a_session_leaves_no_hook_on_the_weights() -> None:
    network = nn.Linear(6, 3)
    session = Session()
    patches = Patches(session)
    patches.install()
    try:
        for _ in range(4):
            F.cross_entropy(network(torch.randn(8, 6)), torch.randint(0, 3, (8,))).backward()
            with torch.no_grad():
                for parameter in network.parameters():
                    assert parameter.grad is not None
                    parameter -= 0.1 * parameter.grad
            network.zero_grad()
        assert session.steps == 2
        assert any(one._post_accumulate_grad_hooks for one in network.parameters())
        session.end()
    finally:
        patches.remove()
    assert not any(one._post_accumulate_grad_hooks for one in network.parameters())
