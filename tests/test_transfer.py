"""What pretrained weights change in a recipe."""

from __future__ import annotations

from typing import Any

import pytest

from everyclass.decide import choose_side, decide
from everyclass.errors import InputError
from everyclass.recipe import Recipe
from everyclass.transfer import LOCAL_MODEL, LocalWeights, usable
from test_recipe import CPU, GPU, SIDE, audit, decision

HERE = LocalWeights(
    model=LOCAL_MODEL, path="/shelf/w.pth", source="the package shelf 1.0", licence="MIT", side=224
)


def recipe(
    counts: tuple[int, ...] = (500, 50, 20),
    *,
    local: LocalWeights | None = HERE,
    **wishes: Any,
) -> Recipe:
    return decide(audit(counts), side=SIDE, machine=CPU, wishes=wishes, local=local)


def test_weights_that_are_here_are_used_where_asked_for_and_named() -> None:
    chosen = recipe(pretrained=True)
    settings = chosen.settings
    assert (settings.model, settings.pretrained) == (LOCAL_MODEL, True)
    assert settings.weights_file == "/shelf/w.pth"
    assert settings.normalisation == "backbone"
    reason = decision(chosen, "weights_file").reason
    assert "the package shelf 1.0" in reason
    assert "MIT" in reason


@pytest.mark.parametrize("wishes", [{}, {"pretrained": False}, {"model": "resnet18"}])
def test_else_a_training_is_from_scratch_as_before(wishes: dict[str, Any]) -> None:
    chosen = recipe(**wishes).settings
    assert chosen == recipe(local=None, **wishes).settings
    assert not chosen.pretrained
    assert chosen.fine_tuning == "full"


def test_weights_at_hand_are_told_of_and_so_is_why_they_are_not_used() -> None:
    reason = decision(recipe(), "pretrained").reason
    for told in ("--pretrained uses those", "the package shelf 1.0", "blood cells"):
        assert told in reason
    assert "--pretrained uses those" not in decision(recipe(local=None), "pretrained").reason


def test_a_wish_for_pretrained_weights_downloads_only_what_is_not_here() -> None:
    assert recipe(pretrained=True).settings.weights_file == "/shelf/w.pth"
    asked = recipe(local=None, pretrained=True).settings
    assert (asked.model, asked.pretrained, asked.weights_file) == ("resnet10t", True, None)
    named = recipe(weights_file="own.pth", model="resnet18").settings
    assert (named.model, named.weights_file) == ("resnet18", "own.pth")


def test_weights_of_another_model_are_not_usable() -> None:
    assert usable({"model": LOCAL_MODEL, "pretrained": True}, HERE) == HERE
    assert usable({"model": "resnet18", "pretrained": True}, HERE) is None
    assert usable({"pretrained": True, "weights_file": "own.pth"}, HERE) is None
    assert usable({}, HERE) is None


@pytest.mark.parametrize(
    ("counts", "mode"), [((200, 100), "head"), ((400, 100), "full"), ((60_000, 100), "full")]
)
def test_what_is_trained_follows_the_number_of_images(counts: tuple[int, ...], mode: str) -> None:
    chosen = decision(recipe(counts, pretrained=True), "fine_tuning")
    assert (chosen.value, chosen.origin) == (mode, "audit")
    assert f"{sum(counts):,}" in chosen.reason


def test_pretrained_networks_get_larger_images_without_an_accelerator() -> None:
    def side(device: Any, *, pretrained: bool) -> int:
        found = choose_side((150,), device=device, wish=None, pretrained=pretrained)
        return int(found.value)

    assert (side("cpu", pretrained=False), side("cpu", pretrained=True)) == (64, 128)
    assert side("cuda", pretrained=False) == side("cuda", pretrained=True)


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"pretrained": False, "weights_file": "w.pth"}, "pretrained weights are not wanted"),
        ({"pretrained": False, "fine_tuning": "head"}, r"these are random.*Add --pretrained"),
        ({"pretrained": False, "fine_tuning": "light"}, r"these are random.*Add --pretrained"),
        (
            {"pretrained": True, "fine_tuning": "head", "ema_decay": 0.9},
            r"nothing to average.*--fine-tuning light",
        ),
        (
            {"pretrained": True, "fine_tuning": "head", "imbalance": ["ldam-drw"]},
            r"one of cosines.*--imbalance",
        ),
        (
            {"pretrained": True, "fine_tuning": "head", "augmentation": ("flip", "mixup")},
            r"computed once, and mixup mixes.*--fine-tuning light",
        ),
        ({"fine_tuning": "most"}, r"fine_tuning cannot be 'most'"),
    ],
)
def test_contradictions_are_one_message(wishes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        recipe(**wishes)


@pytest.mark.parametrize(
    "wishes",
    [
        {"ema_decay": 0.9},
        {"imbalance": ["ldam-drw"]},
        {"imbalance": ["remix"]},
        {"augmentation": ["flip", "cutmix"]},
    ],
)
def test_what_a_head_alone_cannot_have_is_never_our_own_contradiction(
    wishes: dict[str, Any],
) -> None:
    for counts in ((60, 20, 5), (500, 50, 20), (60_000, 5_000, 100)):
        assert recipe(counts, pretrained=True, **wishes).settings.fine_tuning != "head"


def test_rate_and_passes_follow_what_is_trained() -> None:
    head = recipe(pretrained=True, fine_tuning="head").settings
    full = recipe(pretrained=True, fine_tuning="full").settings
    assert (head.learning_rate, full.learning_rate) == (0.002, 0.0005)
    assert (head.ema_decay, full.ema_decay) == (0.0, 0.99)
    assert head.epochs == 28  # 16,000 features
    assert (
        recipe((900, 100), pretrained=True, fine_tuning="light").settings.epochs == 10
    )  # 10,000 views
    assert recipe((90_000, 10_000), pretrained=True, fine_tuning="light").settings.epochs == 3
    assert decide(
        audit((500, 50)),
        side=SIDE,
        machine=GPU,
        wishes={"pretrained": True, "fine_tuning": "full"},
        local=HERE,
    ).settings.pretrained


def test_a_head_is_corrected_in_its_loss() -> None:
    assert recipe(pretrained=True, fine_tuning="head").settings.imbalance == ("logit-adjustment",)
    assert recipe(pretrained=True, fine_tuning="full").settings.imbalance == ("balanced-sampling",)
    assert recipe((50, 40), pretrained=True, fine_tuning="head").settings.imbalance == ()


def test_a_recipe_passed_back_is_the_same() -> None:
    text = recipe(pretrained=True).to_yaml()
    assert Recipe.from_yaml(text, where="recipe.yaml") == recipe(pretrained=True)
