"""What the network's answer hangs on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from everyclass.capture.graph_leaves import GraphLeaves
from everyclass.diagnosis.case import AnswerLeaves


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def found(
    model: nn.Module, answer: torch.Tensor, optimised: Iterable[torch.Tensor] = ()
) -> AnswerLeaves | None:
    watch = GraphLeaves()
    watch.network_answers([answer])
    return watch.found(model.parameters(), optimised)


def test_a_network_hangs_on_its_parameters_and_not_on_what_it_gets() -> None:
    model = network()
    assert found(model, model(torch.randn(4, 6))) == AnswerLeaves(own=6, foreign=())
    images = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 3))
    inputs = torch.randn(4, 3, 8, 8, requires_grad=True)
    assert found(images, images(inputs)) == AnswerLeaves(own=4, foreign=())


def test_layers_that_forward_makes_and_copies_of_weights_are_foreign() -> None:
    model = network()
    with_head = nn.Linear(3, 2)(model(torch.randn(4, 6)))
    assert found(model, with_head) == AnswerLeaves(own=6, foreign=((2, 3), (2,)))
    copies = {n: p.detach().requires_grad_() for n, p in model.named_parameters()}
    told = found(model, functional_call(model, copies, (torch.randn(4, 6),)))
    assert told is not None
    assert told.own == 0
    assert len(told.foreign) == 6


def test_what_an_optimizer_holds_is_not_foreign() -> None:
    model, head = network(), nn.Linear(3, 2)
    answer = head(model(torch.randn(4, 6)))
    told = found(model, answer, head.parameters())
    assert told == AnswerLeaves(own=6, foreign=())


def test_a_graph_that_is_hidden_tells_nothing() -> None:
    model = network()
    inputs = torch.randn(4, 6, requires_grad=True)
    assert found(model, checkpoint(model, inputs, use_reentrant=True)) is None
    assert GraphLeaves().found((), ()) is None


def test_copies_that_stand_in_for_parameters_during_the_call_are_told() -> None:
    model, watch = network(), GraphLeaves()
    model.register_forward_hook(lambda _, __, output: watch.network_answers([output]))
    copies = {n: p.detach().requires_grad_() for n, p in model.named_parameters()}
    functional_call(model, copies, (torch.randn(4, 6),))
    told = watch.found(model.parameters(), ())
    assert told is not None
    assert told.own == 0
