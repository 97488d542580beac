"""The last layer after the training: what changes, and what must not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from everyclass.imbalance.offsets import Offsets
from everyclass.models.file import SavedModel, load_model
from everyclass.workflows import head as module
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.train import TrainOptions, train
from image_folders import write_image_folder

SMALL = {
    "model": "test_resnet",
    "image_size": 32,
    "epochs": 2,
    "batch_size": 16,
    "threads": 1,
    "device": "cpu",
    "tau_sweep": False,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"ash": 120, "birch": 50, "cedar": 16}
    return write_image_folder(tmp_path_factory.mktemp("head"), counts)


def trained(images: Path, out: Path, name: str | None) -> tuple[SavedModel, tuple[str, ...]]:
    wishes = {**SMALL, "imbalance": [] if name is None else [name]}
    data = DataSource(source=str(images))
    outcome = train(data, out, TrainOptions(wishes=wishes), on_event=lambda _: None)
    return load_model(out), outcome.sentences


@pytest.fixture(scope="module")
def plain(images: Path, tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    return trained(images, tmp_path_factory.mktemp("runs") / "plain", None)[0]


def logits(model: SavedModel) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    some = torch.randint(0, 256, (20, 3, 32, 32), generator=generator).to(torch.uint8)
    with torch.no_grad():
        found: np.ndarray = model.classifier(some).double().numpy()
    return found


def changed(model: SavedModel, before: SavedModel) -> set[str]:
    other = before.classifier.state_dict()
    return {
        name.rpartition(".")[2]
        for name, value in model.classifier.state_dict().items()
        if not torch.equal(value, other[name])
    }


@pytest.mark.parametrize("name", ["crt", "lws"])
def test_only_the_last_layer_is_another(
    name: str, images: Path, plain: SavedModel, tmp_path: Path
) -> None:
    model, sentences = trained(images, tmp_path / "run", name)
    assert changed(model, plain) == {"weight", "bias"}
    assert any("class-balanced draws" in one for one in sentences)
    assert any("estimated on validation images" in one for one in sentences)
    rarest = [float(one.decision.balanced(logits(one)).tolist().count(2)) for one in (plain, model)]
    assert rarest[1] >= rarest[0]


def test_offsets_move_decisions_and_no_probability(
    images: Path, plain: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = (-1.0, 0.0, 1.0)
    given = Offsets(values=values, found=values, gain=0.1, standard_error=0.01, sentence="given")
    monkeypatch.setattr(module, "find_offsets", lambda *_: given)
    model, sentences = trained(images, tmp_path / "run", "offsets")
    assert changed(model, plain) == {"bias"}
    assert "Offsets of the classes: given." in sentences
    np.testing.assert_allclose(logits(model), logits(plain) + values, atol=1e-5)
    np.testing.assert_allclose(
        model.decision.probabilities(logits(model)),
        plain.decision.probabilities(logits(plain)),
        atol=1e-5,
    )


def test_tau_normalisation_is_kept_or_nothing_changes(
    images: Path, plain: SavedModel, tmp_path: Path
) -> None:
    model, sentences = trained(images, tmp_path / "run", "tau-norm")
    told = next(one for one in sentences if one.startswith("tau-normalisation"))
    assert changed(model, plain) == (set() if "not kept" in told else {"weight", "bias"})
