"""Confusion figures against scikit-learn and torchmetrics, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torchmetrics.functional.classification import multiclass_matthews_corrcoef

from everyclass.errors import InputError
from everyclass.stats import confusion as figures

# Rows are targets. Class 0: 8 images, 6 right; class 1: 4 images, 1 right; class 2: none, but
# predicted once.
BY_HAND = np.array([[6, 1, 1], [3, 1, 0], [0, 0, 0]])


def test_by_hand() -> None:
    np.testing.assert_array_equal(figures.support(BY_HAND), [8, 4, 0])
    np.testing.assert_array_equal(figures.predicted_counts(BY_HAND), [9, 2, 1])
    np.testing.assert_allclose(figures.recall(BY_HAND), [6 / 8, 1 / 4, np.nan])
    np.testing.assert_allclose(figures.precision(BY_HAND), [6 / 9, 1 / 2, 0])
    # F1 = 2 TP / (support + predicted): 12/17, 2/6, 0/1.
    np.testing.assert_allclose(figures.f1(BY_HAND), [12 / 17, 2 / 6, 0])
    assert figures.accuracy(BY_HAND) == 7 / 12
    assert figures.balanced_accuracy(BY_HAND) == (6 / 8 + 1 / 4) / 2
    # Mean over the two classes with images; class 2 is not averaged in as 0.
    assert figures.macro_f1(BY_HAND) == pytest.approx((12 / 17 + 2 / 6) / 2)


def test_effective_classes_by_hand() -> None:
    # Shares 1/2, 1/4, 1/4: entropy 1.5 ln 2, so 2^1.5 classes.
    matrix = np.array([[2, 1, 1], [0, 0, 0], [0, 0, 0]])
    assert figures.effective_predicted_classes(matrix) == pytest.approx(2**1.5)
    # One class always: exactly one, whatever the labels.
    assert figures.effective_predicted_classes(np.array([[5, 0], [5, 0]])) == 1


def test_mutual_information_by_hand() -> None:
    # All right, two equal classes: the predictions tell ln 2, of which (1)(1)/(2 x 8) is bias.
    perfect = np.array([[4, 0], [0, 4]])
    plug_in = figures.mutual_information(perfect, bias_corrected=False)
    assert plug_in == pytest.approx(math.log(2))
    assert figures.mutual_information(perfect) == pytest.approx(math.log(2) - 1 / 16)
    # Rows in proportion: nothing.
    assert figures.mutual_information(np.array([[2, 4], [3, 6]]), bias_corrected=False) == 0


def test_bias_correction_takes_off_what_chance_adds() -> None:
    # Simulation: 400 tables of 240 images with predictions drawn apart from the labels. The plug-in
    # is 9/480 = 0.0188 too high in the mean; the corrected one is within a tenth of that of 0 (the
    # mean's standard error is 0.0004).
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(4), 60)
    tables = [
        figures.confusion_matrix(targets, rng.integers(0, 4, 240), n_classes=4) for _ in range(400)
    ]
    raw = np.mean([figures.mutual_information(table, bias_corrected=False) for table in tables])
    assert 0.017 < raw < 0.021
    assert abs(np.mean([figures.mutual_information(table) for table in tables])) < 0.0019


@st.composite
def decisions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    n_classes = draw(st.integers(2, 6))
    n = draw(st.integers(1, 60))
    ids = st.lists(st.integers(0, n_classes - 1), min_size=n, max_size=n)
    return np.array(draw(ids)), np.array(draw(ids)), n_classes


@settings(max_examples=60, deadline=None)
@given(decisions())
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_agrees_with_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    targets, predictions, n_classes = case
    matrix = figures.confusion_matrix(targets, predictions, n_classes=n_classes)
    labels = np.arange(n_classes)
    np.testing.assert_array_equal(
        matrix, metrics.confusion_matrix(targets, predictions, labels=labels)
    )
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        targets, predictions, labels=labels, zero_division=np.nan
    )
    np.testing.assert_allclose(figures.recall(matrix), recall)
    np.testing.assert_allclose(figures.precision(matrix), precision)
    np.testing.assert_array_equal(figures.support(matrix), support)
    defined = figures.support(matrix) + figures.predicted_counts(matrix) > 0
    np.testing.assert_allclose(figures.f1(matrix)[defined], f1[defined])
    assert np.isnan(figures.f1(matrix)[~defined]).all()
    assert figures.accuracy(matrix) == pytest.approx(metrics.accuracy_score(targets, predictions))
    assert figures.balanced_accuracy(matrix) == pytest.approx(
        metrics.balanced_accuracy_score(targets, predictions)
    )
    assert figures.macro_f1(matrix) == pytest.approx(
        metrics.f1_score(
            targets, predictions, labels=np.unique(targets), average="macro", zero_division=0
        )
    )
    assert figures.mcc(matrix) == pytest.approx(
        metrics.matthews_corrcoef(targets, predictions), abs=1e-12
    )
    plug_in = figures.mutual_information(matrix, bias_corrected=False)
    assert plug_in == pytest.approx(metrics.mutual_info_score(targets, predictions), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(decisions())
def test_the_largest_counts_are_matched_first(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    targets, predictions, n_classes = case
    matrix = figures.confusion_matrix(targets, predictions, n_classes=n_classes)
    left, matched = matrix.astype(float), np.full(n_classes, -1)
    while (left >= 0).any():  # as it is said: the largest that is left, then without its lines
        row, column = np.unravel_index(int(left.argmax()), left.shape)
        matched[column] = row
        left[row, :] = left[:, column] = -1
    np.testing.assert_array_equal(figures.best_matching(matrix), matched)


def test_thousands_of_classes_are_matched() -> None:
    order = np.random.default_rng(0).permutation(2_000)
    matrix = figures.confusion_matrix(order, np.arange(2_000), n_classes=2_000)
    np.testing.assert_array_equal(figures.best_matching(matrix), order)
    assert figures.mutual_information(matrix, bias_corrected=False) == pytest.approx(
        math.log(2_000)
    )


@settings(max_examples=40, deadline=None)
@given(decisions(), st.randoms(use_true_random=False))
def test_permuted_classes_permute_the_figures(
    case: tuple[np.ndarray, np.ndarray, int], random: object
) -> None:
    targets, predictions, n_classes = case
    order = np.arange(n_classes)
    random.shuffle(order)  # type: ignore[attr-defined]
    before = figures.confusion_matrix(targets, predictions, n_classes=n_classes)
    after = figures.confusion_matrix(order[targets], order[predictions], n_classes=n_classes)
    for figure in (figures.recall, figures.precision, figures.f1):
        np.testing.assert_array_equal(figure(after)[order], figure(before))
    for total in (figures.mcc, figures.balanced_accuracy, figures.macro_f1):
        assert total(after) == pytest.approx(total(before), abs=1e-12)


def test_mcc_agrees_with_torchmetrics() -> None:
    rng = np.random.default_rng(1)
    targets, noise = rng.integers(0, 5, 300), rng.integers(0, 5, 300)
    predictions = np.where(rng.random(300) < 0.6, targets, noise)
    oracle = multiclass_matthews_corrcoef(
        torch.from_numpy(predictions), torch.from_numpy(targets), num_classes=5
    )
    matrix = figures.confusion_matrix(targets, predictions, n_classes=5)
    assert figures.mcc(matrix) == pytest.approx(float(oracle), abs=1e-6)


def test_mcc_of_ten_million_images_does_not_overflow() -> None:
    # All right but 1 % in each of two equal classes: R = 0.98. n^4 = 1e28 is beyond int64.
    matrix = np.array([[4_950_000, 50_000], [50_000, 4_950_000]])
    assert figures.mcc(matrix) == pytest.approx(0.98)


def test_always_the_most_frequent() -> None:
    constant = figures.always_most_frequent(BY_HAND)
    np.testing.assert_array_equal(constant, [[8, 0, 0], [4, 0, 0], [0, 0, 0]])
    assert figures.accuracy(constant) == 8 / 12
    assert figures.balanced_accuracy(constant) == 1 / 2
    assert figures.mcc(constant) == 0


def test_no_images_have_no_figures() -> None:
    empty = figures.confusion_matrix([], [], n_classes=3)
    assert empty.shape == (3, 3)
    for figure in (
        figures.accuracy,
        figures.balanced_accuracy,
        figures.macro_f1,
        figures.effective_predicted_classes,
        figures.mutual_information,
    ):
        assert math.isnan(figure(empty))


@pytest.mark.parametrize(
    ("targets", "predictions", "message"),
    [
        ([0, 1], [0], "2 targets and 1 predictions"),
        ([0, 3], [0, 0], r"targets hold class id 3 \(row 1\); 3 classes have ids 0 to 2"),
        ([0, 1], [0, -1], r"predictions hold class id -1 \(row 1\)"),
        ([0.5, 1.0], [0, 1], "targets are float64; whole numbers"),
        ([[0], [1]], [0, 1], r"targets have shape \(2, 1\)"),
    ],
)
def test_bad_ids_are_refused(targets: list, predictions: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        figures.confusion_matrix(targets, predictions, n_classes=3)


@pytest.mark.parametrize("matrix", [np.zeros((2, 3), int), np.eye(2), -np.eye(2, dtype=int)])
def test_what_is_no_confusion_matrix_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(InputError, match="confusion matrix"):
        figures.recall(matrix)
