"""A loss that a script computes itself, as a function of outputs and targets."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils.data import DataLoader, TensorDataset

from everyclass.capture.assemble import case_of, watched_of
from everyclass.capture.patches import Patches
from everyclass.capture.session import Session
from everyclass.diagnosis.case import Case
from everyclass.diagnosis.traced_loss import TracedLoss

N_CLASSES = 4
OwnLoss = Callable[[Tensor, Tensor, nn.Module], Tensor]
ADDED = torch.tensor([0.1, 0.2, 3.0, 4.0])


def focal(outputs: Tensor, targets: Tensor, _: nn.Module) -> Tensor:
    costs = F.cross_entropy(outputs, targets, reduction="none")
    return ((1 - torch.exp(-costs)) ** 2 * costs).mean()


def by_index(outputs: Tensor, targets: Tensor, _: nn.Module) -> Tensor:
    chosen = outputs.log_softmax(1)[torch.arange(len(targets)), targets]
    return -chosen.sum() / len(targets)


def penalised(outputs: Tensor, targets: Tensor, model: nn.Module) -> Tensor:
    loss = F.cross_entropy(outputs, targets)
    loss += 0.25 * sum(p.pow(2).sum() for p in model.parameters())
    return loss


def written_into(outputs: Tensor, targets: Tensor, _: nn.Module) -> Tensor:
    wanted = torch.zeros(len(targets), N_CLASSES)
    wanted[torch.arange(len(targets)), targets] = 1.0
    return (outputs.sigmoid() - wanted).square().mean()


OWN: dict[str, OwnLoss] = {
    "sign lost": lambda o, t, _: o.log_softmax(1).gather(1, t.unsqueeze(1)).mean(),
    "a column": lambda o, t, _: F.mse_loss(o, t.float().unsqueeze(1)),
    "one-hot": lambda o, t, _: (o.softmax(1) - F.one_hot(t, N_CLASSES)).abs().mean(),
    "focal": focal,
    "by index": by_index,
    "penalised": penalised,
    "written into": written_into,
}


class Watched:
    """A short training under watch."""

    def __init__(self, loss: OwnLoss, *, accumulate: int = 1) -> None:
        torch.manual_seed(0)
        random.seed(0)
        self.session = Session()
        self.patches = Patches(self.session)
        self.patches.install()
        self.losses: list[float] = []
        try:
            self.model = nn.Sequential(nn.Flatten(), nn.Linear(12, N_CLASSES))
            self._train(loss, accumulate)
            self.drawn = float(torch.rand(()))
            self.session.end()
        finally:
            self.patches.remove()
        assert self.session.failure is None
        assert not _get_current_function_mode_stack()

    def _train(self, loss: OwnLoss, accumulate: int) -> None:
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        data = TensorDataset(torch.randn(200, 12), torch.randint(0, N_CLASSES, (200,)))
        for _ in range(4):
            for i, (inputs, targets) in enumerate(DataLoader(data, batch_size=32, shuffle=True)):
                value = loss(self.model(inputs), targets, self.model) / accumulate
                value.backward()
                self.losses.append(float(value.detach()))
                if (i + 1) % accumulate == 0:
                    optimizer.step()
                    optimizer.zero_grad()

    @property
    def case(self) -> Case:
        found = case_of(self.session, self.patches.originals)
        assert found is not None
        return found

    @property
    def loss(self) -> TracedLoss:
        found = self.case.loss_function
        assert isinstance(found, TracedLoss)
        return found


def new_batch(rows: int = 17) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    outputs = torch.randn(rows, N_CLASSES, generator=generator, requires_grad=True)
    return outputs, torch.randint(0, N_CLASSES, (rows,), generator=generator)


@pytest.mark.parametrize("name", OWN)
def test_the_loss_is_the_same_function_on_other_outputs_and_batch_sizes(name: str) -> None:
    watched = Watched(OWN[name])
    outputs, targets = new_batch()
    value = watched.loss(outputs, targets)
    expected = OWN[name](outputs, targets, watched.model)
    assert torch.equal(value, expected)
    (gradient,) = torch.autograd.grad(value, outputs, retain_graph=True)
    (wanted,) = torch.autograd.grad(expected, outputs)
    assert torch.equal(gradient, wanted)


@pytest.mark.parametrize("name", OWN)
def test_the_script_computes_and_draws_what_it_would_without_a_watch(name: str) -> None:
    class Unwatched(Watched):
        def __init__(self) -> None:
            torch.manual_seed(0)
            self.losses = []
            self.model = nn.Sequential(nn.Flatten(), nn.Linear(12, N_CLASSES))
            self._train(OWN[name], 1)
            self.drawn = float(torch.rand(()))

    watched, alone = Watched(OWN[name]), Unwatched()
    assert watched.losses == alone.losses
    assert watched.drawn == alone.drawn


def test_one_of_torchs_losses_alone_is_not_replaced_by_its_trace() -> None:
    case = Watched(lambda o, t, _: F.cross_entropy(o, t)).case
    assert not isinstance(case.loss_function, TracedLoss)


def test_a_penalty_is_told_from_the_rest_and_follows_the_weights_of_a_copy() -> None:
    watched = Watched(penalised)
    outputs, targets = new_batch()
    plain = F.cross_entropy(outputs, targets)
    loss = watched.loss
    assert torch.allclose(loss.without(loss.penalties())(outputs, targets), plain)
    other = nn.Sequential(nn.Flatten(), nn.Linear(12, N_CLASSES))
    assert torch.allclose(loss.bound(other)(outputs, targets), penalised(outputs, targets, other))


def test_what_is_added_to_the_outputs_is_told_from_the_rest() -> None:
    loss = Watched(lambda o, t, _: F.cross_entropy(o + ADDED, t)).loss
    added = loss.added()
    assert added is not None
    assert torch.equal(added, ADDED)
    outputs, targets = new_batch()
    without = loss.without(loss.adjustments())(outputs, targets)
    assert torch.allclose(without, F.cross_entropy(outputs, targets))


def test_a_loss_divided_by_the_passes_of_a_step_is_taken_undivided() -> None:
    watched = Watched(focal, accumulate=3)
    outputs, targets = new_batch()
    assert torch.equal(watched.loss(outputs, targets), focal(outputs, targets, watched.model))


def test_a_gradient_scalers_factor_is_none_of_the_losss() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def scaled(outputs: Tensor, targets: Tensor, model: nn.Module) -> Tensor:
        value = scaler.scale(focal(outputs, targets, model))
        assert isinstance(value, Tensor)
        return value

    watched = Watched(scaled)
    outputs, targets = new_batch()
    assert torch.equal(watched.loss(outputs, targets), focal(outputs, targets, watched.model))


def test_a_loss_that_depends_on_more_than_outputs_and_targets_is_refused() -> None:
    def mixed(outputs: Tensor, targets: Tensor, _: nn.Module) -> Tensor:
        share, order = random.random(), torch.randperm(len(targets))
        own, other = F.cross_entropy(outputs, targets), F.cross_entropy(outputs, targets[order])
        return share * own + (1 - share) * other

    watched = Watched(mixed)
    assert not isinstance(watched.case.loss_function, TracedLoss)
    assert "more than outputs and targets" in watched.session.own_loss.note


def test_that_a_loss_by_hand_is_not_understood_is_said() -> None:
    def weighted(outputs: Tensor, targets: Tensor, _: nn.Module) -> Tensor:
        chosen = outputs.log_softmax(1).gather(1, targets.unsqueeze(1))
        return -(torch.tensor([random.random() for _ in range(len(targets))]) * chosen[:, 0]).mean()

    notes = " ".join(watched_of(Watched(weighted).session).notes)
    assert "not known as a function: it depends on more than outputs and targets." in notes


def test_a_mode_of_the_scripts_own_keeps_its_place() -> None:
    class Counting(torch.overrides.TorchFunctionMode):
        calls = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            Counting.calls += 1
            return func(*args, **(kwargs or {}))

    def under_a_mode(outputs: Tensor, targets: Tensor, model: nn.Module) -> Tensor:
        with Counting():
            return focal(outputs, targets, model)

    assert isinstance(Watched(under_a_mode).case.loss_function, TracedLoss)
    assert Counting.calls > 0


def test_a_loss_is_counted_once_under_a_default_device() -> None:
    with torch.device("cpu"):
        session = Session()
        patches = Patches(session)
        patches.install()
        try:
            model = nn.Linear(4, 3)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(4):
                F.cross_entropy(model(torch.randn(20, 4)), torch.arange(20) % 3).backward()
                optimizer.step()
            session.end()
        finally:
            patches.remove()
    assert session.facts.losses["cross_entropy"] == 4
    assert session.facts.training == 4


def test_a_loss_of_two_heads_does_not_take_an_answer_of_one() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.auxiliary = nn.Linear(12, N_CLASSES), nn.Linear(12, N_CLASSES)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.main(x), self.auxiliary(x)

    model = Two()
    session = Session()
    patches = Patches(session)
    patches.install()
    try:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(4):
            targets = torch.randint(0, N_CLASSES, (8,))
            main, auxiliary = model(torch.randn(8, 12))
            loss = F.cross_entropy(main, targets) + 0.4 * F.cross_entropy(auxiliary, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        session.end()
    finally:
        patches.remove()
    found = session.own_loss.loss
    assert found is not None
    assert found.takes((torch.randn(8, N_CLASSES), torch.randn(8, N_CLASSES)))
    assert not found.takes(torch.randn(8, N_CLASSES))
