"""A small training, and whether another one is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from everyclass.run_folder import RunFolder

SETTINGS = {
    "model": "tutorial",
    "image_size": 40,
    "epochs": 6,
    "batch_size": 7,
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "selection": "last",
    "augmentation": ["crop", "flip"],
    "imbalance": ["weights-sqrt"],
    "ema_decay": 0.9,
    "threads": 2,
    "device": "cpu",
}
WEIGHTS = {"rtol": 1e-4, "atol": 1e-5}
"""Of the sums that two processes add up in another order, 30 steps on. The network has no batch
normalisation, which at seven images a batch makes much of little: first weights that differ by
3e-7 end up 0.004 apart, on one process too (test_resnet). `test_processes` has its steps."""


def assert_same_training(run: Path, other: Path) -> None:
    ours, theirs = (safetensors.torch.load_file(one / "model.safetensors") for one in (run, other))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, **WEIGHTS)
    mine, yours = (list(RunFolder(one).read_metrics()) for one in (run, other))
    assert [line["step"] for line in mine] == [line["step"] for line in yours]
    for line, expected in zip(mine, yours):
        assert line["recall"] == expected["recall"]
        assert line["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-5)
        assert line["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-5)
    assert len((run / "predictions.csv").read_text().splitlines()) == len(
        (other / "predictions.csv").read_text().splitlines()
    )


def last_step(out: Path) -> int:
    steps = [int(path.name.split("-")[1]) for path in out.glob("checkpoints/step-*.pt")]
    return max(steps, default=0)
