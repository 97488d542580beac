"""Everything is put back, and other users of torch's functions are not disturbed."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
import torch.utils.data.dataloader as dataloader
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import optimizer as optim

from everyclass.capture.assemble import nothing_watched
from everyclass.capture.losses import WATCHED_LOSSES
from everyclass.capture.patches import Patches
from everyclass.capture.session import Session

PLACES = (
    *((F, name) for name in WATCHED_LOSSES),
    *((owner, "log_softmax") for owner in (F, torch, torch.Tensor)),
    *((owner, "gather") for owner in (torch, torch.Tensor)),
    (nn.Module, "__init__"),
    (nn.Module, "__reduce_ex__"),
    (optim.Optimizer, "__init__"),
    (GradScaler, "step"),
    (dataloader.DataLoader, "__iter__"),
    (dataloader._BaseDataLoaderIter, "__next__"),
    (torch, "compile"),
    (torch.jit, "script"),
)


def state() -> tuple[object, ...]:
    replaced = tuple((getattr(owner, name), name in vars(owner)) for owner, name in PLACES)
    hooks = len(optim._global_optimizer_pre_hooks), len(optim._global_optimizer_post_hooks)
    settings = (
        torch.get_default_dtype(),
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        list(warnings.filters),
    )
    return replaced, hooks, settings


def test_everything_is_put_back() -> None:
    before = state()
    patches = Patches(Session())
    patches.install()
    during = state()
    assert all(now is not then for (now, _), (then, _) in zip(during[0], before[0]))  # type: ignore[arg-type]
    assert during[2] == before[2]
    patches.remove()
    assert state() == before


def test_what_somebody_replaced_after_us_stays() -> None:
    original = F.cross_entropy
    patches = Patches(Session())
    patches.install()

    def theirs(*args: object) -> str:
        return "theirs"

    F.cross_entropy = theirs
    try:
        patches.remove()
        assert F.cross_entropy is theirs
    finally:
        F.cross_entropy = original


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_finds_the_source_of_torch() -> None:
    patches = Patches(Session())
    patches.install()
    try:
        scripted = torch.jit.script(nn.CrossEntropyLoss())
        value = scripted(torch.zeros(2, 3), torch.tensor([0, 1]))
        assert F.cross_entropy is not patches.originals["cross_entropy"]
    finally:
        patches.remove()
    assert value == pytest.approx(1.0986, abs=1e-4)


def test_a_whole_graph_stays_whole() -> None:
    patches = Patches(Session())
    patches.install()
    try:

        @torch.compile(fullgraph=True, backend="eager")
        def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(x, y)

        value = loss(torch.zeros(2, 3), torch.tensor([0, 1]))
    finally:
        patches.remove()
        torch._dynamo.reset()
    assert value == pytest.approx(1.0986, abs=1e-4)


def test_a_fault_of_ours_ends_the_watch_and_not_the_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("ours")

    session = Session()
    monkeypatch.setattr("everyclass.capture.session.bind_loss", broken)
    patches = Patches(session)
    patches.install()
    try:
        value = F.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]))
    finally:
        patches.remove()
    assert value == pytest.approx(1.0986, abs=1e-4)
    assert isinstance(session.failure, ZeroDivisionError)
    assert not session.active
    assert nothing_watched(session, ()).endswith("the script went on: ZeroDivisionError: ours")
