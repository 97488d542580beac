"""evaluation.json: the names others build on, the round trip, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from everyclass.contracts import Evaluation
from everyclass.errors import InputError
from everyclass.stats.conformal import ConformalThresholds, evaluate_sets
from everyclass.stats.evaluation import evaluate_predictions

CLASSES = ("CC", "EC", "HGSC", "gone")
SETS = ConformalThresholds(
    coverage=0.9,
    classes=CLASSES,
    counts=np.array([20, 9, 30, 2]),
    thresholds=np.array([0.5, 0.2, 0.5, 0.0]),
)


@pytest.fixture
def evaluation() -> Evaluation:
    # Confusion: CC 2 right of 3, EC never predicted, HGSC 2 right of 2, 'gone' without images.
    probs = [[0.7, 0.1, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1]]
    probs += [[0.1, 0.1, 0.7, 0.1]] * 3
    return evaluate_predictions(
        [0, 0, 0, 1, 2, 2],
        [0, 0, 2, 2, 2, 2],
        probs=probs,
        probs_before_temperature=probs,
        classes=CLASSES,
        split="test",
        decision="balanced",
        prior=(0.4, 0.2, 0.3, 0.1),
        train_counts=(40, 20, 30, 10),
        set_aside=1,
        prediction_sets=evaluate_sets(SETS, probs, [0, 0, 0, 1, 2, 2]),
    )


def test_the_fields_of_the_contract_keep_their_names(evaluation: Evaluation) -> None:
    values = evaluation.to_dict()
    assert {
        "split",
        "n",
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "classes",
        "confusion",
        "ece",
        "predicted_classes",
        "collapse",
    } <= values.keys()
    assert {"name", "n", "recall", "precision", "f1", "recall_ci95"} <= values["classes"][0].keys()


def test_json_round_trip_is_exact(evaluation: Evaluation) -> None:
    text = json.dumps(evaluation.to_dict(), allow_nan=False)
    assert Evaluation.from_dict(json.loads(text)) == evaluation


def test_what_does_not_apply_is_null_with_its_reason(evaluation: Evaluation) -> None:
    ec, gone = evaluation.classes[1], evaluation.classes[3]
    assert (ec.recall, ec.precision, ec.f1) == (0.0, None, 0.0)
    assert ec.precision_ci95 is None
    assert ec.note == "never predicted: precision does not apply"
    assert (gone.recall, gone.precision, gone.f1) == (None, None, None)
    assert gone.note == "no images in this split: recall does not apply"
    # 'gone' has no images: that it is not predicted is right, and not reported.
    assert evaluation.never_predicted == ("EC",)
    assert evaluation.predicted_classes == 2


def test_a_newer_file_with_more_fields_is_read(evaluation: Evaluation) -> None:
    values = evaluation.to_dict() | {"from_the_future": 1}
    assert Evaluation.from_dict(values) == evaluation


def test_a_file_from_before_reliability_and_sets_is_read(evaluation: Evaluation) -> None:
    values = evaluation.to_dict()
    for key in ("reliability", "reliability_before_temperature", "prediction_sets"):
        del values[key]
    found = Evaluation.from_dict(values)
    assert (found.reliability, found.prediction_sets) == ((), None)


def test_sets_give_their_reach_and_size(evaluation: Evaluation) -> None:
    sets = evaluation.to_dict()["prediction_sets"]
    # CC 2 of 3, EC 0 of 1, HGSC 2 of 2; each set holds 'gone' beside one class.
    assert [one["covered"] for one in sets["classes"]] == [2, 0, 2, 0]
    assert (sets["reached"], sets["mean_size"]) == (pytest.approx(4 / 6), 2.0)
    assert [one["guaranteed"] for one in sets["classes"]] == [True, True, True, False]


def test_one_line_says_the_main_thing(evaluation: Evaluation) -> None:
    assert str(evaluation).startswith("test: 6 images, balanced accuracy 0.556 [")
    assert "(majority 0.333)" in str(evaluation)


def broken(values: dict[str, Any], *path: str | int, to: object) -> dict[str, Any]:
    changed = copy.deepcopy(values)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return changed


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (("split",), 3, "'split' is 3 (int), not a text"),
        (("n",), 7, "n is 7, the matrix sums to 6"),
        (("n",), True, "'n' is True (bool), not a whole number"),
        (("accuracy",), 1.5, "accuracy is 1.5, outside [0, 1]"),
        (("accuracy",), float("nan"), "'accuracy' is nan (float), not a finite number"),
        (("accuracy",), None, "'accuracy' is null, not a finite number"),
        (("accuracy_ci95",), [0.9, 0.1], "accuracy_ci95 is [0.9, 0.1], not an interval"),
        (("accuracy_ci95",), [0.9], "'accuracy_ci95' has 1 numbers, not 2"),
        (("mcc",), -1.5, "mcc is -1.5"),
        (("temperature",), 0, "temperature is 0.0, not above 0"),
        (("collapse",), "fine", "collapse is 'fine', not one of healthy, collapsed, starved"),
        (("decision",), "both", "decision is 'both', not one of balanced, natural"),
        (("prior",), [1.0], "1 priors for 4 classes"),
        (("prior", 0), 0.5, "the prior sums to 1.1"),
        (("never_predicted",), ["XX"], "unknown classes: XX"),
        # The matrix: CC 2 of 3 right, EC 0 of 1, HGSC 2 of 2; HGSC is given to 4, CC to 2.
        (("never_predicted",), [], "never_predicted is [], the matrix shows ['EC']"),
        (("never_predicted",), ["EC", "gone"], "the matrix shows ['EC']"),
        (("accuracy",), 0.7, "accuracy is 0.7, the confusion matrix gives 0.6667"),
        (("balanced_accuracy",), 0.6, "balanced_accuracy is 0.6, the confusion matrix gives 0.55"),
        # F1: 4/5, 0, 4/6 over three classes with images.
        (("macro_f1",), 0.5, "macro_f1 is 0.5, the confusion matrix gives 0.4889"),
        (("classes", 0, "recall"), 0.7, "'CC': recall is 0.7, the confusion matrix gives 0.6667"),
        (("classes", 2, "precision"), 0.6, "precision is 0.6, the confusion matrix gives 0.5"),
        (("classes", 0, "f1"), 0.7, "f1 is 0.7, the confusion matrix gives 0.8"),
        (("classes", 0, "recall_ci95"), [0.7, 0.9], "does not contain the figure, 0.666"),
        (("balanced_accuracy_ci95",), [0.0, 0.5], "does not contain the figure, 0.555"),
        (("independence_p",), 1.5, "independence_p is 1.5, outside [0, 1]"),
        (("predicted_classes",), 3, "predicted_classes is 3, the matrix shows 2"),
        (("confusion", 0, 0), 1, "its row and column of the confusion matrix sum to 2 and 1"),
        (("confusion", 0), [2, 0, 1], "not 4 x 4"),
        (("confusion", 0), 3, "'confusion' is 3 (int), not a list"),
        (("classes", 1, "name"), "CC", "two classes have the same name"),
        (("classes", 1, "recall"), None, "recall and recall_ci95 must both be given"),
        (("classes", 2, "f1"), 2, "class 'HGSC': f1 is 2.0"),
        (("classes", 0, "predicted"), -1, "class 'CC': predicted is negative"),
        (("majority",), None, "majority: an object is expected, not null"),
        (("majority", "accuracy"), -1, "majority: accuracy is -1.0"),
        # One bin holds all six images, at confidence .7; 4 of them right.
        (("reliability", 0, "n"), 5, "reliability counts 5 images, n is 6"),
        (("reliability", 0, "accuracy"), 0.99, "does not contain the figure, 0.99"),
        (("reliability", 0, "high"), 0.1, "its edges are not in order"),
        (("reliability",), 3, "'reliability' is 3 (int), not a list"),
        # Sets of two: the most probable class and 'gone'.
        (("prediction_sets", "sizes", "2"), 5, "sizes count 5 images, the classes have 6"),
        (("prediction_sets", "sizes"), {"two": 6}, "'sizes' has a name that is no number"),
        (("prediction_sets", "coverage"), 1, "coverage is 1.0, outside (0, 1)"),
        (("prediction_sets", "same_images"), 0, "'same_images' is 0 (int), not true or false"),
        (("prediction_sets", "classes", 0, "name"), "XX", "has other classes or images"),
        (("prediction_sets", "classes", 0, "covered"), 3, "but 3 of 3 images are covered"),
        (("prediction_sets", "classes", 0, "covered"), 4, "covered 4 of 3 images"),
        (("prediction_sets", "classes", 3, "coverage"), 0.5, "coverage is null exactly when n = 0"),
    ],
)
def test_contradictions_are_refused_by_name(
    evaluation: Evaluation, path: tuple[str | int, ...], to: object, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        Evaluation.from_dict(broken(evaluation.to_dict(), *path, to=to))
    assert message in str(caught.value)


def test_a_precision_of_nothing_is_refused(evaluation: Evaluation) -> None:
    values = broken(evaluation.to_dict(), "classes", 1, "precision", to=0.0)
    values = broken(values, "classes", 1, "precision_ci95", to=[0.0, 1.0])
    with pytest.raises(InputError, match=r"class 'EC': precision is 0\.0, but does not apply"):
        Evaluation.from_dict(values)


def test_a_file_may_round_to_three_decimals(evaluation: Evaluation) -> None:
    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: rounded(one) for key, one in value.items()}
        if isinstance(value, list):
            return [rounded(one) for one in value]
        return round(value, 3) if isinstance(value, float) else value

    found = Evaluation.from_dict(rounded(evaluation.to_dict()))
    assert found.balanced_accuracy == 0.556
    assert found.confusion == evaluation.confusion


def test_a_missing_field_is_named_with_its_file(evaluation: Evaluation) -> None:
    values = evaluation.to_dict()
    del values["ece"]
    with pytest.raises(InputError, match=r"a\.json: 'ece' is missing\."):
        Evaluation.from_dict(values, where="a.json")
    del values["classes"][1]["f1"]
    with pytest.raises(InputError, match=r"a\.json: classes\[1\]: 'f1' is missing\."):
        Evaluation.from_dict(values, where="a.json")


def test_a_value_cannot_be_changed(evaluation: Evaluation) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        evaluation.n = 3  # type: ignore[misc]


def test_no_images_is_an_error() -> None:
    with pytest.raises(InputError, match="split val has no labelled image"):
        evaluate_predictions(
            [],
            [],
            probs=[],
            probs_before_temperature=[],
            classes=CLASSES,
            split="val",
            decision="natural",
            prior=(0.25,) * 4,
        )
