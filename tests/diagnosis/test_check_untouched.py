"""After a check everything is what it was, bit for bit."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from checks_zoo import adam, batch, bn_cnn, cnn, pixels, sgd, train
from torch import Tensor, nn
from torch.nn import functional

from everyclass.diagnosis.case import CapturedBatch, Case
from everyclass.diagnosis.check import check, check_case
from everyclass.diagnosis.snapshot import borrowed, untouched


def photograph(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "identity": [id(value) for value in (*model.parameters(), *model.buffers())],
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "asks": [p.requires_grad for p in model.parameters()],
        "versions": [value._version for value in (*model.parameters(), *model.buffers())],
        "modes": [module.training for module in model.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "python": random.getstate(),
    }


def same(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert [key for key in before if not same(before[key], after[key])] == []


class Restless(nn.Module):
    """Writes to a buffer, counts, draws from three generators and clips a weight, each forward."""

    def __init__(self) -> None:
        super().__init__()
        self.network = bn_cnn()
        self.register_buffer("seen", torch.zeros(()))
        self.forwards = 0
        self.memory = torch.zeros(4)

    def forward(self, inputs: Tensor) -> Tensor:
        self.forwards += 1
        self.seen += 1
        self.memory += 1
        self.network[9].weight.data.clamp_(-0.1, 0.1)
        noise = torch.randn_like(inputs) * random.random() * np.random.rand()  # noqa: NPY002
        return functional.dropout(self.network(inputs + noise), 0.1, self.training)


@pytest.mark.parametrize("build", [cnn, bn_cnn, Restless])
@pytest.mark.parametrize("mode", [True, False])
def test_a_check_leaves_no_trace(build: Callable[[], nn.Module], mode: bool) -> None:
    model, (images, targets) = build(), batch()
    optimizer = sgd(model)
    train(model, optimizer, images, targets, 3)
    functional.cross_entropy(model(images), targets).backward()  # gradients that must stay
    model.train(mode)
    next(model.children()).train(not mode)
    before = photograph(model, optimizer)
    kept = (images.clone(), targets.clone())
    memory = getattr(model, "memory", torch.zeros(0)).clone()
    forwards = getattr(model, "forwards", 0)
    check(
        model,
        (images, targets),
        functional.cross_entropy,
        optimizer,
        evaluation_batch=batch(seed=1),
        initial=True,
    )
    assert_same(before, photograph(model, optimizer))
    assert torch.equal(images, kept[0])
    assert torch.equal(targets, kept[1])
    assert getattr(model, "forwards", 0) == forwards
    assert torch.equal(getattr(model, "memory", torch.zeros(0)), memory)


def test_training_goes_on_as_if_nothing_had_happened() -> None:
    losses = []
    for checked in (False, True):
        torch.manual_seed(3)
        network = bn_cnn()
        model = nn.Sequential(*network[:9], nn.Dropout(0.3), network[9])
        optimizer, (images, targets) = adam(model), batch()
        found = []
        for step in range(6):
            if checked and step == 3:
                check(model, (images, targets), functional.cross_entropy, optimizer)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(images), targets)
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        losses.append(found)
    assert losses[0] == losses[1]


def test_a_graph_that_the_caller_holds_stays_valid() -> None:
    model, (images, targets) = bn_cnn(), batch()
    for mode in (True, False):
        model.train(mode)
        loss = functional.cross_entropy(model(images), targets)
        check(model, (images, targets), functional.cross_entropy, sgd(model))
        loss.backward()
        assert model[0].weight.grad is not None


def test_a_case_with_broken_weights_is_judged_at_the_start_and_left_as_it_is() -> None:
    model, (images, targets) = bn_cnn(), batch()
    optimizer = sgd(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, optimizer, images, targets, 3)
    with torch.no_grad():
        model[0].weight[0] = torch.nan
    before = {name: value.clone() for name, value in model.state_dict().items()}
    case = Case(
        model=model,
        optimizers=(optimizer,),
        loss_function=functional.cross_entropy,
        batches=(CapturedBatch(args=(images,), targets=targets),),
        initial_state=state,
    )
    results = check_case(case)
    assert [one.cause for one in results if one.outcome == "issue"] == ["non-finite"]
    assert next(one for one in results if one.name == "initial-loss").outcome == "passed"
    after = model.state_dict()
    assert all(torch.equal(before[k].nan_to_num(7), after[k].nan_to_num(7)) for k in before)


def test_our_own_hooks_rest_meanwhile_and_others_do_not() -> None:
    model, calls = cnn(), []

    def theirs(*_: object) -> None:
        calls.append("theirs")

    def ours(*_: object) -> None:
        calls.append("ours")

    ours.__module__ = "everyclass.capture.somewhere"
    handles = [model.register_forward_hook(one) for one in (ours, theirs)]
    optimizer = adam(model)
    optimizer.register_step_pre_hook(ours)
    with untouched(model, (optimizer,)):
        model(batch()[0])
    assert calls == ["theirs"]
    model(batch()[0])
    assert calls == ["theirs", "ours", "theirs"]
    for handle in handles:
        handle.remove()
    assert not model._forward_hooks


def test_an_optimizer_that_stepped_inside_is_put_back() -> None:
    model, (images, targets) = cnn(), batch()
    optimizer = adam(model)
    train(model, optimizer, images, targets, 2)
    before = photograph(model, optimizer)
    moments = [optimizer.state[p]["exp_avg"] for p in model.parameters()]
    with untouched(model, (optimizer,)):
        train(model, optimizer, images, targets, 2)
        optimizer.param_groups[0]["lr"] = 7.0
        model[0].requires_grad_(False)
    after = photograph(model, optimizer)
    del before["versions"], after["versions"]  # the weights were written, and written back
    assert_same(before, after)
    assert all(a is optimizer.state[p]["exp_avg"] for a, p in zip(moments, model.parameters()))


def test_an_optimizer_that_had_not_stepped_has_no_state_afterwards() -> None:
    model, (images, targets) = cnn(), batch()
    optimizer = adam(model)
    with untouched(model, (optimizer,)):
        train(model, optimizer, images, targets, 1)
    assert not optimizer.state


def test_shared_buffers_stay_shared_while_borrowed() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    model[1].running_mean = model[0].running_mean
    original = model[0].running_mean
    with borrowed(model):
        assert model[0].running_mean is model[1].running_mean
        assert model[0].running_mean is not original
        model(torch.randn(4, 3, 2, 2))
    assert model[0].running_mean is model[1].running_mean is original
    assert not original.any()


@pytest.mark.gpu
def test_a_check_leaves_no_trace_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model, (images, targets) = bn_cnn().cuda(), batch()
    images, targets = images.cuda(), targets.cuda()
    optimizer = adam(model)
    train(model, optimizer, images, targets, 3)
    before, device = photograph(model, optimizer), torch.cuda.get_rng_state()
    report = check(model, (images, targets), functional.cross_entropy, optimizer)
    assert not report.issues, str(report)
    assert_same(before, photograph(model, optimizer))
    assert torch.equal(device, torch.cuda.get_rng_state())
    on_the_cpu = check(model, pixels_as_floats(), functional.cross_entropy, optimizer)
    assert not on_the_cpu.issues, str(on_the_cpu)


def pixels_as_floats() -> tuple[Tensor, Tensor]:
    images, targets = pixels()
    return images / 255, targets
