"""Classifying files: the answers of one plain call, whatever the threads and portions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from everyclass.decide import Machine
from everyclass.images.pixels import load_image
from everyclass.models.backbones import build_backbone
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.settings import Device, Precision
from everyclass.training.batches import to_images
from everyclass.workflows import classify as module
from everyclass.workflows.classify import classify_files, load_batches
from everyclass.workflows.inference import answering_precision, make_fabric
from image_folders import write_image_folder

SIDE = 32
BROKEN = 17


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = write_image_folder(tmp_path_factory.mktemp("files") / "set", {"ash": 25, "fir": 20})
    found = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    Path(found[BROKEN]).write_bytes(b"not an image")
    return found


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    network = build_backbone("test_resnet", side=SIDE, n_classes=2, seed=0).network
    return Classifier(network, Preprocessing(side=SIDE, mean=(0.5,) * 3, std=(0.2,) * 3)).eval()


@pytest.mark.parametrize(("threads", "portion"), [(1, 64), (2, 64), (2, 7), (3, 1)])
def test_logits_are_those_of_one_call_in_the_order_of_the_paths(
    classifier: Classifier,
    paths: list[str],
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    portion: int,
) -> None:
    monkeypatch.setattr(module, "PORTION", portion)
    good = [row for row in range(len(paths)) if row != BROKEN]
    pixels = np.stack([load_image(paths[row], side=SIDE) for row in good])
    with torch.inference_mode():
        wanted = classifier(to_images(pixels)).numpy()
    fabric = make_fabric(device="cpu", precision="fp32")
    before = torch.get_num_threads()
    found = list(classify_files(classifier, paths, threads=threads, fabric=fabric))
    assert torch.get_num_threads() == before
    assert np.concatenate([one.rows for one in found]).tolist() == good
    logits = np.concatenate([one.logits for one in found if len(one.rows)])
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4)
    failed = [pair for one in found for pair in one.failed]
    assert [row for row, _ in failed] == [BROKEN]
    assert failed[0][1].startswith("not an image")


def test_no_images_give_nothing(classifier: Classifier) -> None:
    fabric = make_fabric(device="cpu", precision="fp32")
    assert list(classify_files(classifier, [], threads=2, fabric=fabric)) == []


def test_batches_ahead_of_an_accelerator_hold_the_same_rows(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVALUATION_BATCH", 10)
    found = list(load_batches(paths, side=SIDE, threads=2))
    assert np.concatenate([one.rows for one in found]).tolist() == [
        row for row in range(len(paths)) if row != BROKEN
    ]
    assert [len(one.pixels) for one in found] == [10, 9, 10, 10, 5]
    np.testing.assert_array_equal(found[3].pixels[0], load_image(paths[30], side=SIDE))


def test_bfloat16_answers_alike_and_the_model_keeps_its_weights(
    classifier: Classifier, paths: list[str]
) -> None:
    fabric = make_fabric(device="cpu", precision="bf16")
    found = list(classify_files(classifier, paths, threads=2, fabric=fabric))
    plain = make_fabric(device="cpu", precision="fp32")
    wanted = list(classify_files(classifier, paths, threads=2, fabric=plain))
    ours, theirs = (np.concatenate([one.logits for one in side]) for side in (found, wanted))
    assert ours.dtype == np.float32
    assert not np.array_equal(ours, theirs)  # it is another precision
    np.testing.assert_allclose(ours, theirs, atol=0.02 * np.abs(theirs).max())
    assert {one.dtype for one in classifier.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("trained", "device", "bf16", "wanted"),
    [
        ("fp32", "cpu", True, "fp32"),
        ("bf16", "cpu", True, "bf16"),
        ("bf16", "cpu", False, "fp32"),
        ("bf16", "mps", False, "fp32"),
        ("fp16", "cuda", True, "fp16"),
        ("fp16", "cpu", True, "fp32"),
    ],
)
def test_a_run_answers_in_the_precision_it_was_trained_in_where_it_is_native(
    trained: Precision, device: Device, bf16: bool, wanted: Precision
) -> None:
    machine = Machine(device=device, threads=2, bf16=bf16)
    assert answering_precision(trained, machine) == wanted
