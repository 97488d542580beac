"""The collapse verdict: what it says, when it stays silent, how often it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from everyclass.errors import InputError
from everyclass.stats.collapse import (
    collapse_verdict,
    enough_images,
    independence_p_value,
    information_share,
    recall_floor,
)
from everyclass.stats.confusion import confusion_matrix

DEMO = np.array([75, 15, 22, 18, 20])  # HGSC CC EC LGSC MC: 150 test images
NAMES = ("HGSC", "CC", "EC", "LGSC", "MC")


def decided(support: np.ndarray, recall: float, *, seed: int = 0) -> np.ndarray:
    """A confusion matrix: right with probability `recall`, else any class alike."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(support.size), support)
    wild = rng.integers(0, support.size, targets.size)
    predictions = np.where(rng.random(targets.size) < recall, targets, wild)
    return confusion_matrix(targets, predictions, n_classes=support.size)


def test_a_healthy_verdict_names_the_class_that_is_recognised_least() -> None:
    # Recalls 9/10, 1/10, 8/10.
    found = collapse_verdict([[90, 10, 0], [80, 10, 10], [10, 10, 80]], classes=("A", "B", "C"))
    assert found.verdict == "healthy"
    assert "'B' least: 10 of 100 images" in found.sentence


def test_a_good_classifier_is_healthy() -> None:
    found = collapse_verdict(decided(DEMO, 0.7), classes=NAMES)
    assert found.verdict == "healthy"
    assert found.sentence.startswith("Every class with images here is recognised, '")
    assert (found.starved, found.undecided) == ((), ())


def test_one_class_for_every_image_is_collapsed() -> None:
    matrix = np.zeros((5, 5), dtype=np.int64)
    matrix[:, 0] = DEMO
    found = collapse_verdict(matrix, classes=NAMES)
    assert found.verdict == "collapsed"
    assert found.sentence.startswith(
        "Every one of 150 images was given class 'HGSC', although 75 belong to other classes"
    )
    assert found.independence_p is None  # nothing varies, so nothing can be tested


def test_the_same_few_classes_whatever_the_image_is_collapsed() -> None:
    # Two of eight classes, drawn without looking at the image.
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(8), 60)
    matrix = confusion_matrix(targets, rng.choice([2, 5], targets.size), n_classes=8)
    found = collapse_verdict(matrix)
    assert found.verdict == "collapsed"
    assert "guessing gives 0.125" in found.sentence
    assert found.independence_p is not None
    assert found.independence_p > 0.01
    # The classes that are never recognised are named nevertheless.
    assert found.starved == (0, 1, 3, 4, 6, 7)


def test_a_real_but_useless_association_is_collapsed() -> None:
    # 40,000 images, nearly all given class 0. Of the 700 others 500 are right: significant beyond
    # doubt, and a quarter of a percent of the labels' entropy. With 1,100 of 1,300 it is 1.3 %.
    useless = collapse_verdict(np.array([[19_800, 200], [19_500, 500]]))
    weak = collapse_verdict(np.array([[19_800, 200], [18_900, 1_100]]))
    for found in (useless, weak):
        assert found.independence_p is not None
        assert found.independence_p < 1e-10
    assert useless.information_share == pytest.approx(0.0024, abs=1e-4)
    assert weak.information_share == pytest.approx(0.0127, abs=1e-4)
    assert (useless.verdict, weak.verdict) == ("collapsed", "healthy")


def test_shifted_labels_carry_information() -> None:
    # Every image is given the next class: useless, but not collapsed. Each class is starved.
    matrix = np.roll(np.diag([50, 50, 50]), 1, axis=1)
    found = collapse_verdict(matrix)
    assert found.verdict == "starved"
    assert found.information_share == pytest.approx(1, abs=0.02)


def test_a_large_class_never_recognised_is_starved_though_it_is_predicted() -> None:
    # All five classes are predicted. Class 0 is predicted 12 times, each time wrongly: counting
    # predicted classes would call this healthy.
    matrix = np.diag([0, 40, 40, 40, 40]) + 0
    matrix[0, 1:] = [15, 15, 15, 15]
    matrix[1:, 0] = 3
    found = collapse_verdict(matrix, classes=NAMES)
    assert found.verdict == "starved"
    assert found.starved == (0,)
    assert (
        "1 class is never recognised: 'HGSC' (0 of 60 images; predicted 12 times, always wrongly)."
        in found.sentence
    )


def test_few_images_are_no_alarm() -> None:
    assert collapse_verdict(np.array([[2, 0], [1, 0]])).verdict == "healthy"
    matrix = decided(np.array([60, 60, 60]), 0.8)
    matrix[2] = [3, 0, 0]
    found = collapse_verdict(matrix, classes=("a", "b", "c"))
    assert found.verdict == "healthy"
    assert found.undecided == (2,)
    assert found.sentence == "No alarm, but too few images to judge 'c' (0 of 3)."


def test_few_images_that_look_like_guessing_are_no_alarm() -> None:
    # 12 images, half right: p far above 0.01, yet a classifier with recall 0.8 does that too.
    found = collapse_verdict(np.array([[3, 3], [3, 3]]))
    assert found.verdict == "healthy"
    assert found.sentence.endswith("12 images are too few to tell the predictions from guessing.")


def test_a_class_without_enough_training_images_is_not_asked_for() -> None:
    matrix = decided(np.array([60, 60, 60]), 0.8)
    matrix[2] = [30, 30, 0]
    assert collapse_verdict(matrix, (500, 500, 500)).verdict == "starved"
    assert collapse_verdict(matrix, (500, 500, 5)).verdict == "starved"
    found = collapse_verdict(matrix, (500, 500, 4), classes=("a", "b", "c"))
    assert found.verdict == "healthy"
    assert "'c' (0 of 60, 4 to learn from)" in found.sentence


def test_a_class_without_images_here_is_nothing_to_say() -> None:
    matrix = np.zeros((3, 3), dtype=np.int64)
    matrix[:2, :2] = [[40, 5], [5, 40]]
    assert collapse_verdict(matrix).verdict == "healthy"
    only = np.zeros((3, 3), dtype=np.int64)
    only[0, 0] = 50
    assert "Only one class has images" in collapse_verdict(only).sentence
    assert collapse_verdict(only).verdict == "healthy"


def test_enough_images_by_hand() -> None:
    assert recall_floor(2) == 0.5
    assert recall_floor(8) == 0.125
    assert recall_floor(100) == 0.1
    # Eight classes, the others large: (7/8)^22 = 0.053 > 0.05 >= (7/8)^23 = 0.046. With 23, every
    # class has enough, so the least that is needed is no bound for any of them.
    assert enough_images([22] + [1000] * 7) == 23
    assert enough_images([23] + [1000] * 7) == 1
    # Two classes with 5 each: 2/32 = 0.0625 is too likely; with 6: 2/64.
    assert enough_images([5, 5]) == 6
    assert enough_images([6, 6]) == 1
    # Demo: floor 0.2; 0.8^18 + 0.8^20 + 0.8^22 + 0.8^75 = 0.0180 + 0.0115 + 0.0074 = 0.037, and
    # with the class of 15 (0.0352) it would be 0.072.
    assert enough_images(DEMO) == 16


def test_false_alarms_stay_below_the_level() -> None:
    # Simulation at the edge of the null: every recall is exactly the floor, eight classes of 23 to
    # 60 images. 3,000 sets; the promised rate of "starved" is at most 0.05 (standard error 0.004).
    rng = np.random.default_rng(0)
    support = np.array([23, 30, 30, 40, 40, 60, 60, 60])
    least = enough_images(support)
    right = rng.binomial(support, recall_floor(8), size=(3000, 8))
    alarms = np.any((right == 0) & (support >= least), axis=1).mean()
    assert 0.005 < alarms < 0.062


def test_the_verdict_on_a_class_at_the_floor_is_rarely_an_alarm() -> None:
    # Simulation, through the verdict: seven classes of 60 images with recall 0.7, one of 23 images
    # at the floor of 1/8. Zero hits have probability (7/8)^23 = 0.046; 600 sets, standard error
    # 0.009. With 22 images the same 0.053 is over the level, and it must stay silent.
    rng = np.random.default_rng(1)

    def share_of_alarms(images: int) -> float:
        alarms = 0
        for _ in range(600):
            matrix = np.zeros((8, 8), dtype=np.int64)
            for c, (n, recall) in enumerate([(60, 0.7)] * 7 + [(images, 1 / 8)]):
                right = rng.binomial(n, recall)
                matrix[c] = rng.multinomial(n - right, (np.arange(8) != c) / 7)
                matrix[c, c] = right
            alarms += collapse_verdict(matrix).verdict != "healthy"
        return alarms / 600

    assert 0.015 < share_of_alarms(23) < 0.09
    assert share_of_alarms(22) == 0


def test_a_weak_but_real_classifier_is_not_called_collapsed() -> None:
    # Simulation: right in a quarter of the images beyond guessing, 200 sets of the demo's 150
    # images. 'collapsed' says there is no information; it must not be said of these.
    verdicts = [collapse_verdict(decided(DEMO, 0.25, seed=s)).verdict for s in range(200)]
    assert verdicts.count("collapsed") == 0


def test_guessing_is_called_collapsed_when_there_are_images_enough() -> None:
    # Simulation: 100 sets of 600 images decided by the dice. p < 0.01 by chance in one of a
    # hundred; ten or more have probability 2e-7.
    support = DEMO * 4
    verdicts = [collapse_verdict(decided(support, 0.0, seed=s)).verdict for s in range(100)]
    assert verdicts.count("collapsed") > 90


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ([100, 60, 30, 10], [150, 30, 20]),  # the textbook's table
        ([5, 3, 2, 2], [6, 3, 3]),  # 12 images
        ([40] * 20, [30] * 10 + [50] * 10),  # two images a cell
        ([30, 30, 1, 1, 1, 1], [50, 14]),  # rare classes
    ],
)
def test_p_values_are_uniform_under_shuffling(rows: list[int], columns: list[int]) -> None:
    # Simulation: 4,000 shuffles. Standard errors are 0.0016 at 0.01 and 0.0034 at 0.05; the small
    # tables are discrete, so the bounds are wide.
    rng = np.random.default_rng(0)
    size = max(len(rows), len(columns))
    targets = np.repeat(np.arange(len(rows)), rows)
    predictions = np.repeat(np.arange(len(columns)), columns)
    found = np.array(
        [
            independence_p_value(
                confusion_matrix(targets, rng.permutation(predictions), n_classes=size)
            )
            for _ in range(4000)
        ]
    )
    assert np.mean(found <= 0.01) < 0.02
    assert 0.025 < np.mean(found <= 0.05) < 0.07


def test_p_value_agrees_with_chi_square_where_that_holds() -> None:
    # 100 expected images a cell; scipy's chi-square test is the oracle.
    rng = np.random.default_rng(4)
    for strength in (0.0, 0.01, 0.03, 0.06):
        targets = np.repeat(np.arange(4), 400)
        predictions = np.where(
            rng.random(1600) < strength, targets, rng.integers(0, 4, targets.size)
        )
        matrix = confusion_matrix(targets, predictions, n_classes=4)
        oracle = stats.chi2_contingency(matrix, correction=False).pvalue
        assert independence_p_value(matrix) == pytest.approx(oracle, rel=0.05, abs=1e-4)


def test_information_share_ends() -> None:
    assert information_share(np.diag([500, 500])) == pytest.approx(1, abs=1e-3)
    assert information_share(np.array([[500, 500], [500, 500]])) == pytest.approx(0, abs=1e-3)
    assert information_share(np.array([[5, 5], [0, 0]])) is None


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="length 2"):
        collapse_verdict(np.eye(2, dtype=int), (1, 2, 3))
    with pytest.raises(InputError, match="length 2"):
        collapse_verdict(np.eye(2, dtype=int), classes=("a",))
    with pytest.raises(InputError, match="level is 5"):
        collapse_verdict(np.eye(2, dtype=int), level=5)
