"""From decisions to an Evaluation: the baseline, the decision's own confidence, plain types."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics
from sklearn.dummy import DummyClassifier

from everyclass.contracts import Evaluation
from everyclass.errors import InputError
from everyclass.stats.calibration import expected_calibration_error, softmax
from everyclass.stats.evaluation import evaluate_predictions, majority_baseline

CLASSES = ("a", "b", "c", "d")


def evaluated(seed: int = 0, **changes: Any) -> tuple[Evaluation, np.ndarray, np.ndarray]:
    """300 images at 60/25/10/5 %, decided by logits less a prior: a balanced decision."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(4, size=300, p=(0.6, 0.25, 0.1, 0.05))
    logits = rng.normal(size=(300, 4)) + 2 * np.eye(4)[targets]
    predictions = (logits - np.log((0.6, 0.25, 0.1, 0.05))).argmax(axis=1)
    arguments = {
        "probs": softmax(logits / 1.4),
        "probs_before_temperature": softmax(logits),
        "classes": CLASSES,
        "split": "val",
        "decision": "balanced",
        "prior": (0.6, 0.25, 0.1, 0.05),
        "temperature": 1.4,
    }
    evaluation = evaluate_predictions(targets, predictions, **(arguments | changes))
    return evaluation, targets, predictions


def test_the_baseline_is_a_dummy_classifier() -> None:
    evaluation, targets, _ = evaluated()
    dummy = DummyClassifier(strategy="most_frequent").fit(targets[:, None], targets)
    constant = dummy.predict(targets[:, None])
    base = evaluation.majority
    assert base.name == CLASSES[int(constant[0])]
    assert base.accuracy == pytest.approx(metrics.accuracy_score(targets, constant))
    assert base.balanced_accuracy == pytest.approx(
        metrics.balanced_accuracy_score(targets, constant)
    )
    macro = metrics.f1_score(targets, constant, average="macro", zero_division=0)
    assert base.macro_f1 == pytest.approx(macro)
    assert base.mcc == metrics.matthews_corrcoef(targets, constant) == 0


def test_the_baseline_by_its_formula() -> None:
    # m = 6/10 in the largest of K = 2 classes with images: 2m/(1 + m)/K = 1.2/1.6/2.
    base = majority_baseline([[4, 2, 0], [1, 3, 0], [0, 0, 0]], classes=("a", "b", "c"))
    assert (base.name, base.accuracy, base.balanced_accuracy) == ("a", 0.6, 0.5)
    assert base.macro_f1 == pytest.approx(0.375)


def test_the_calibration_error_is_that_of_the_decision() -> None:
    # The balanced decision often takes a class that is not the most probable; its confidence is
    # the probability of the class it took.
    probs = np.tile([0.7, 0.1, 0.1, 0.1], (300, 1))
    evaluation, targets, predictions = evaluated(probs=probs)
    oracle = expected_calibration_error(probs, targets, predictions=predictions)
    assert evaluation.ece == pytest.approx(oracle)
    assert evaluation.ece != pytest.approx(expected_calibration_error(probs, targets))
    assert evaluation.ece_before_temperature != pytest.approx(evaluation.ece)


def test_figures_agree_with_the_confusion_matrix() -> None:
    found, targets, predictions = evaluated()
    confusion = np.array(found.confusion)
    np.testing.assert_array_equal(confusion, metrics.confusion_matrix(targets, predictions))
    assert found.n == confusion.sum() == 300
    assert found.accuracy == pytest.approx(confusion.trace() / 300)
    for k, one in enumerate(found.classes):
        assert one.name == CLASSES[k]
        assert (one.n, one.predicted) == (confusion[k].sum(), confusion[:, k].sum())
        assert one.recall == pytest.approx(confusion[k, k] / confusion[k].sum())


def test_one_class_for_all_is_collapsed_and_its_precision_alone_applies() -> None:
    probs = np.tile([0.6, 0.4], (60, 1))
    found = evaluate_predictions(
        [0] * 30 + [1] * 30,
        [0] * 60,
        probs=probs,
        probs_before_temperature=probs,
        classes=("A", "B"),
        split="val",
        decision="natural",
        prior=(0.5, 0.5),
    )
    assert found.never_predicted == ("B",)
    assert (found.classes[1].recall, found.classes[1].precision) == (0.0, None)
    assert found.collapse == "collapsed"
    # Confidence .6 throughout, right in half: off by .1.
    assert found.ece == pytest.approx(0.1)


def test_intervals_contain_their_figures() -> None:
    evaluation, _, _ = evaluated()
    for one in evaluation.classes:
        for value, interval in (
            (one.recall, one.recall_ci95),
            (one.precision, one.precision_ci95),
            (one.f1, one.f1_ci95),
        ):
            assert value is not None
            assert interval is not None
            assert interval[0] <= value <= interval[1]
    low, high = evaluation.balanced_accuracy_ci95
    assert low < evaluation.balanced_accuracy < high
    assert {name for name, _ in evaluation.interval_methods} == {
        "accuracy",
        "recall",
        "precision",
        "f1",
        "balanced_accuracy",
    }


def test_every_number_is_a_plain_one() -> None:
    # np.float64 passes as a float and np.int64 does not; neither belongs in a value.
    def leaves(value: Any) -> Any:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            for one in value:
                yield from leaves(one)
        else:
            yield value

    evaluation, _, _ = evaluated(train_counts=np.array([60, 25, 10, 5]))
    assert {type(one) for one in leaves(evaluation.to_dict())} <= {str, int, float, type(None)}
    assert Evaluation.from_dict(json.loads(json.dumps(evaluation.to_dict()))) == evaluation


def test_training_counts_reach_the_classes_and_the_verdict() -> None:
    evaluation, _, _ = evaluated(train_counts=(600, 250, 100, 50), set_aside=2)
    assert [one.train_n for one in evaluation.classes] == [600, 250, 100, 50]
    assert evaluation.set_aside == 2
    assert evaluation.collapse == "healthy"


def test_logits_where_probabilities_belong_are_refused() -> None:
    with pytest.raises(InputError, match="Pass softmax"):
        evaluated(probs=np.full((300, 4), 3.0))
