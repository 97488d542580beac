"""Clipping as a script does it is seen, copied into trials, and accused where it leaves nothing."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from everyclass.capture.assemble import case_of
from everyclass.capture.patches import Patches
from everyclass.capture.session import Session
from everyclass.diagnosis.case import Case, Clipping
from everyclass.diagnosis.causes.clipping import clipping
from everyclass.diagnosis.check import check_case
from everyclass.diagnosis.material import Material
from everyclass.diagnosis.trainee import trainee_of

IMAGES = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))
TARGETS = (IMAGES @ torch.randn(6, 3, generator=torch.Generator().manual_seed(2))).argmax(1)


def watched(
    *,
    limit: float | None = 1.0,
    scale: float | None = None,
    unscales: bool = False,
    value: bool = False,
    steps: int = 30,
    lr: float = 0.1,
) -> tuple[Case, nn.Module]:
    """A training as a script writes it, under the watch."""
    session = Session()
    patches = Patches(session)
    patches.install()
    try:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
        for i in range(steps):
            rows = torch.arange(16) + 16 * (i % 4)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(IMAGES[rows]), TARGETS[rows])
            scaler.scale(loss).backward()
            if unscales:
                scaler.unscale_(optimizer)
            if limit is not None and value:
                nn.utils.clip_grad_value_(model.parameters(), limit)
            elif limit is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=limit)
            scaler.step(optimizer)
            scaler.update()
        session.end()
    finally:
        patches.remove()
    assert session.failure is None
    case = case_of(session, patches.originals)
    assert case is not None
    return case, model


def test_nothing_is_seen_where_nothing_is_clipped() -> None:
    assert watched(limit=None)[0].clipping is None
    assert nn.utils.clip_grad_norm_.__module__ == "torch.nn.utils.clip_grad"


@pytest.mark.parametrize(
    ("scale", "unscales", "known"),
    [(None, False, 1.0), (1024.0, True, 1.0), (1024.0, False, 1024.0)],
)
def test_whether_a_scaler_has_multiplied_is_told(
    scale: float | None, unscales: bool, known: float
) -> None:
    found = watched(limit=0.5, scale=scale, unscales=unscales)[0].clipping
    assert found is not None
    assert (found.kind, found.limit, found.norm_type, found.scale) == ("norm", 0.5, 2.0, known)
    assert len(found.norms) == 30
    assert all(known * 0.01 < norm < known * 10 for norm in found.norms)


def test_numbers_clipped_one_by_one() -> None:
    found = watched(limit=0.01, value=True)[0].clipping
    assert found is not None
    assert (found.kind, found.limit, found.norms) == ("value", 0.01, ())


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0.05},
        {"limit": 0.01, "value": True},
        {"limit": 20.0, "scale": 1024.0},
        {"limit": 0.05, "scale": 1024.0, "unscales": True},
    ],
)
def test_a_copy_clips_as_the_script_does(options: dict[str, float]) -> None:
    """The copy comes to the script's own weights: to the last digits, for a scaler divides."""
    case, model = watched(steps=4, **options)  # type: ignore[arg-type]
    trainee = trainee_of(case, case.batches, from_start=True)
    trainee.train(4, seed=0)
    wanted = model.state_dict()
    plain = trainee_of(replace(case, clipping=None), case.batches, from_start=True)
    plain.train(4, seed=0)
    for name, one in trainee.model.state_dict().items():
        assert torch.allclose(one, wanted[name], atol=1e-6), name
    assert not all(
        torch.allclose(one, wanted[name], atol=1e-3)
        for name, one in plain.model.state_dict().items()
    )


def accused(case: Case) -> list[str]:
    return [str(one.cause) for one in check_case(case) if one.name == "clipping" and one.cause]


def test_a_limit_that_leaves_nothing_is_accused() -> None:
    assert accused(watched(limit=1.0)[0]) == []
    assert accused(watched(limit=1e-5)[0]) == ["learning-rate-too-low"]
    told = clipping(Material(watched(limit=1e-5)[0]))
    assert "steps go nowhere" in told.sentence
    hidden, _ = watched(limit=0.5, scale=65536.0)
    assert accused(hidden) == ["precision-loss"]
    told = clipping(Material(hidden))
    assert "unscale_" in told.remedy
    assert "multiplied them by 65,536" in told.sentence


def test_adam_does_not_mind_small_gradients() -> None:
    case, model = watched(limit=1e-5)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    assert accused(replace(case, optimizers=(adam,))) == []
    tiny = Clipping(kind="norm", limit=1e-8, norms=(1.0,))
    assert accused(replace(case, optimizers=(adam,), clipping=tiny)) == ["learning-rate-too-low"]


def test_the_model_is_left_as_it_was() -> None:
    case, model = watched(limit=1e-5)
    before = copy.deepcopy(model.state_dict())
    check_case(case)
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
