"""Folding batch normalisation: the same answers, the same weights, and what cannot be folded."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from everyclass.models.backbones import build_backbone
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.models.folding import folded

SIDE = 40
PREPROCESSING = Preprocessing(side=SIDE, mean=(0.5, 0.4, 0.6), std=(0.2, 0.3, 0.25))


def classifier_of(network: nn.Module) -> Classifier:
    """In evaluation mode, its normalisations with statistics of their own."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return Classifier(network, PREPROCESSING).eval()


def images(n: int = 6) -> Tensor:
    return torch.randint(0, 256, (n, 3, SIDE, SIDE), dtype=torch.uint8)


def norms(module: nn.Module) -> int:
    return sum(isinstance(one, nn.BatchNorm2d) for one in module.modules())


@pytest.mark.parametrize("name", ["test_resnet", "resnet10t", "mobilenetv3_small_050", "tutorial"])
def test_a_folded_network_answers_as_before_and_the_first_one_keeps_its_weights(name: str) -> None:
    network = build_backbone(name, side=SIDE, n_classes=4, seed=0).network
    classifier = classifier_of(network)
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    found, probe = folded(classifier), images()
    with torch.inference_mode():
        wanted = classifier(probe)
        torch.testing.assert_close(found(probe), wanted, rtol=1e-4, atol=1e-4)
    for key, value in classifier.state_dict().items():
        assert torch.equal(value, before[key])


def test_the_normalisations_are_gone() -> None:
    classifier = classifier_of(build_backbone("resnet10t", side=SIDE, n_classes=4, seed=0).network)
    assert norms(classifier) > 10
    assert norms(folded(classifier).network) == 0


class Branching(nn.Module):
    """Its course depends on values: it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1))

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.body(inputs).flatten(1)
        return features if features.sum() > 0 else -features


class Twice(nn.Module):
    """One convolution before two normalisations: neither may be folded into it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.one, self.other = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.conv(inputs)
        return (self.one(features) + self.other(features)).mean(dim=(2, 3))


class Again(Twice):
    """One convolution used twice, once with and once without a normalisation."""

    def forward(self, inputs: Tensor) -> Tensor:
        return (self.one(self.conv(inputs)) + self.conv(inputs)).mean(dim=(2, 3))


def test_what_cannot_be_traced_is_given_back() -> None:
    classifier = classifier_of(Branching())
    assert folded(classifier) is classifier


@pytest.mark.parametrize("network", [Twice, Again])
def test_shared_convolutions_are_left_alone(network: type[nn.Module]) -> None:
    classifier = classifier_of(network())
    found, probe = folded(classifier), images()
    assert norms(found) > 0
    with torch.inference_mode():
        torch.testing.assert_close(found(probe), classifier(probe), rtol=1e-4, atol=1e-4)


def test_weights_are_rounded_once_as_autocast_rounds_them_at_every_batch() -> None:
    classifier = classifier_of(
        build_backbone("test_resnet", side=SIDE, n_classes=4, seed=0).network
    )
    probe = images()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(
            folded(classifier, half=True)(probe), folded(classifier)(probe), rtol=0, atol=0
        )
    assert {one.dtype for one in classifier.parameters()} == {torch.float32}
