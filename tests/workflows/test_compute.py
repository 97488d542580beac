"""The way to compute is measured on copies, written down, and not measured again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from everyclass.models.classifier import Classifier
from everyclass.recipe import Decision, Recipe
from everyclass.run_folder import RunFolder
from everyclass.training.duel import Duel
from everyclass.workflows import compute
from everyclass.workflows.compute import measured
from everyclass.workflows.events import EpochDone, Event
from everyclass.workflows.job import Job
from everyclass.workflows.prepare import DataSource
from everyclass.workflows.train import TrainOptions, resume, train

SMALL = {"model": "test_resnet", "image_size": 32, "epochs": 3, "batch_size": 8, "device": "cpu"}
WON = Duel(
    holder_seconds=0.2, challenger_seconds=0.1, rounds=5, loss_difference=0.0, tolerance=1e-3
)
LOST = Duel(
    holder_seconds=0.1, challenger_seconds=0.2, rounds=5, loss_difference=0.0, tolerance=1e-3
)


class Enough(Exception):
    """Nothing needs to be trained."""


def quiet(_: Event) -> None:
    pass


def options(**wishes: object) -> TrainOptions:
    return TrainOptions(wishes={**SMALL, **wishes})


def decisions(recipe: Recipe) -> dict[str, Decision]:
    return {one.name: one for one in recipe.decisions if one.name in compute.MEASURED}


def recipe_of(run: Path) -> Recipe:
    return Recipe.from_yaml((run / "recipe.yaml").read_text(), where="recipe.yaml")


@pytest.fixture
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a training is, it is measured."""
    monkeypatch.setattr(compute, "LEAST_STEPS", 0)
    monkeypatch.setattr(compute, "LEAST_SECONDS", 0.0)


@pytest.fixture
def outcomes(any_size: None, monkeypatch: pytest.MonkeyPatch) -> list[Duel | Exception]:
    """What duels find, in order; fill it."""
    found: list[Duel | Exception] = []

    def duel(*_: object, **__: object) -> Duel:
        outcome = found.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(compute, "duel", duel)
    return found


@pytest.fixture
def first(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Recipe, Job]:
    """A recipe and a job that follows it, as `train` hands them over."""
    kept: list[tuple[Recipe, Job]] = []

    def keep(recipe: Recipe, make_job: Callable[[], Job], **_: object) -> Recipe:
        kept.append((recipe, make_job()))
        raise Enough

    monkeypatch.setattr("everyclass.workflows.train.measured", keep)
    wishes = options(epochs=1, threads=2)
    with pytest.raises(Enough):
        train(DataSource(source=str(image_folder)), tmp_path / "first", wishes, on_event=quiet)
    return kept[0]


def choose(first: tuple[Recipe, Job], *, fixed: tuple[str, ...] = (), bf16: bool = True) -> Recipe:
    recipe, job = first
    return measured(recipe, lambda: job, n_train=100, fixed=fixed, bf16=bf16)


def test_a_measured_training_is_the_one_that_asks_for_the_same(
    image_folder: Path, tmp_path: Path, any_size: None
) -> None:
    data = DataSource(source=str(image_folder))
    train(data, tmp_path / "a", options(), on_event=quiet)
    found = decisions(recipe_of(tmp_path / "a"))
    assert found["memory_format"].origin == "measured"
    assert "ms with" in found["memory_format"].reason
    asked = {name: one.value for name, one in found.items()}
    train(data, tmp_path / "b", options(**asked), on_event=quiet)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]


def test_measuring_touches_nothing(first: tuple[Recipe, Job], any_size: None) -> None:
    _, job = first
    before = {name: value.clone() for name, value in job.classifier.state_dict().items()}
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    choose(first, bf16=False)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    after = job.classifier.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in job.classifier.parameters())


def test_what_wins_is_chosen_and_what_loses_is_not(
    first: tuple[Recipe, Job], outcomes: list[Duel | Exception]
) -> None:
    outcomes[:] = [WON, LOST, LOST]  # channels_last, bf16 with it, one thread
    found = decisions(choose(first))
    assert {name: one.value for name, one in found.items()} == {
        "memory_format": "channels_last",
        "precision": "fp32",
        "threads": 2,
    }
    assert all(one.origin == "measured" for one in found.values())
    assert found["memory_format"].reason.startswith(
        "a step of 8 images takes 100 ms with channels_last, 200 ms with contiguous"
    )
    assert "must save 5%" in found["threads"].reason


def test_several_changes_must_beat_plain_float32_together(
    first: tuple[Recipe, Job], outcomes: list[Duel | Exception]
) -> None:
    outcomes[:] = [WON, WON, LOST, WON]
    found = decisions(choose(first))
    assert (found["memory_format"].value, found["precision"].value) == ("channels_last", "bf16")
    assert "together take 100 ms, plain float32 200 ms" in found["precision"].reason
    outcomes[:] = [WON, WON, LOST, LOST]
    found = decisions(choose(first))
    assert (found["memory_format"].value, found["precision"].value) == ("channels_last", "fp32")
    assert "only the first one stays" in found["precision"].reason


def test_what_cannot_be_computed_is_no_candidate(
    first: tuple[Recipe, Job], outcomes: list[Duel | Exception]
) -> None:
    failed = RuntimeError("no kernel for bfloat16\nat line 3")
    outcomes[:] = [LOST, failed, failed, LOST]
    found = decisions(choose(first))["precision"]
    assert found.value == "fp32"
    assert found.reason == (
        "channels_last and bf16 cannot be computed here: no kernel for bfloat16; "
        "bf16 cannot be computed here: no kernel for bfloat16"
    )


def test_what_gains_nothing_alone_is_tried_together(
    first: tuple[Recipe, Job], outcomes: list[Duel | Exception]
) -> None:
    outcomes[:] = [LOST, LOST, WON, LOST]  # channels_last, bf16, both, one thread
    found = decisions(choose(first))
    assert (found["memory_format"].value, found["precision"].value) == ("channels_last", "bf16")
    assert found["precision"].reason.startswith(
        "a step of 8 images takes 100 ms with channels_last and bf16, 200 ms with contiguous and "
        "fp32"
    )
    assert "200 ms with bf16" in found["precision"].reason  # what it took alone is told as well


def test_the_users_own_choice_is_not_tried_against(
    first: tuple[Recipe, Job], outcomes: list[Duel | Exception]
) -> None:
    outcomes[:] = [LOST]  # one duel alone: the memory format
    before, found = decisions(first[0]), decisions(choose(first, fixed=("precision", "threads")))
    assert found["precision"] == before["precision"]
    assert found["threads"] == before["threads"]
    assert choose(first, fixed=compute.MEASURED) == first[0]


def test_what_crashes_with_channels_last_is_never_tried(
    first: tuple[Recipe, Job], outcomes: list[Duel | Exception]
) -> None:
    recipe, job = first
    network = nn.Sequential(nn.Conv2d(3, 8, 1, stride=2), nn.Flatten(), nn.LazyLinear(3))
    network(torch.zeros(1, 3, 32, 32))
    fragile = Classifier(network, job.classifier.preprocessing)
    object.__setattr__(job, "classifier", fragile)
    outcomes[:] = [LOST]
    found = decisions(choose((recipe, job), bf16=False))
    assert outcomes == []
    assert found["threads"].origin == "measured"
    assert found["memory_format"].origin == "default"


def test_a_small_training_is_not_measured(first: tuple[Recipe, Job]) -> None:
    def no_job() -> Job:
        raise AssertionError

    assert measured(first[0], no_job, n_train=100, fixed=(), bf16=True) == first[0]


@pytest.mark.parametrize(("outcome", "precision"), [(WON, "bf16"), (LOST, "fp32")])
def test_in_a_short_training_bfloat16_alone_is_tried(
    first: tuple[Recipe, Job],
    outcomes: list[Duel | Exception],
    monkeypatch: pytest.MonkeyPatch,
    outcome: Duel,
    precision: str,
) -> None:
    monkeypatch.setattr(compute, "LEAST_STEPS", 10_000)
    monkeypatch.setattr(compute, "LEAST_STEPS_FOR_BF16", 0)
    monkeypatch.setattr(compute, "LEAST_SECONDS_FOR_BF16", 3600.0)  # it is a matter of seconds
    assert decisions(choose(first)) == decisions(first[0])
    monkeypatch.setattr(compute, "LEAST_SECONDS_FOR_BF16", 0.0)
    outcomes[:] = [outcome]
    found = decisions(choose(first))
    assert outcomes == []
    assert (found["precision"].value, found["precision"].origin) == (precision, "measured")
    before = decisions(first[0])
    assert all(found[name] == before[name] for name in ("memory_format", "threads"))
    for recipe in (choose(first, bf16=False), choose(first, fixed=("precision",))):
        assert recipe == first[0]


def test_resuming_computes_as_it_began_and_measures_nothing(
    image_folder: Path,
    tmp_path: Path,
    outcomes: list[Duel | Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = DataSource(source=str(image_folder))
    wishes = options(threads=1)
    # Contiguous in both, as no unmeasured training is; more duels where bf16 is native.
    outcomes[:] = [LOST] * 6
    train(data, tmp_path / "whole", wishes, on_event=quiet)

    def power_cut(event: Event) -> None:
        if isinstance(event, EpochDone) and event.epoch == 1:
            raise OSError("power cut")

    with pytest.raises(OSError, match="power cut"):
        train(data, tmp_path / "cut", wishes, on_event=power_cut)
    monkeypatch.setattr("everyclass.workflows.train.measured", None)
    resume(data, tmp_path / "cut", TrainOptions(), on_event=quiet)
    assert recipe_of(tmp_path / "cut").settings.memory_format == "contiguous"
    weights = [RunFolder(tmp_path / name).path / "model.safetensors" for name in ("whole", "cut")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
