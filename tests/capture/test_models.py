"""Calls of networks, and hooks that nobody finds in what a script saves."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from everyclass.capture.models import (
    CallTap,
    ModelCall,
    copied,
    parameters_behind,
    tensors_in,
    tops_of,
)
from everyclass.capture.patches import Patches
from everyclass.capture.session import Session


class Twofold(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, inputs: Tensor, *, scale: float = 1.0) -> dict[str, Tensor]:
        features = self.body(inputs)
        return {"features": features, "logits": scale * self.head(features)}


class Heard:
    def __init__(self) -> None:
        self.calls: list[ModelCall] = []
        self.tap = CallTap(self.before, self.after)

    def before(self, module: nn.Module, args: tuple[object, ...], kw: dict[str, object]) -> None:
        self.tap.begin(module, args, kw)

    def after(
        self, module: nn.Module, args: tuple[object, ...], kw: dict[str, object], output: object
    ) -> None:
        call = self.tap.end(module, output)
        if call is not None:
            self.calls.append(call)


def test_the_outermost_call_is_heard_once_with_its_outputs() -> None:
    heard, model = Heard(), Twofold()
    heard.tap.track(model)
    output = model(torch.ones(5, 4), scale=2.0)
    model.eval()
    with torch.no_grad():
        model.head(torch.ones(1, 3))
    assert [one.module for one in heard.calls] == [model, model.head]
    first, second = heard.calls
    assert (first.gradients, first.training_mode) == (True, True)
    assert (second.gradients, second.training_mode) == (False, False)
    assert first.position_of(output["logits"]) == 1
    assert first.position_of(output["logits"].squeeze()) == 1
    assert first.position_of(torch.ones(5, 2)) is None
    scores = first.scores(2)
    assert scores is not None
    assert torch.equal(scores, output["logits"])
    assert not scores.requires_grad


def test_a_call_that_raises_does_not_hide_the_next() -> None:
    heard, model = Heard(), Twofold()
    heard.tap.track(model)
    with pytest.raises(RuntimeError):
        model(torch.ones(5, 3))
    model(torch.ones(5, 4))
    assert [one.module for one in heard.calls] == [model]


def test_only_the_chosen_module_stays_hooked() -> None:
    heard, model = Heard(), Twofold()
    heard.tap.track(model)
    heard.tap.keep_only(model)
    assert not model.head._forward_hooks
    model(torch.ones(5, 4))
    heard.tap.keep_only(None)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    assert len(heard.calls) == 1


def test_a_loss_without_parameters_is_no_network() -> None:
    heard = Heard()
    holder = nn.ModuleDict({"net": nn.Linear(2, 2), "loss": nn.CrossEntropyLoss()})
    heard.tap.track(holder)
    holder["loss"](torch.zeros(1, 2), torch.tensor([0]))
    assert heard.calls == []


def test_tops_are_found_from_parameters_and_from_a_loss() -> None:
    model, other = Twofold(), Twofold()
    wrapper = nn.DataParallel(model)
    assert tops_of([model.head.weight]) == (wrapper,)
    loss = wrapper(torch.ones(2, 4))["logits"].sum()
    behind = parameters_behind(loss)
    assert {id(one) for one in behind} == {id(one) for one in model.parameters()}
    assert set(tops_of([*behind, other.head.bias])) == {wrapper, other}


@pytest.fixture
def watching() -> Iterator[Session]:
    session = Session()
    patches = Patches(session)
    patches.install()
    yield session
    session.end()
    patches.remove()


def test_a_saved_or_copied_model_has_no_trace_of_us(watching: Session) -> None:
    model = Twofold()
    model.register_forward_hook(nothing)
    alone = saved(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert optimizer
    assert len(model._forward_hooks) == 2
    assert saved(model) == alone
    twin = copy.deepcopy(model)
    assert list(twin._forward_hooks.values()) == [nothing]
    assert not twin._forward_pre_hooks
    assert not twin._forward_hooks_with_kwargs
    assert len(model._forward_hooks) == 2


def nothing(module: nn.Module, args: object, output: object) -> None:
    """A hook of the user's."""


def saved(model: nn.Module) -> bytes:
    file = io.BytesIO()
    torch.save(model, file)
    return file.getvalue()


def test_nested_tensors_are_found_and_copied() -> None:
    a, b = torch.zeros(2), torch.ones(3)
    value = {"a": [a, (b, "text")], "n": 3}
    assert [one is other for one, other in zip(tensors_in(value), (a, b))] == [True, True]
    twin = copied(value, lambda one: one + 1)
    assert twin["a"][0].tolist() == [1.0, 1.0]
    assert twin["a"][1][1] == "text"
    assert a.tolist() == [0.0, 0.0]
