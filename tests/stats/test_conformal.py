"""Prediction sets: hand-computed thresholds, coverage by simulation, also under label shift."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from everyclass.errors import InputError
from everyclass.stats.calibration import softmax
from everyclass.stats.conformal import (
    CalibrationScores,
    ConformalThresholds,
    calibration_scores,
    conformal_thresholds,
    evaluate_sets,
    images_needed,
    likely_coverage,
)

CLASSES = ("a", "b", "c")


def thresholds_of(
    probs: np.ndarray, targets: np.ndarray, *, coverage: float
) -> ConformalThresholds:
    scores = calibration_scores(probs, targets, classes=CLASSES)
    return conformal_thresholds(scores, coverage=coverage)


def drawn(counts: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Overconfident probabilities of a poor network, which mixes up its third class; labels."""
    targets = np.repeat(np.arange(3), counts)
    logits = rng.normal(size=(targets.size, 3)) + np.eye(3)[targets] * np.array([2.0, 1.0, 0.2])
    return softmax(3 * logits), targets


# -- thresholds ------------------------------------------------------------------------------------


def test_thresholds_by_hand() -> None:
    # 'a': 4 images, coverage .6: rank ceil(5 x .6) = 3 of the scores 1 - p in ascending order
    # (.1 .2 .3 .7), so q = .3 and t = .7. 'b': 1 image; rank ceil(2 x .6) = 2 > 1: every set.
    # 'c': none: every set.
    probs = np.array([[p, (1 - p) / 2, (1 - p) / 2] for p in (0.8, 0.3, 0.9, 0.7)])
    probs = np.vstack([probs, [[0.2, 0.5, 0.3]]])
    found = thresholds_of(probs, np.array([0, 0, 0, 0, 1]), coverage=0.6)
    np.testing.assert_allclose(found.thresholds, [0.7, 0, 0])
    np.testing.assert_array_equal(found.guaranteed, [True, False, False])
    np.testing.assert_array_equal(found.counts, [4, 1, 0])
    inside = found.sets([[0.7, 0.2, 0.1], [0.69, 0.31, 0.0]])
    np.testing.assert_array_equal(inside, [[True, True, True], [False, True, True]])


@pytest.mark.parametrize(
    ("coverage", "needed"), [(0.9, 9), (0.95, 19), (0.99, 99), (0.5, 1), (0.8, 4), (0.55, 2)]
)
def test_images_needed_is_the_first_finite_threshold(coverage: float, needed: int) -> None:
    assert images_needed(coverage) == needed
    for n, finite in ((needed - 1, False), (needed, True)):
        scores = CalibrationScores(classes=("a",), probs=(np.full(n, 0.4),))
        found = conformal_thresholds(scores, coverage=coverage)
        assert found.thresholds[0] == (0.4 if finite else 0)
        assert found.guaranteed[0] == finite


def test_the_rank_is_that_of_the_decimal_as_written() -> None:
    # (19 + 1) x .55 is 11.000000000000002 in floating point; the rank is 11, not 12.
    probs = np.arange(1, 20) / 100
    scores = CalibrationScores(classes=("a",), probs=(probs,))
    assert conformal_thresholds(scores, coverage=0.55).thresholds[0] == probs[19 - 11]


@pytest.mark.parametrize("coverage", [0.0, 1.0, 1.5, -0.1, float("nan"), float("inf")])
def test_what_is_no_share_is_refused(coverage: float) -> None:
    scores = CalibrationScores(classes=("a",), probs=(np.full(9, 0.4),))
    with pytest.raises(InputError, match="not between 0 and 1"):
        conformal_thresholds(scores, coverage=coverage)


def test_percent_is_answered_with_the_share() -> None:
    with pytest.raises(InputError, match=r"0\.9 for 90 %"):
        images_needed(90)


def test_logits_and_strange_classes_are_refused() -> None:
    with pytest.raises(InputError, match="Pass softmax"):
        calibration_scores([[3.0, 1.0, 2.0]], [0], classes=CLASSES)
    with pytest.raises(InputError, match="2 probabilities an image for 3 classes"):
        calibration_scores([[0.5, 0.5]], [0], classes=CLASSES)


# -- sets ------------------------------------------------------------------------------------------


def strict(thresholds: tuple[float, ...] = (0.6, 0.6, 0.6)) -> ConformalThresholds:
    return ConformalThresholds(
        coverage=0.9,
        classes=CLASSES,
        counts=np.full(3, 50),
        thresholds=np.array(thresholds),
    )


def test_an_empty_set_gets_the_most_probable_class() -> None:
    np.testing.assert_array_equal(strict().sets([[0.2, 0.45, 0.35]]), [[False, True, False]])


def test_a_class_that_cannot_occur_is_in_no_set() -> None:
    probs = [[0.2, 0.7, 0.1], [0.1, 0.8, 0.1]]
    inside = strict((0.6, 0.6, 0.0)).sets(probs, possible=[True, False, True])
    np.testing.assert_array_equal(inside, [[False, False, True]] * 2)
    # And the most probable of those left, where nothing else is.
    inside = strict().sets(probs, possible=[True, False, True])
    np.testing.assert_array_equal(inside, [[True, False, False]] * 2)
    with pytest.raises(InputError, match="no class is possible"):
        strict().sets(probs, possible=[False] * 3)


def test_sets_of_other_classes_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(N, 3\) probabilities"):
        strict().sets([[0.5, 0.5]])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    counts=st.tuples(*[st.integers(0, 40)] * 3).filter(any),
    shares=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
)
def test_sets_grow_with_the_coverage(
    seed: int, counts: tuple[int, int, int], shares: tuple[float, float]
) -> None:
    rng = np.random.default_rng(seed)
    probs, targets = drawn(counts, rng)
    fresh, _ = drawn((10, 10, 10), rng)
    less, more = (thresholds_of(probs, targets, coverage=one) for one in sorted(shares))
    assert np.all(more.thresholds <= less.thresholds)
    # A set that was filled up (module docstring) may hold another class than the larger one that
    # was not; it has one class, so that sizes still grow.
    assert np.all(less.sets(fresh).sum(axis=1) <= more.sets(fresh).sum(axis=1))
    reached = fresh >= less.thresholds
    assert np.all(more.sets(fresh)[reached])


def test_classes_in_another_order_give_the_same_sets() -> None:
    rng = np.random.default_rng(4)
    probs, targets = drawn((30, 20, 12), rng)
    order = np.array([2, 0, 1])
    turned = thresholds_of(probs[:, order], np.argsort(order)[targets], coverage=0.8)
    plain = thresholds_of(probs, targets, coverage=0.8)
    fresh, _ = drawn((20, 20, 20), rng)
    np.testing.assert_array_equal(turned.sets(fresh[:, order]), plain.sets(fresh)[:, order])


# -- coverage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("coverage", [0.8, 0.9])
@pytest.mark.parametrize("tested", [(40, 40, 40), (5, 15, 100)], ids=["balanced", "shifted"])
def test_each_class_is_covered_whatever_its_frequency(
    coverage: float, tested: tuple[int, int, int]
) -> None:
    """Simulation. 1,200 draws of calibration (100, 30 and 12 images a class) and test images; of a
    network that is overconfident and poor at 'c'. The coverage of class c over draws has the mean
    k/(n + 1), and 1,200 draws tell it to within four standard errors; it is at least what was
    asked. Filled-up sets can add to it, never take away.
    """
    rng = np.random.default_rng(17)
    reached = []
    for _ in range(1200):
        found = thresholds_of(*drawn((100, 30, 12), rng), coverage=coverage)
        probs, targets = drawn(tested, rng)
        inside = found.sets(probs)[np.arange(targets.size), targets]
        reached.append([inside[targets == c].mean() for c in range(3)])
    means, errors = np.mean(reached, axis=0), np.std(reached, axis=0) / np.sqrt(1200)
    for c, n in enumerate((100, 30, 12)):
        exact = np.ceil(round((n + 1) * coverage, 9)) / (n + 1)
        assert exact >= coverage
        assert means[c] > exact - 4 * errors[c], CLASSES[c]
        # Not by putting everything into every set: only what fills empty sets is on top.
        assert means[c] < exact + 0.03 + 4 * errors[c], CLASSES[c]


def test_one_threshold_for_all_classes_would_not_do() -> None:
    """Why per class: with one threshold for all images the poor class is covered far less."""
    rng = np.random.default_rng(3)
    probs, targets = drawn((5000, 1500, 500), rng)
    own = np.sort(probs[np.arange(targets.size), targets])
    one_for_all = own[int(0.1 * own.size)]
    fresh, truth = drawn((2000, 2000, 2000), rng)
    hit = fresh[np.arange(truth.size), truth] >= one_for_all
    assert hit[truth == 2].mean() < 0.75
    found = thresholds_of(probs, targets, coverage=0.9).sets(fresh)
    each = found[np.arange(truth.size), truth]
    assert all(each[truth == c].mean() > 0.86 for c in range(3))


@pytest.mark.parametrize(("n", "coverage"), [(9, 0.9), (50, 0.9), (400, 0.95), (20_000, 0.9)])
def test_the_likely_coverage_is_a_quantile_of_the_beta_distribution(
    n: int, coverage: float
) -> None:
    k = int(np.ceil(round((n + 1) * coverage, 9)))
    oracle = stats.beta.ppf(0.05, k, n + 1 - k)
    assert likely_coverage(n, coverage) == pytest.approx(oracle, abs=1e-9)


def test_with_too_few_images_everything_is_covered() -> None:
    assert likely_coverage(8, 0.9) == 1
    assert likely_coverage(0, 0.5) == 1


def test_what_sets_reach_by_hand() -> None:
    # Thresholds .6: row 1 {a}, right; row 2 {b}, is 'a': wrong; row 3 filled up with c, right.
    probs = [[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.3, 0.2, 0.5]]
    found = evaluate_sets(strict(), probs, [0, 0, 2])
    assert [(one.n, one.covered, one.coverage) for one in found.classes] == [
        (2, 1, 0.5),
        (0, 0, None),
        (1, 1, 1.0),
    ]
    assert found.sizes == ((1, 3),)
    assert found.reached == pytest.approx(2 / 3)
    assert found.mean_size == 1
    assert found.not_guaranteed == ()


# -- words and files -------------------------------------------------------------------------------


def test_the_sentence_names_the_classes_without_a_guarantee() -> None:
    probs, targets = drawn((30, 9, 3), np.random.default_rng(0))
    told = thresholds_of(probs, targets, coverage=0.9).sentence()
    # Beta(9, 1): .05 ** (1/9) = .717.
    assert "at least 90 % of the images of each class" in told
    assert "with the 9 of 'b' one draw in 20 gives less than 72 %" in told
    assert "In every set, because 90 % needs at least 9 validation images of a class: 'c' (3)." in (
        told
    )
    nothing = thresholds_of(probs, targets, coverage=0.999).sentence()
    assert nothing.startswith("In every set")
    assert "'a' (30), 'b' (9), 'c' (3)" in nothing


def test_scores_come_back_from_json_as_they_were() -> None:
    probs, targets = drawn((30, 9, 0), np.random.default_rng(1))
    scores = calibration_scores(probs, targets, classes=CLASSES)
    text = json.dumps(scores.to_dict(), allow_nan=False)
    again = CalibrationScores.from_dict(json.loads(text), where="conformal.json")
    assert again.classes == CLASSES
    for own, same in zip(scores.probs, again.probs):
        np.testing.assert_array_equal(own, same)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 9}, "format 9"),
        ({"classes": [{"name": "a"}]}, "probabilities"),
        ({"classes": [{"name": "a", "probabilities": [1.5]}]}, "outside 0 to 1"),
        ({"classes": [{"name": "a", "probabilities": [None]}]}, "damaged"),
        ({"classes": 3}, "damaged"),
    ],
)
def test_damaged_scores_are_one_message(change: dict[str, object], words: str) -> None:
    values = {"format": 1, "classes": [{"name": "a", "probabilities": [0.5]}]} | change
    with pytest.raises(InputError, match=words):
        CalibrationScores.from_dict(values, where="conformal.json")
