from __future__ import annotations

import pytest
import torch
from torch import nn

from everyclass.errors import InputError
from everyclass.models.tutorial import SMALLEST_SIDE, TutorialCNN, features_side


def test_256_px_gives_16_x_28_x_28() -> None:
    # 256 -4=252 /2=126 -4=122 /2=61 -4=57 /2=28
    assert features_side(256) == 28
    network = TutorialCNN(in_channels=3, side=256, n_classes=5)
    assert network.features(torch.zeros(1, 3, 256, 256)).shape == (1, 16, 28, 28)
    assert [m.in_features for m in network.classifier if isinstance(m, nn.Linear)] == [
        16 * 28 * 28,
        200,
        84,
    ]


@pytest.mark.parametrize("side", [SMALLEST_SIDE, 37, 64, 255])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_channel_count(side: int, channels: int) -> None:
    network = TutorialCNN(in_channels=channels, side=side, n_classes=7)
    assert network(torch.zeros(2, channels, side, side)).shape == (2, 7)


def test_too_small_is_said() -> None:
    with pytest.raises(InputError, match="at least 36 px"):
        TutorialCNN(in_channels=3, side=SMALLEST_SIDE - 1, n_classes=2)


def test_layers_as_published() -> None:
    network = TutorialCNN(in_channels=3, side=64, n_classes=2)
    convolutions = [m for m in network.features if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in convolutions] == [
        (3, 6, (5, 5)),
        (6, 6, (5, 5)),
        (6, 16, (5, 5)),
    ]
    assert sum(isinstance(m, nn.MaxPool2d) for m in network.features) == 3
