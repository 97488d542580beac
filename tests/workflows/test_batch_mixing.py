"""Mixing by name, and a training with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from everyclass.workflows.mixing import mix_of
from everyclass.workflows.prepare import DataSource
from everyclass.workflows.train import TrainOptions, resume, train

COUNTS = (60, 30, 6)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(32, 3, 8, 8, generator=generator), torch.arange(32) % 3


@pytest.mark.parametrize("names", [("mixup",), ("crop", "cutmix"), ("remix",), ("mixup", "cutmix")])
def test_targets_become_rows_that_sum_to_one(names: tuple[str, ...]) -> None:
    mix = mix_of(names, COUNTS)
    assert mix is not None
    found = mix(*batch(), torch.Generator().manual_seed(1))
    assert found.targets.shape == (32, 3)
    assert torch.allclose(found.targets.sum(1), torch.ones(32))
    assert found.images.shape == (32, 3, 8, 8)


def test_remix_gives_more_to_the_smallest_class_than_mixup() -> None:
    def mass(name: str) -> float:
        mix = mix_of((name,), COUNTS)
        assert mix is not None
        generator = torch.Generator().manual_seed(2)
        return sum(float(mix(*batch(), generator).targets[:, 2].sum()) for _ in range(50))

    assert mass("remix") > 1.1 * mass("mixup")


def test_other_names_mix_nothing() -> None:
    assert mix_of(("crop", "flip", "balanced-sampling"), COUNTS) is None


@pytest.mark.parametrize(
    "wishes", [{"augmentation": ("flip", "mixup", "cutmix")}, {"imbalance": "remix"}]
)
def test_a_training_with_mixed_batches_resumes_bit_for_bit(
    image_folder: Path, tmp_path: Path, wishes: dict[str, object]
) -> None:
    small = {"model": "test_resnet", "image_size": 32, "epochs": 2, "batch_size": 8}
    data, options = DataSource(source=str(image_folder)), TrainOptions(wishes={**small, **wishes})
    train(data, tmp_path / "whole", options, on_event=lambda _: None)

    class Cut(Exception):
        """The power went off."""

    def cut(event: object) -> None:
        if type(event).__name__ == "EpochDone":
            raise Cut

    with pytest.raises(Cut):
        train(data, tmp_path / "cut", options, on_event=cut)
    resume(data, tmp_path / "cut", TrainOptions(), on_event=lambda _: None)
    whole, cut_run = (tmp_path / name / "model.safetensors" for name in ("whole", "cut"))
    assert whole.read_bytes() == cut_run.read_bytes()
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert all(json.loads(line)["val_loss"] > 0 for line in lines)
