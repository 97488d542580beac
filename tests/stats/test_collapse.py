from __future__ import annotations

import numpy as np
import pytest

from everyclass.stats.collapse import collapse_verdict, enough_images, independence_p_value
from everyclass.stats.confusion import confusion_matrix


def test_one_class_for_every_image_is_collapsed() -> None:
    found = collapse_verdict([[50, 0, 0], [30, 0, 0], [20, 0, 0]], classes=("A", "B", "C"))
    assert found.verdict == "collapsed"
    assert "'A'" in found.sentence
    assert "50 belong to other classes" in found.sentence


def test_one_class_on_few_images_is_no_alarm() -> None:
    assert collapse_verdict([[3, 0], [2, 0]]).verdict == "healthy"


def test_random_predictions_are_collapsed_though_all_classes_are_predicted() -> None:
    rng = np.random.default_rng(0)
    confusion = confusion_matrix(rng.integers(0, 3, 3000), rng.integers(0, 3, 3000), n_classes=3)
    assert collapse_verdict(confusion).verdict == "collapsed"


def test_a_starved_class_is_named_even_when_it_is_predicted_elsewhere() -> None:
    # Class C: 40 images, none right, but predicted 5 times for others.
    found = collapse_verdict([[90, 5, 5], [5, 95, 0], [20, 20, 0]], classes=("A", "B", "C"))
    assert found.verdict == "starved"
    assert found.starved == (2,)
    assert "'C' (0 of 40 images; predicted 5 times, always wrongly)" in found.sentence


def test_too_few_images_or_training_images_to_tell() -> None:
    few = collapse_verdict([[90, 10, 0], [10, 90, 0], [2, 1, 0]], classes=("A", "B", "C"))
    assert few.verdict == "healthy"
    assert few.undecided == (2,)
    assert "too few images to judge 'C'" in few.sentence
    untrained = collapse_verdict(
        [[90, 10, 0], [10, 90, 0], [20, 20, 0]], [500, 500, 3], classes=("A", "B", "C")
    )
    assert untrained.verdict == "healthy"


def test_enough_images_by_hand() -> None:
    # Two classes, recall floor 1/2: (1/2)^n for the smaller must be at most 0.05: n = 5.
    assert enough_images([1000, 5]) <= 5
    assert enough_images([1000, 4]) > 4


@pytest.mark.parametrize("support", [(200, 30), (100, 100, 15), (300, 50, 25, 25, 20)])
def test_false_alarms_of_starved_stay_under_the_level(support: tuple[int, ...]) -> None:
    """Simulation at the null's edge: each class is recognised with exactly the floor's recall."""
    rng = np.random.default_rng(1)
    n_classes, alarms, runs = len(support), 0, 2000
    recall = max(1 / n_classes, 0.1)
    for _ in range(runs):
        hits = rng.binomial(support, recall)
        confusion = np.diag(hits)
        for k, (n, h) in enumerate(zip(support, hits)):
            confusion[k, (k + 1) % n_classes] += n - h
        alarms += bool(collapse_verdict(confusion).starved)
    # Level 5 %; 2,000 runs give a standard error of half a per cent.
    assert alarms / runs < 0.065


def test_independence_p_value_is_uniform_when_independent() -> None:
    rng = np.random.default_rng(2)
    values = []
    for _ in range(1000):
        targets = rng.choice(5, size=120, p=[0.6, 0.2, 0.1, 0.06, 0.04])
        predictions = rng.choice(5, size=120, p=[0.7, 0.1, 0.1, 0.05, 0.05])
        value = independence_p_value(confusion_matrix(targets, predictions, n_classes=5))
        if value is not None:
            values.append(value)
    for level in (0.01, 0.05, 0.2):
        share = float(np.mean(np.array(values) <= level))
        assert share == pytest.approx(level, abs=0.012 + 0.15 * level)


def test_independence_p_value_is_small_when_dependent() -> None:
    value = independence_p_value([[30, 5], [5, 30]])
    assert value is not None
    assert value < 1e-6


def test_only_one_class_present_is_left_open() -> None:
    found = collapse_verdict([[10, 0], [0, 0]])
    assert found.verdict == "healthy"
    assert "Only one class" in found.sentence
