"""Training from pretrained weights end to end; the weights are random ones in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from everyclass.errors import InputError
from everyclass.models.backbones import last_layer
from everyclass.models.file import load_model
from everyclass.recipe import Recipe
from everyclass.run_folder import RunFolder
from everyclass.transfer import LocalWeights
from everyclass.workflows import train as module
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.events import Event, FeaturesMade, StepsDone
from everyclass.workflows.features import features_of
from everyclass.workflows.inference import make_fabric
from everyclass.workflows.job import InterruptedTraining, Job, optimizer_of
from everyclass.workflows.prepare import prepare
from everyclass.workflows.probe import begin_with_head
from everyclass.workflows.train import TrainOptions, explain, resume, train
from image_folders import write_image_folder

SMALL = {
    "model": "test_resnet",
    "image_size": 32,
    "epochs": 3,
    "batch_size": 16,
    "threads": 1,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"ash": 90, "birch": 40, "cedar": 18}
    return write_image_folder(tmp_path_factory.mktemp("tuning"), counts)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


def options(weights: Path, mode: str, **wishes: object) -> TrainOptions:
    own = {**SMALL, "weights_file": str(weights), "fine_tuning": mode, **wishes}
    return TrainOptions(wishes=own)


def quiet(_: Event) -> None:
    pass


def trained(images: Path, out: Path, of: TrainOptions) -> Path:
    train(DataSource(source=str(images)), out, of, on_event=quiet)
    return out


def changed(run: Path, weights: Path) -> set[str]:
    """Names of the network's tensors that are no longer those of the file."""
    before = load_file(weights)
    now = load_model(run).classifier.network.state_dict()
    return {
        name
        for name, value in now.items()
        if value.shape != before[name].shape or not torch.equal(value, before[name])
    }


def test_a_head_alone_leaves_every_weight_and_statistic_of_the_network(
    images: Path, weights: Path, tmp_path: Path
) -> None:
    out = trained(images, tmp_path / "run", options(weights, "head", epochs=20, learning_rate=0.03))
    assert changed(out, weights) == {"fc.weight", "fc.bias"}
    lines = list(RunFolder(out).read_metrics())
    assert [line["epoch"] for line in lines] == list(range(20))
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert evaluation["balanced_accuracy"] > 0.6  # a third by chance
    decision = load_model(out).decision
    assert np.allclose(decision.logits_prior, 1 / 3)  # what the adjusted loss implies, exactly
    assert not RunFolder(out).store.exists()


def test_a_light_tuning_changes_the_last_stages_alone(
    images: Path, weights: Path, tmp_path: Path
) -> None:
    found = changed(trained(images, tmp_path / "run", options(weights, "light")), weights)
    assert {name.split(".")[0] for name in found} == {"layer4", "fc"}


def test_a_full_tuning_changes_everything(images: Path, weights: Path, tmp_path: Path) -> None:
    found = changed(trained(images, tmp_path / "run", options(weights, "full")), weights)
    kept = {name for name in load_file(weights) if "running" in name or "tracked" in name}
    assert kept  # the statistics of batch normalisation
    assert found == set(load_file(weights)) - kept


@pytest.mark.parametrize("mode", ["head", "light"])
def test_the_same_seed_gives_the_same_weights(
    mode: str, images: Path, weights: Path, tmp_path: Path
) -> None:
    runs = [trained(images, tmp_path / name, options(weights, mode)) for name in ("a", "b")]
    first, second = ((run / "model.safetensors").read_bytes() for run in runs)
    assert first == second


class Interrupt(Exception):
    """Something that comes from outside."""


def interrupted(at: Callable[[Event], bool]) -> Callable[[Event], None]:
    def on_event(event: Event) -> None:
        if at(event):
            raise Interrupt

    return on_event


@pytest.mark.parametrize(
    ("mode", "at"),
    [
        ("head", lambda event: isinstance(event, FeaturesMade) and event.done > 200),
        ("light", lambda event: isinstance(event, FeaturesMade)),
        ("light", lambda event: isinstance(event, StepsDone) and event.step > 8),
    ],
)
def test_an_interrupted_run_ends_as_it_would_have(
    mode: str,
    at: Callable[[Event], bool],
    images: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a fast machine the training is over before a step is shown.
    monkeypatch.setattr("everyclass.workflows.clock.VIEW_SECONDS", 0.0)
    data = DataSource(source=str(images))
    whole = trained(images, tmp_path / "whole", options(weights, mode))
    out = tmp_path / "parts"
    with pytest.raises(Interrupt):
        train(data, out, options(weights, mode), on_event=interrupted(at))
    resume(data, out, TrainOptions(), on_event=quiet)
    for name in ("model.safetensors", "evaluation.json", "predictions.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    lines = [list(RunFolder(run).read_metrics()) for run in (whole, out)]
    scores = [[line["balanced_accuracy"] for line in one] for one in lines]
    assert scores[0] == scores[1]


def test_a_head_stops_when_it_is_asked_to(
    images: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import contextmanager

    @contextmanager
    def at_once(_: object):  # type: ignore[no-untyped-def]
        yield lambda: True

    monkeypatch.setattr(module, "stop_signals", at_once)
    with pytest.raises(InterruptedTraining, match="a resumed run computes them again"):
        trained(images, tmp_path / "run", options(weights, "head"))


@pytest.fixture(scope="module")
def job(images: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A light fine-tuning that did not begin."""
    of = options(weights, "light")
    prepared = prepare(
        DataSource(source=str(images)),
        wishes=of.wishes,
        preset=None,
        machine=module.find_machine("cpu"),
        store_folder=None,
        on_event=quiet,
    )
    run = RunFolder(tmp_path_factory.mktemp("run"))
    materials = module.Materials(prepared.table, prepared.store, prepared.audit, of)
    return materials.job(prepared.recipe, run, None)


def test_cached_features_are_the_network_s_own(job: Job) -> None:
    fabric = make_fabric(device="cpu", precision="fp32")
    network = job.classifier.network
    _, layer = last_layer(network, "test_resnet", 3)
    rows = np.arange(10, dtype=np.int64)
    before = {name: value.clone() for name, value in job.classifier.state_dict().items()}
    found = features_of(job, layer, rows, fabric=fabric)
    pixels = torch.from_numpy(job.store.gather(rows)).permute(0, 3, 1, 2)
    job.classifier.eval()
    with torch.no_grad():
        inputs = job.classifier.prepare(pixels)
        own = network.forward_head(network.forward_features(inputs), pre_logits=True)  # type: ignore[operator]
        logits = job.classifier(pixels)
    torch.testing.assert_close(found, own)
    torch.testing.assert_close(layer(found), logits)
    views = [
        features_of(job, layer, rows, fabric=fabric, kinds=("flip", "crop"), view=view)
        for view in (1, 1, 2)
    ]
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])
    after = job.classifier.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_tuning_begins_with_a_head_that_the_run_keeps(job: Job) -> None:
    fabric = make_fabric(device="cpu", precision="fp32")
    _, layer = last_layer(job.classifier.network, "test_resnet", 3)
    random = layer.weight.detach().clone()
    begin_with_head(job, fabric=fabric)
    learned = layer.weight.detach().clone()
    assert not torch.equal(learned, random)
    with torch.no_grad():
        layer.weight.copy_(random)

    def none(event: Event) -> None:
        raise AssertionError(f"computed again: {event}")

    begin_with_head(job, fabric=fabric, on_event=none)
    assert torch.equal(layer.weight, learned)


def test_the_head_learns_faster_and_frozen_layers_do_not(job: Job) -> None:
    groups = optimizer_of(job.settings, job.classifier).param_groups
    _, layer = last_layer(job.classifier.network, "test_resnet", 3)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rates[id(layer.weight)] == pytest.approx(3 * job.settings.learning_rate)
    network = job.classifier.network
    assert rates[id(network.get_parameter("layer4.0.conv1.weight"))] == job.settings.learning_rate
    assert id(network.get_parameter("layer1.0.conv1.weight")) not in rates


def test_local_weights_are_used_when_asked_for_and_named(
    images: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(name: str) -> LocalWeights | None:
        return LocalWeights(
            model=name, path=str(weights), source="a shelf", licence="MIT", side=160
        )

    monkeypatch.setattr(module, "find_weights", here)
    data = DataSource(source=str(images))
    plain = explain(data, TrainOptions(wishes=SMALL), on_event=quiet)
    assert (plain.settings.pretrained, plain.settings.weights_file) == (False, None)
    assert "a shelf" in " ".join(plain.why())
    out = trained(images, tmp_path / "run", TrainOptions(wishes={**SMALL, "pretrained": True}))
    kept = Recipe.from_yaml((out / "recipe.yaml").read_text(), where="recipe.yaml")
    assert kept.settings.weights_file == str(weights)
    told = " ".join(kept.why())
    assert "a shelf" in told
    assert "MIT" in told


def test_batches_of_features_are_not_shown(images: Path, weights: Path, tmp_path: Path) -> None:
    of = TrainOptions(wishes=options(weights, "head").wishes, show_batches=3)
    with pytest.raises(InputError, match=r"no batches of images to show.*--show-batches"):
        trained(images, tmp_path / "run", of)
    assert not (tmp_path / "run").exists()
