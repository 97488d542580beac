from __future__ import annotations

import json

import numpy as np
import pytest

from everyclass.contracts import Evaluation
from everyclass.errors import InputError
from everyclass.stats.calibration import softmax
from everyclass.stats.evaluation import evaluate_predictions, majority_baseline

CLASSES = ("A", "B", "C")


def evaluation(seed: int = 0, n: int = 200) -> Evaluation:
    rng = np.random.default_rng(seed)
    targets = rng.choice(3, size=n, p=[0.7, 0.2, 0.1])
    logits = rng.normal(size=(n, 3)) + 3 * np.eye(3)[targets]
    return evaluate_predictions(
        targets,
        logits.argmax(1),
        probs=softmax(logits / 2),
        probs_before_temperature=softmax(logits),
        classes=CLASSES,
        split="test",
        decision="balanced",
        prior=(0.7, 0.2, 0.1),
        temperature=2.0,
        train_counts=[700, 200, 100],
    )


def test_figures_agree_with_the_confusion_matrix() -> None:
    found = evaluation()
    confusion = np.array(found.confusion)
    assert found.n == confusion.sum() == 200
    assert found.accuracy == pytest.approx(confusion.trace() / 200)
    for k, one in enumerate(found.classes):
        assert one.n == confusion[k].sum()
        assert one.predicted == confusion[:, k].sum()
        assert one.recall == pytest.approx(confusion[k, k] / confusion[k].sum())
        assert one.recall_ci95 is not None
        assert one.recall_ci95[0] <= one.recall <= one.recall_ci95[1]


def test_majority_baseline_by_hand() -> None:
    # 6 of 10 in class A, two classes: accuracy .6, balanced 1/2, F1 of A 2*.6/1.6 = .75, halved.
    found = majority_baseline([[2, 4], [1, 3]], classes=("A", "B"))
    assert (found.name, found.accuracy, found.balanced_accuracy) == ("A", 0.6, 0.5)
    assert found.macro_f1 == pytest.approx(0.375)
    assert found.mcc == 0


def test_json_has_the_contract_s_names_and_comes_back() -> None:
    found = evaluation()
    text = json.dumps(found.to_dict(), allow_nan=False)
    values = json.loads(text)
    contract = {
        *("split", "n", "accuracy", "balanced_accuracy", "macro_f1", "classes"),
        *("confusion", "ece", "predicted_classes", "collapse"),
    }
    assert contract <= values.keys()
    per_class = {"name", "n", "recall", "precision", "f1", "recall_ci95"}
    assert per_class <= values["classes"][0].keys()
    assert Evaluation.from_dict(values) == found


def test_a_class_never_predicted_is_listed_and_its_precision_does_not_apply() -> None:
    found = evaluate_predictions(
        [0] * 30 + [1] * 30,
        [0] * 60,
        probs=np.tile([0.6, 0.4], (60, 1)),
        probs_before_temperature=np.tile([0.6, 0.4], (60, 1)),
        classes=("A", "B"),
        split="val",
        decision="natural",
        prior=(0.5, 0.5),
    )
    assert found.never_predicted == ("B",)
    assert found.classes[1].precision is None
    assert found.classes[1].recall == 0
    assert found.collapse == "collapsed"


def test_no_images_is_said() -> None:
    with pytest.raises(InputError, match="no labelled image"):
        evaluate_predictions(
            np.zeros(0, dtype=int),
            np.zeros(0, dtype=int),
            probs=np.zeros((0, 2)),
            probs_before_temperature=np.zeros((0, 2)),
            classes=("A", "B"),
            split="val",
            decision="natural",
            prior=(0.5, 0.5),
        )
