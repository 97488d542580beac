"""Networks of torchvision and of a user's own, by reference."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from everyclass.errors import InputError
from everyclass.models.backbones import build_backbone, head_parameters, refuse_unknown
from everyclass.models.classifier import Classifier, Preprocessing, suits_channels_last
from everyclass.models.decision import Decision
from everyclass.models.file import SavedModel, load_model, save_model
from everyclass.models.pretrained import find_weights

GOOD = """
import torch
from torch import nn
from sizes import WIDTH

def build(classes):
    return nn.Sequential(nn.Conv2d(3, WIDTH, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(WIDTH, classes))

class Cut(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 4, stride=4)
        self.out = nn.Linear(4 * 8 * 8, classes)
    def forward(self, x):
        x = self.conv(x)
        return self.out(x.view(len(x), -1))

class Tied(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.a = nn.Linear(3 * 32 * 32, classes)
        self.b = nn.Linear(3 * 32 * 32, classes)
        self.b.weight = self.a.weight
    def forward(self, x):
        return self.a(x.flatten(1)) + self.b(x.flatten(1))

class Pair(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.out = nn.Linear(3, classes)
    def forward(self, x):
        y = self.out(x.mean((2, 3)))
        return (y, y) if self.training else y

def thousand(classes):
    return build(1000)

def plain(classes):
    return lambda x: x

def broken(classes):
    return nn.Linear(classes, "ten")

def frozen(classes):
    return build(classes).requires_grad_(False)

def map(classes):
    return nn.Conv2d(3, classes, 1)

answer = 42
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the user's files in it."""
    (tmp_path / "nets_of_mine.py").write_text(GOOD)
    (tmp_path / "sizes.py").write_text("WIDTH = 6\n")
    monkeypatch.chdir(tmp_path)
    for name in ("nets_of_mine", "sizes"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    return tmp_path


def built(name: str, side: int = 32) -> nn.Module:
    return build_backbone(name, side=side, n_classes=3, seed=0).network


@pytest.mark.parametrize("module", ["nets_of_mine", "nets_of_mine.py", "absolute"])
def test_a_function_is_found_by_module_and_by_path(folder: Path, module: str) -> None:
    where = str(folder / "nets_of_mine.py") if module == "absolute" else module
    first, again = built(f"{where}:build"), built(f"{where}:build")
    assert first(torch.zeros(2, 3, 50, 50)).shape == (2, 3)
    assert torch.equal(first[0].weight, again[0].weight)  # drawn from the run's seed
    other = build_backbone(f"{where}:build", side=32, n_classes=3, seed=1).network
    assert not torch.equal(first[0].weight, other[0].weight)


def test_a_file_beside_an_installed_module_of_that_name_is_itself(folder: Path) -> None:
    (folder / "torch.py").write_text("from torch import nn\nbuild = lambda n: nn.Linear(3, n)\n")
    (folder / "deep").mkdir()
    (folder / "deep" / "timm.py").write_text(GOOD)
    (folder / "deep" / "sizes.py").write_text("WIDTH = 9\n")
    assert built("deep/timm.py:build")[0].out_channels == 9


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent:build", r"no module 'absent' in .* made by absent:build"),
        ("nets/absent.py:build", r"no file .*nets/absent.py.* made by nets/absent.py:build"),
        ("nets_of_mine:biuld", r"nets_of_mine.py has no 'biuld'. Did you mean build\?"),
        ("nets_of_mine:answer", r"is a int, which cannot be called"),
        ("nets_of_mine:thousand", r"has 1000 outputs, and the data have 3 classes"),
        ("nets_of_mine:plain", r"returned a function, which is no torch.nn.Module"),
        ("nets_of_mine:broken", r"failed when .* 3 classes: TypeError: .*nets_of_mine.py, line 4"),
        ("nets_of_mine:frozen", r"no parameter that can be trained"),
        ("nets_of_mine:map", r"shape \(2, 3, 32, 32\), where floats of shape \(2, 3\)"),
        ("nets_of_mine:Pair", r"answers with a tuple in training mode"),
        ("nets_of_mine:", r"is no reference"),
        (":build", r"is no reference"),
    ],
)
def test_what_cannot_be_used_is_one_message(folder: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        built(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that"),
        ("def build(classes:\n", r"\(faulty.py, line 1\)"),
        ("x = 1\nraise ValueError('no')\n", r"ValueError: no \(faulty.py, line 2\)"),
        ("import sys\nsys.exit(3)\n", "SystemExit"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".py"])
def test_a_module_that_fails_is_one_message(
    folder: Path, text: str, message: str, ending: str
) -> None:
    (folder / "faulty.py").write_text(text)
    with pytest.raises(InputError, match=rf"faulty{ending}:build cannot be imported.*{message}"):
        refuse_unknown(f"faulty{ending}:build")


def test_a_network_made_for_one_side_says_so(folder: Path) -> None:
    assert built("nets_of_mine:Cut")(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    with pytest.raises(InputError, match=r"Cut cannot take images of 40 px.*line 17.*--image-size"):
        built("nets_of_mine:Cut", side=40)


def test_a_network_that_needs_contiguous_inputs_is_marked(folder: Path) -> None:
    assert not suits_channels_last(built("nets_of_mine:Cut"))
    assert suits_channels_last(built("nets_of_mine:build"))


def test_trying_a_network_leaves_its_statistics_as_they_were(folder: Path) -> None:
    text = (
        "from torch import nn\n"
        "def build(n):\n"
        "    return nn.Sequential(nn.BatchNorm2d(3), nn.LazyConv2d(4, 3),"
        " nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(n))\n"
    )
    (folder / "lazy_norm.py").write_text(text)
    network = built("lazy_norm:build")
    assert int(network[0].num_batches_tracked) == 0
    assert network.training
    assert all(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet"])
def test_models_of_torchvision(name: str) -> None:
    backbone = build_backbone(f"torchvision:{name}", side=48, n_classes=3, seed=0)
    assert backbone.network.train()(torch.zeros(2, 3, 48, 48)).shape == (2, 3)
    assert backbone.small_stem is (name == "resnet18")


def test_transformers_of_torchvision_are_made_for_the_side() -> None:
    network = built("torchvision:vit_b_32", side=64)
    assert network.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    with pytest.raises(InputError, match=r"vit_b_32 cannot take images of 50 px.*made for 224 px"):
        built("torchvision:vit_b_32", side=50)


def test_a_misspelt_model_of_torchvision_lists_near_ones() -> None:
    with pytest.raises(InputError, match=r"no classification model called 'resnet81'.*resnet18"):
        refuse_unknown("torchvision:resnet81")


def test_weights_that_torchvision_downloaded_before_are_used_with_a_new_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = "torchvision:squeezenet1_1"
    assert find_weights(name) is None
    torch.manual_seed(3)
    published = torchvision.models.squeezenet1_1(weights=None)
    url = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url
    file = tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    torch.save(published.state_dict(), file)
    local = find_weights(name)
    assert local is not None
    assert (local.path, local.side) == (str(file), 224)
    for weights_file in (local.path, None):  # named, and as torchvision itself finds it
        backbone = build_backbone(
            name, side=64, n_classes=3, seed=0, pretrained=True, weights_file=weights_file
        )
        state, wanted = backbone.network.state_dict(), published.state_dict()
        assert torch.equal(state["features.3.squeeze.weight"], wanted["features.3.squeeze.weight"])
        assert backbone.network.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
        assert backbone.mean == (0.485, 0.456, 0.406)
        heads = {id(one) for one in head_parameters(backbone.network)}
        assert heads == {id(one) for one in backbone.network.classifier[1].parameters()}
    torch.save({"nothing.weight": torch.zeros(3)}, file)
    with pytest.raises(InputError, match="holds 1 tensors that torchvision:squeezenet1_1 lacks"):
        build_backbone(name, side=64, n_classes=3, seed=0, pretrained=True)


def test_tied_weights_are_saved_and_loaded(folder: Path) -> None:
    third = (1 / 3, 1 / 3, 1 / 3)
    preprocessing = Preprocessing(side=32, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    saved = SavedModel(
        classifier=Classifier(built("nets_of_mine:Tied"), preprocessing),
        name="nets_of_mine:Tied",
        small_stem=False,
        classes=("ash", "birch", "cedar"),
        decision=Decision(logits_prior=third, natural_prior=third),
    )
    save_model(folder / "run", saved)
    images = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    found = load_model(folder / "run").classifier
    assert found.network.a.weight is found.network.b.weight
    assert torch.equal(found(images), saved.classifier.eval()(images))
