from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from everyclass.errors import InputError
from everyclass.imbalance.margins import CosineLinear
from everyclass.models.backbones import build_backbone


def test_the_seed_decides_the_weights_and_the_global_stream_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build_backbone("resnet18", side=64, n_classes=4, seed=1).network.state_dict()
    assert torch.equal(torch.rand(3), expected)
    again = build_backbone("resnet18", side=64, n_classes=4, seed=1).network.state_dict()
    other = build_backbone("resnet18", side=64, n_classes=4, seed=2).network.state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_small_images_lose_the_pooling_of_the_stem() -> None:
    small = build_backbone("resnet18", side=32, n_classes=4, seed=0)
    large = build_backbone("resnet18", side=64, n_classes=4, seed=0)
    assert small.small_stem
    assert isinstance(small.network.maxpool, nn.Identity)
    assert not large.small_stem
    forced = build_backbone("resnet18", side=32, n_classes=4, seed=0, small_stem=False)
    assert isinstance(forced.network.maxpool, nn.MaxPool2d)


def test_a_misspelt_name_lists_near_ones() -> None:
    with pytest.raises(InputError, match=r"no model called 'resnet81'.*Did you mean .*resnet"):
        build_backbone("resnet81", side=64, n_classes=4, seed=0)


def test_transformers_are_made_for_the_side_of_the_images() -> None:
    network = build_backbone("vit_tiny_patch16_224", side=48, n_classes=4, seed=0).network
    assert network(torch.zeros(2, 3, 48, 48)).shape == (2, 4)


@pytest.mark.parametrize("name", ["inception_v3", "efficientformer_l1"])
def test_a_side_that_the_network_cannot_take_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name} cannot take images of 32 px.*made for \d+ px"):
        build_backbone(name, side=32, n_classes=4, seed=0)


def test_weights_from_a_local_file_get_a_new_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = timm.create_model("resnet10t", num_classes=1000)
    path = tmp_path / "weights.safetensors"
    save_file(published.state_dict(), path)
    backbone = build_backbone(
        "resnet10t", side=32, n_classes=3, seed=0, pretrained=True, weights_file=str(path)
    )
    assert torch.equal(
        backbone.network.state_dict()["conv1.0.weight"], published.state_dict()["conv1.0.weight"]
    )
    assert backbone.network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert backbone.mean == tuple(published.pretrained_cfg["mean"])
    assert not backbone.small_stem


def test_weights_that_do_not_fit_or_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no weights file"):
        build_backbone(
            "resnet10t", side=32, n_classes=3, seed=0, pretrained=True, weights_file="absent.pth"
        )
    path = tmp_path / "other.safetensors"
    save_file({"nothing.weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match=r"holds 1 tensors that resnet10t lacks.*nothing.weight"):
        build_backbone(
            "resnet10t", side=32, n_classes=3, seed=0, pretrained=True, weights_file=str(path)
        )


@pytest.mark.parametrize("name", ["tutorial", "test_resnet", "test_vit"])
def test_a_cosine_head_takes_the_place_of_the_last_layer(name: str) -> None:
    found = build_backbone(name, side=64, n_classes=5, seed=0, cosine_head=True)
    assert found.cosine_head
    logits = found.network.eval()(torch.randn(4, 3, 64, 64))
    assert logits.shape == (4, 5)
    assert float(logits.detach().abs().max()) <= 30.001
    assert any(isinstance(one, CosineLinear) for one in found.network.modules())
