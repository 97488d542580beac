from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from everyclass.errors import InputError
from everyclass.images.resizing import resize
from everyclass.models.classifier import Classifier, Preprocessing, suits_channels_last

CASE = Preprocessing(side=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))


def identity(preprocessing: Preprocessing = CASE) -> Classifier:
    return Classifier(nn.Identity(), preprocessing)


def test_normalisation_by_hand() -> None:
    images = torch.full((1, 3, 16, 16), 255, dtype=torch.uint8)
    inputs = identity().prepare(images)
    # (1 - .5) / .2, (1 - .4) / .25, (1 - .3) / .5
    torch.testing.assert_close(inputs[0, :, 0, 0], torch.tensor([2.5, 2.4, 1.4]))


def test_raw_inputs_stay_in_0_to_255() -> None:
    raw = Preprocessing(side=16, mean=(0, 0, 0), std=(1, 1, 1), scale=1.0)
    images = torch.full((1, 3, 16, 16), 200, dtype=torch.uint8)
    assert float(identity(raw).prepare(images).max()) == 200.0


@pytest.mark.parametrize(
    "shape", [(40, 40), (40, 23), (9, 9), (16, 64), (27, 31), (32, 32), (96, 16), (5, 150)]
)
def test_resizing_agrees_with_pixels_within_one_level(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(*shape, 3), dtype=np.uint8)
    ours = resize(pixels, side=16).astype(int)
    unscaled = Preprocessing(side=16, mean=(0, 0, 0), std=(1, 1, 1), scale=1.0)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    inside = identity(unscaled).prepare(images)[0].permute(1, 2, 0).numpy().astype(int)
    assert np.abs(inside - ours).max() <= 1
    assert (inside == ours).mean() > 0.7


def test_the_right_side_is_not_resampled() -> None:
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    unscaled = Preprocessing(side=16, mean=(0, 0, 0), std=(1, 1, 1), scale=1.0)
    assert torch.equal(identity(unscaled).prepare(images), images.float())


@pytest.mark.parametrize(
    "images",
    [
        torch.rand(2, 3, 16, 16),
        torch.zeros(2, 1, 16, 16, dtype=torch.uint8),
        torch.zeros(3, 16, 16, dtype=torch.uint8),
    ],
)
def test_other_inputs_are_refused_not_guessed(images: torch.Tensor) -> None:
    with pytest.raises(InputError, match="takes uint8 images"):
        identity()(images)


def test_preprocessing_round_trip_and_range() -> None:
    assert Preprocessing.from_dict(CASE.to_dict()) == CASE
    with pytest.raises(InputError, match="std > 0"):
        Preprocessing(side=16, mean=(0, 0, 0), std=(1, 0, 1))


def test_buffers_are_saved_with_the_model() -> None:
    assert {"mean", "std"} <= identity().state_dict().keys()


def test_the_layout_in_memory_changes_no_value() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))
    model = Classifier(network, Preprocessing(side=8, mean=(0.5,) * 3, std=(0.2,) * 3))
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    before = model(images)
    for channels_last in (False, True):
        model.lay_out(channels_last=channels_last)
        weight = network[0].weight
        assert weight.is_contiguous(memory_format=model.memory_format)
        assert (model.memory_format == torch.channels_last) is channels_last
        torch.testing.assert_close(model(images), before)


def test_networks_with_strided_1x1_convolutions_of_few_channels_stay_contiguous() -> None:
    grouped = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 1, stride=2))
    assert suits_channels_last(grouped)
    network = nn.Sequential(nn.Conv2d(3, 8, 1, stride=2))
    model = Classifier(network, Preprocessing(side=8, mean=(0.5,) * 3, std=(0.2,) * 3))
    assert model.memory_format == torch.contiguous_format
    with pytest.raises(InputError, match="1x1 convolution with a stride on fewer than 8 channels"):
        model.lay_out(channels_last=True)
