from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from everyclass.errors import InputError
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.models.freezing import early_parameters, freeze, modules_of

PREPROCESSING = Preprocessing(side=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def classifier(name: str = "test_resnet") -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Classifier(timm.create_model(name, num_classes=3), PREPROCESSING)


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("tf_efficientnet_lite0", {"blocks.5", "blocks.6", "conv_head", "bn2", "classifier"}),
        ("test_resnet", {"layer4", "fc"}),
    ],
)
def test_the_last_stages_are_trained(name: str, trained: set[str]) -> None:
    network = timm.create_model(name, num_classes=3)
    early = set(early_parameters(network, name))
    late = {path for path, _ in network.named_parameters()} - early
    assert all(any(path.startswith(f"{one}.") for one in trained) for path in late)
    assert not any(path.startswith(f"{one}.") for one in trained for path in early)


def test_a_network_without_stages_is_refused() -> None:
    with pytest.raises(InputError, match=r"what the stages of mine are.*--fine-tuning full"):
        early_parameters(nn.Linear(2, 2), "mine")


def test_the_largest_modules_stand_for_what_is_in_them() -> None:
    network = nn.Sequential(
        nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), nn.ReLU(), nn.Linear(2, 2)
    )
    names = ["0.0.weight", "0.0.bias", "0.1.weight", "0.1.bias", "2.weight"]
    assert modules_of(network, names) == ("0",)


def test_what_is_frozen_keeps_its_weights_and_statistics() -> None:
    model = classifier()
    freeze(model.network, early_parameters(model.network, "test_resnet"))
    before = copy.deepcopy(model.network.state_dict())
    twin = copy.deepcopy(model)  # a moving average has to stay frozen as well
    for one in (model, twin):
        one.train()
        optimizer = torch.optim.SGD([p for p in one.parameters() if p.requires_grad], lr=0.1)
        images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
        nn.functional.cross_entropy(one(images), torch.arange(8) % 3).backward()
        optimizer.step()
        changed = {
            name
            for name, value in one.network.state_dict().items()
            if not torch.equal(value, before[name])
        }
        assert changed
        assert all(name.startswith(("layer4.", "fc.")) for name in changed)
        assert not any("running" in name or "tracked" in name for name in changed)
    assert not model.network.get_submodule("layer1").training
    assert model.network.get_submodule("layer4").training
    assert not model.network.get_submodule("layer4.0.bn1").training
    assert not model.eval().network.get_submodule("layer4").training
