"""Confident learning: arithmetic by hand, properties, and cleanlab as the oracle."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from everyclass.errors import InputError
from everyclass.stats.confident import (
    calibrated_joint,
    confident_classes,
    confident_joint,
    confident_thresholds,
    find_label_errors,
    in_units_of,
    self_confidence,
)

HAND_LABELS = np.array([0, 0, 0, 1, 1])
HAND_PROBS = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.0, 1.0]])


def noisy(
    seed: int, *, n: int = 600, sizes: tuple[float, ...] = (0.5, 0.3, 0.15, 0.05)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True labels, labels of which 8 % are wrong, probabilities of a model that is mostly right."""
    rng = np.random.default_rng(seed)
    n_classes = len(sizes)
    true = rng.choice(n_classes, size=n, p=sizes)
    given = true.copy()
    flipped = rng.random(n) < 0.08
    given[flipped] = (true[flipped] + rng.integers(1, n_classes, flipped.sum())) % n_classes
    logits = rng.normal(0, 1, size=(n, n_classes)) + 3.0 * np.eye(n_classes)[true]
    logits += np.log(sizes)
    probs = np.exp(logits)
    return true, given, probs / probs.sum(axis=1, keepdims=True)


def test_thresholds_classes_and_joint_by_hand() -> None:
    # t_0 = (.9 + .7 + .2)/3 = .6; t_1 = (.6 + 1)/2 = .8.
    thresholds = confident_thresholds(HAND_LABELS, HAND_PROBS)
    assert thresholds.tolist() == pytest.approx([0.6, 0.8])
    # Row 2 reaches .8 of class 1; row 3 reaches neither .6 nor .8.
    classes = confident_classes(HAND_PROBS, thresholds)
    assert classes.tolist() == [0, 0, 1, -1, 1]
    joint = confident_joint(HAND_LABELS, classes, n_classes=2)
    assert joint.tolist() == [[2, 1], [0, 1]]
    # The one row of class 1 that counts stands for both.
    assert calibrated_joint(joint, [3, 2]).tolist() == [[2, 1], [0, 2]]


def test_of_several_classes_that_are_reached_the_most_probable_one_counts() -> None:
    assert confident_classes([[0.5, 0.3, 0.2]], [0.4, 0.3, 0.9]).tolist() == [0]
    # Class 0 is the most probable and does not reach its own threshold: classes 1 and 2 do.
    assert confident_classes([[0.5, 0.3, 0.2]], [0.9, 0.2, 0.1]).tolist() == [1]


def test_the_joint_is_rounded_to_the_label_counts() -> None:
    # Row 0: 5 labels in proportions 2:1:1 are 2.5, 1.25, 1.25; the remainder .5 is the largest.
    # Row 2 counts none of its own: one is put there, and it is all there is.
    joint = [[2, 1, 1], [0, 3, 0], [0, 0, 0]]
    assert calibrated_joint(joint, [5, 4, 7]).tolist() == [[3, 1, 1], [0, 4, 0], [0, 0, 7]]


def test_the_list_by_hand() -> None:
    found = find_label_errors(HAND_LABELS, HAND_PROBS)
    assert found.rows.tolist() == [2]
    assert found.suggested.tolist() == [1]
    # In units of the thresholds: .2/.6 = .3333 and .8/.8 = 1; .3333/1.3333 = .25.
    assert found.scores.tolist() == pytest.approx([0.25])
    assert found.suspected.tolist() == [1, 0]
    assert found.not_listed.tolist() == [0, 0]


def test_other_class_frequencies_change_the_units_and_not_the_order() -> None:
    """Where every row is sure, a prior is a factor a class, and thresholds take it out."""
    probs = np.array([[0.6, 0.4], [0.3, 0.7]])
    scaled = in_units_of(probs, [0.6, 0.7])
    assert scaled[0].tolist() == pytest.approx([0.6364, 0.3636], abs=1e-4)  # 1 to .5714
    same = in_units_of(probs * [2.0, 0.5], [1.2, 0.35])
    assert same == pytest.approx(scaled)


@pytest.mark.parametrize("seed", range(5))
def test_permuted_classes_permute_the_answer(seed: int) -> None:
    _, given, probs = noisy(seed)
    order = np.random.default_rng(seed).permutation(probs.shape[1])
    place = np.argsort(order)
    one, other = find_label_errors(given, probs), find_label_errors(place[given], probs[:, order])
    # Of equal remainders the first class is rounded up: a row or two may differ.
    assert len(np.setxor1d(one.rows, other.rows)) <= 2
    both, ours, theirs = np.intersect1d(one.rows, other.rows, return_indices=True)
    assert one.scores[ours] == pytest.approx(other.scores[theirs])
    assert place[one.suggested[ours]].tolist() == other.suggested[theirs].tolist()
    assert len(both) > 10
    assert other.thresholds == pytest.approx(one.thresholds[order])


@pytest.mark.parametrize("seed", range(5))
def test_wrong_labels_are_found_and_no_class_is_listed_beyond_its_share(seed: int) -> None:
    true, given, probs = noisy(seed)
    wrong = given != true
    found = find_label_errors(given, probs)
    assert wrong[found.rows].mean() > 0.5
    assert wrong[found.rows].sum() > 0.5 * wrong.sum()
    assert np.all(np.diff(found.scores) >= 0)
    assert np.all(found.suggested != given[found.rows])
    counts = np.bincount(given, minlength=4)
    for share in (0.02, 0.1):
        few = find_label_errors(given, probs, most_share=share)
        listed = np.bincount(given[few.rows], minlength=4)
        assert np.all(listed <= np.maximum(share * counts, 1))
        assert (few.not_listed + listed).tolist() == few.suspected.tolist()
        assert set(few.rows.tolist()) <= set(found.rows.tolist())


def test_a_class_without_images_and_one_without_recognition() -> None:
    # Class 2 has no image; class 1 is never recognised, and still keeps an image of its own.
    probs = np.array([[0.8, 0.1, 0.1]] * 6 + [[0.9, 0.05, 0.05]] * 2)
    found = find_label_errors([0] * 6 + [1] * 2, probs)
    assert np.isnan(found.thresholds[2])
    assert found.joint.sum(axis=1).tolist() == [6, 2, 0]
    assert found.joint[1, 1] >= 1
    assert len(found.rows) <= 1


def test_what_is_no_label_or_probability_is_refused() -> None:
    with pytest.raises(InputError, match=r"labels have shape \(1,\)"):
        find_label_errors([0], HAND_PROBS)
    with pytest.raises(InputError, match="labels lie in 0 to 2"):
        find_label_errors([0, 0, 0, 1, 2], HAND_PROBS)
    with pytest.raises(InputError, match="between 0 and 1"):
        find_label_errors(HAND_LABELS, HAND_PROBS * 2)
    with pytest.raises(InputError, match="most_share is 0"):
        find_label_errors(HAND_LABELS, HAND_PROBS, most_share=0)


@pytest.mark.parametrize("seed", range(8))
def test_cleanlab_gives_the_same_thresholds_joint_and_scores(seed: int) -> None:
    """Oracle. Where several thresholds are reached, cleanlab counts the most probable of all
    classes and the paper the most probable of those; rows in which that differs are left out."""
    count = pytest.importorskip("cleanlab.count")
    rank = pytest.importorskip("cleanlab.rank")
    _, given, probs = noisy(seed)
    thresholds = confident_thresholds(given, probs)
    assert thresholds == pytest.approx(count.get_confident_thresholds(given, probs))
    classes = confident_classes(probs, thresholds)
    reached = (probs >= thresholds - 1e-6).sum(axis=1)
    alike = (reached < 2) | (classes == probs.argmax(axis=1))
    assert alike.mean() > 0.95
    ours = confident_joint(given[alike], classes[alike], n_classes=4)
    theirs = count.compute_confident_joint(
        given[alike], probs[alike], thresholds=thresholds, calibrate=False
    )
    assert ours.tolist() == theirs.tolist()
    counts = np.bincount(given, minlength=4)
    stretched = calibrated_joint(ours, counts)
    assert stretched.sum(axis=1).tolist() == counts.tolist()
    # Rounding differs by one image at most: theirs to the nearest, then mended.
    assert np.abs(stretched - count.calibrate_confident_joint(theirs, given)).max() <= 1
    assert self_confidence(given, probs) == pytest.approx(
        rank.get_self_confidence_for_each_label(given, probs)
    )


@pytest.mark.parametrize("seed", range(4))
def test_cleanlab_lists_much_the_same_rows(seed: int) -> None:
    """Oracle: classes of one size, so that units differ little; both prune by both ways."""
    filters = pytest.importorskip("cleanlab.filter")
    _, given, probs = noisy(seed, sizes=(0.25, 0.25, 0.25, 0.25))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = np.flatnonzero(filters.find_label_issues(given, probs, filter_by="both", n_jobs=1))
    ours = find_label_errors(given, probs, most_share=1.0).rows
    both = len(np.intersect1d(ours, theirs))
    assert both / max(len(ours), len(theirs)) > 0.85
