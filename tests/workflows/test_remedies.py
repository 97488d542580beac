"""From what a trial proved to settings of the recipe, case by case."""

from __future__ import annotations

from typing import Any

import pytest
from repair_zoo import told

from everyclass.diagnosis.changes import changes
from everyclass.repairs import Repair, SettingChange
from everyclass.settings import TUTORIAL, Settings, check_settings
from everyclass.workflows import remedies
from everyclass.workflows.remedies import Facts, prescription, why_none


def settings(**values: Any) -> Settings:
    rest = {
        "weights_file": None,
        "fine_tuning": "full",
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "device": "cpu",
        "memory_format": "contiguous",
        "threads": 1,
        "val_fraction": 0.15,
        "test_fraction": 0.15,
        "seed": 0,
    }
    return check_settings({**TUTORIAL, **rest, **values}, where="test")


def prescribed(*changes: str, **values: Any) -> dict[str, Any] | None:
    facts = Facts(
        settings=settings(**values), mean=(0.4, 0.5, 0.6), std=(0.2, 0.0, 0.3), n_steps=1000
    )
    found = prescription(told(*changes), facts)
    return None if found is None else {one.name: one.new for one in found.changes}


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        ("rate-tenth", {"learning_rate": 3.0}, {"learning_rate": 0.3}),
        ("rate-hundredth", {"learning_rate": 10.0}, {"learning_rate": 0.1}),
        ("rate-ten-times", {"learning_rate": 1e-6}, {"learning_rate": 1e-5}),
        ("rate-hundred-times", {"learning_rate": 0.001}, {"learning_rate": 0.1}),
        ("rate-constant", {"schedule": "exponential"}, {"schedule": "constant"}),
        ("gradients-clipped", {}, {"clip_norm": 1.0}),
        ("weight-decay-off", {"weight_decay": 5.0}, {"weight_decay": 0.0}),
        ("smoothing-removed", {"label_smoothing": 0.9}, {"label_smoothing": 0.0}),
        ("weights-removed", {}, {"imbalance": ()}),
        ("weights-balanced", {}, {"imbalance": ("weights-balanced",)}),
        ("prior-corrected", {"imbalance": ()}, {"imbalance": ("logit-adjustment",)}),
        ("balanced-batches", {}, {"imbalance": ("balanced-sampling",)}),
        ("float32", {"precision": "bf16"}, {"precision": "fp32"}),
        # 50 warm-up steps of 1,000
        ("warm-up", {"learning_rate": 0.1}, {"learning_rate": 0.03, "warmup_fraction": 0.05}),
        ("adam", {}, {"optimizer": "adam"}),
        (
            "inputs-standardised",
            {"normalisation": "raw"},
            # a channel without deviation is not divided by zero
            {"normalisation": "dataset", "mean": (0.4, 0.5, 0.6), "std": (0.2, 1e-3, 0.3)},
        ),
        (
            "rate-tenth + gradients-clipped",
            {"learning_rate": 1.0},
            {"learning_rate": 0.1, "clip_norm": 1.0},
        ),
    ],
)
def test_what_the_recipe_can_say(
    change: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert prescribed(change, **before) == after


@pytest.mark.parametrize(
    ("change", "before"),
    [
        ("batchnorm-added", {}),  # a network's layers are the model's
        ("rate-tenth + dropout-off", {}),  # half of a pair was never proved
        ("rate-hundred-times", {"learning_rate": 50.0}),  # beyond what a recipe may hold
        ("weight-decay-off", {}),  # as it is already
    ],
)
def test_what_it_cannot(change: str, before: dict[str, Any]) -> None:
    assert prescribed(change, **before) is None


def test_the_next_proved_cause_is_taken_where_the_first_has_no_setting() -> None:
    assert prescribed("dropout-off", "gradients-clipped") == {"clip_norm": 1.0}


def test_augmentation_is_left_out_only_where_it_is_the_cause() -> None:
    facts = Facts(
        settings=settings(augmentation=["crop"]), mean=(0.4,) * 3, std=(0.2,) * 3, n_steps=10
    )
    strong = told("evaluation-images", cause="augmentation-too-strong")
    found = prescription(strong, facts)
    assert found is not None
    assert [(one.name, one.new) for one in found.changes] == [("augmentation", ())]
    assert prescription(told("evaluation-images", cause="labels-unrelated"), facts) is None


def test_how_long_to_train_is_the_users() -> None:
    diagnosis = told("longer", cause="undertrained")
    assert prescribed("longer") is None
    assert "yours to say (--epochs)" in why_none(diagnosis)


def test_nothing_is_changed_on_a_suspicion() -> None:
    facts = Facts(settings=settings(), mean=(0.4,) * 3, std=(0.2,) * 3, n_steps=10)
    suspected = told("rate-tenth", proved=False)
    assert prescription(suspected, facts) is None
    assert why_none(suspected) == (
        "No cause was proved; learning-rate-too-high is suspected, and nothing is changed on a "
        "suspicion. Nothing else was tried."
    )
    assert why_none(told()) == (
        "No cause was proved, and nothing is suspected. Nothing else was tried."
    )


def test_inputs_go_back_to_the_first_weights_and_a_rate_need_not() -> None:
    facts = Facts(settings=settings(), mean=(0.4,) * 3, std=(0.2,) * 3, n_steps=10)
    found = [prescription(told(one), facts) for one in ("inputs-standardised", "rate-tenth")]
    assert [one is not None and one.from_start for one in found] == [True, False]


def test_every_change_with_settings_is_one_that_trials_make() -> None:
    assert set(remedies._SETTINGS) <= {one.name for one in changes()}


def test_a_repair_comes_back_from_json() -> None:
    repair = Repair(
        number=1,
        outcome="repaired",
        verdict="collapsed",
        step=96,
        since_step=None,
        alarm="Every image is given class 'a'.",
        cause="class-imbalance",
        proved=True,
        trial="balanced-batches",
        changes=(SettingChange(name="imbalance", old=(), new=("balanced-sampling",)),),
        reason="With each class equally often it is well.",
        from_step=33,
        checkpoint="checkpoints/step-000000033-0123456789abcdef.pt",
        seconds=20.5,
    )
    assert Repair.from_dict(repair.to_dict()) == repair


def test_a_head_of_cosines_is_left_or_taken_from_the_first_weights_on() -> None:
    for before, from_start in ((("ldam-drw",), True), (("weights-deferred",), False)):
        facts = Facts(
            settings=settings(imbalance=before), mean=(0.5,) * 3, std=(0.2,) * 3, n_steps=1000
        )
        found = prescription(told("balanced-batches"), facts)
        assert found is not None
        assert found.from_start is from_start
