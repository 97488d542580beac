from __future__ import annotations

from typing import Any

import pytest
import yaml

from everyclass.decide import Machine, choose_side, decide, learning_rate
from everyclass.errors import InputError
from everyclass.images.audit_values import Audit, ImageSizes, SplitFacts, Spread
from everyclass.recipe import Decision, Recipe, read_wishes
from everyclass.settings import NAMES, PRESETS, check_wishes

CPU = Machine(device="cpu", threads=2, bf16=False)
GPU = Machine(device="cuda", threads=8, bf16=True)
SIDE = Decision(name="image_size", value=64, reason="for the test", origin="audit")


def audit(counts: tuple[int, ...]) -> Audit:
    """An audit of a train split with these counts; nothing else is remarkable."""
    spread = Spread(low=100, median=100, high=100)
    return Audit(
        source="cells",
        side=64,
        classes=tuple("ABCDEFGH"[: len(counts)]),
        n=sum(counts),
        splits=(
            SplitFacts(
                split="train",
                n=sum(counts),
                counts=counts,
                n_pixels=sum(counts) * 64 * 64,
                mean=(0.5, 0.4, 0.3),
                std=(0.2, 0.21, 0.22),
            ),
        ),
        unlabelled=0,
        imbalance_ratio=max(counts) / min(counts),
        effective_classes=2.0,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.21, 0.22),
        sizes=ImageSizes(width=spread, height=spread, distinct=1, common=(), smaller=0),
        kinds=(),
        reduced=0,
        unreadable=(),
        set_aside=(),
        blank=(),
        duplicates=(),
        straddling=(),
        label_order=None,
    )


def recipe(
    counts: tuple[int, ...] = (500, 50, 20),
    *,
    machine: Machine = CPU,
    preset: str | None = None,
    **wishes: Any,
) -> Recipe:
    return decide(audit(counts), side=SIDE, machine=machine, wishes=wishes, preset=preset)


def decision(of: Recipe, name: str) -> Decision:
    return next(one for one in of.decisions if one.name == name)


def test_each_setting_is_decided_once_with_a_reason_and_an_origin() -> None:
    decided = recipe()
    assert tuple(one.name for one in decided.decisions) == NAMES
    assert all(one.reason for one in decided.decisions)
    assert len(decided.why()) == len(NAMES)


def test_deciding_is_pure() -> None:
    assert recipe() == recipe()


@pytest.mark.parametrize(
    ("counts", "epochs", "expected"),
    [
        ((100, 90, 40), 5, ()),
        ((100, 90, 34), 5, ()),
        ((100, 90, 33), 5, ("balanced-sampling",)),
        ((1000, 90, 20), 40, ("balanced-sampling",)),
        ((1000, 90, 20), 200, ("logit-adjustment",)),
    ],
)
def test_imbalance_is_corrected_in_one_place_at_most(
    counts: tuple[int, ...], epochs: int, expected: tuple[str, ...]
) -> None:
    chosen = decision(recipe(counts, epochs=epochs), "imbalance")
    assert chosen.value == expected
    assert chosen.origin == "audit"
    assert str(max(counts)) in chosen.reason.replace(",", "")


def test_statistics_of_the_data_from_scratch_of_the_backbone_when_pretrained() -> None:
    scratch = recipe()
    assert decision(scratch, "normalisation").value == "dataset"
    assert decision(scratch, "mean").value == (0.5, 0.4, 0.3)
    assert decision(recipe(pretrained=True), "normalisation").value == "backbone"
    assert decision(recipe(weights_file="w.safetensors"), "pretrained").value is True
    assert recipe(normalisation="none").settings.std == (1.0, 1.0, 1.0)


def test_a_wish_wins_and_says_what_it_overruled() -> None:
    chosen = decision(recipe(optimizer="sgd"), "optimizer")
    assert (chosen.value, chosen.origin) == ("sgd", "user")
    assert "our own choice: adamw" in chosen.reason


def test_a_wish_for_the_same_value_changes_nothing() -> None:
    assert decision(recipe(optimizer="adamw"), "optimizer").origin == "default"


def test_the_rate_follows_the_optimizer_and_batch_in_use() -> None:
    # 0.002 * sqrt(128 / 32) = 0.004; 0.05 * 128 / 32 = 0.2
    assert learning_rate("adamw", 128)[0] == 0.004
    assert learning_rate("sgd", 128)[0] == 0.2
    assert recipe(optimizer="sgd", batch_size=128).settings.learning_rate == 0.2


def test_the_tutorial_comes_whole_and_can_be_changed() -> None:
    settings = recipe(preset="tutorial", epochs=7).settings
    assert (settings.model, settings.learning_rate, settings.momentum) == ("tutorial", 0.001, 0.9)
    assert (settings.batch_size, settings.imbalance) == (10, ("weights-inverse",))
    assert settings.normalisation == "imagenet"
    assert settings.epochs == 7
    with pytest.raises(InputError, match="no recipe called 'tutoral'"):
        recipe(preset="tutoral")


def test_half_precision_only_where_the_device_has_it() -> None:
    assert recipe().settings.precision == "fp32"
    assert recipe(machine=GPU).settings.precision == "bf16"


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"batch_size": 10, "accumulation": 3}, "cannot be split into 3 equal"),
        ({"precision": "fp16"}, "fp16 needs a CUDA device"),
        ({"val_fraction": 0.6, "test_fraction": 0.5}, "leave no images to train on"),
        ({"model": "tutorial", "pretrained": True}, "no pretrained weights"),
        ({"normalisation": "backbone"}, "needs pretrained weights"),
        ({"imbalance": "remix", "augmentation": ("flip", "mixup")}, "would mix the images again"),
        ({"normalisation": "dataset", "std": (0.2, 0.0, 0.2)}, "divided by more than 0"),
        ({"epochs": 0}, "epochs cannot be 0"),
        ({"learning_rate": "fast"}, "learning_rate cannot be 'fast'"),
        ({"imbalance": "weigths"}, "imbalance.*cannot be 'weigths'"),
        ({"epoch": 3}, "no setting called 'epoch'"),
    ],
)
def test_contradictions_and_bad_values_are_one_message(wishes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        recipe(**wishes)


def test_yaml_round_trip() -> None:
    original = recipe(preset="tutorial", augmentation=["crop", "flip"])
    again = Recipe.from_yaml(original.to_yaml(), where="recipe.yaml")
    assert again == original


def test_an_edited_file_is_a_wish_list() -> None:
    text = recipe().to_yaml().replace("value: adamw", "value: sgd")
    wishes = read_wishes(text, where="recipe.yaml")
    assert wishes["optimizer"] == "sgd"
    again = recipe(**wishes)
    assert decision(again, "optimizer").origin == "user"
    assert decision(again, "schedule").origin == "default"


def test_short_forms_are_understood() -> None:
    wishes = read_wishes("batch_size: 16\nimbalance: none\naugmentation: crop\n", where="mine.yaml")
    assert wishes == {"batch_size": 16, "imbalance": (), "augmentation": ("crop",)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "mine.yaml: This is not YAML"),
        ("- 1\n- 2\n", "mine.yaml: A recipe is a list of settings"),
        ("", "mine.yaml: A recipe is a list of settings"),
        ("learning_rate: -1\n", "learning_rate cannot be -1"),
        ("lr: 0.1\n", "no setting called 'lr'"),
    ],
)
def test_a_file_that_is_no_recipe_says_so(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_wishes(text, where="mine.yaml")


def test_a_run_s_recipe_must_be_whole() -> None:
    values = yaml.safe_load(recipe().to_yaml())
    del values["optimizer"]
    with pytest.raises(InputError, match="optimizer is missing"):
        Recipe.from_yaml(yaml.safe_dump(values), where="recipe.yaml")


@pytest.mark.parametrize(
    ("sides", "device", "expected"),
    [
        ((150, 150, 150), "cpu", 64),
        ((32, 32), "cpu", 32),
        ((28,), "cpu", 32),
        ((1000, 100), "cuda", 224),
        ((150,), "cuda", 128),
    ],
)
def test_the_side_suits_the_images_and_the_device(
    sides: tuple[int, ...], device: Any, expected: int
) -> None:
    assert choose_side(sides, device=device, wish=None).value == expected


def test_presets_hold_valid_settings() -> None:
    for name, values in PRESETS.items():
        assert check_wishes(values, where=name) == dict(values)
