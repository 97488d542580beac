from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from everyclass.errors import InputError
from everyclass.stats import confusion as figures

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=80)


def matrix(of: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    targets, predictions = np.array(of).T
    return targets, predictions, figures.confusion_matrix(targets, predictions, n_classes=4)


@given(pairs)
@settings(max_examples=80, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_every_figure_is_scikit_learn_s(of: list[tuple[int, int]]) -> None:
    targets, predictions, confusion = matrix(of)
    ids = np.arange(4)
    np.testing.assert_array_equal(
        confusion, oracle.confusion_matrix(targets, predictions, labels=ids)
    )
    precision, recall, f1, support = oracle.precision_recall_fscore_support(
        targets, predictions, labels=ids, zero_division=np.nan
    )
    np.testing.assert_allclose(figures.recall(confusion), recall)
    np.testing.assert_allclose(figures.precision(confusion), precision)
    np.testing.assert_array_equal(figures.support(confusion), support)
    present = np.unique(targets)
    np.testing.assert_allclose(figures.f1(confusion)[present], np.nan_to_num(f1[present]))
    assert figures.accuracy(confusion) == pytest.approx(np.mean(targets == predictions))
    assert figures.balanced_accuracy(confusion) == pytest.approx(
        oracle.balanced_accuracy_score(targets, predictions)
    )
    assert figures.macro_f1(confusion) == pytest.approx(np.nan_to_num(f1[present]).mean())
    assert figures.mcc(confusion) == pytest.approx(
        oracle.matthews_corrcoef(targets, predictions), abs=1e-9
    )
    assert figures.mutual_information(confusion, bias_corrected=False) == pytest.approx(
        oracle.mutual_info_score(targets, predictions), abs=1e-9
    )


def test_by_hand() -> None:
    confusion = [[8, 2, 0], [1, 3, 0], [4, 0, 0]]
    np.testing.assert_allclose(figures.recall(confusion), [0.8, 0.75, 0.0])
    # Columns: 13, 5, 0.
    np.testing.assert_allclose(figures.precision(confusion), [8 / 13, 3 / 5, np.nan])
    assert figures.balanced_accuracy(confusion) == pytest.approx((0.8 + 0.75 + 0) / 3)
    assert figures.predicted_counts(confusion).tolist() == [13, 5, 0]


def test_a_class_without_images_does_not_count_in_the_means() -> None:
    confusion = [[4, 0, 0], [0, 2, 2], [0, 0, 0]]
    assert figures.balanced_accuracy(confusion) == pytest.approx((1 + 0.5) / 2)
    assert np.isnan(figures.recall(confusion)[2])


def test_permuting_classes_permutes_the_figures() -> None:
    rng = np.random.default_rng(0)
    confusion = rng.integers(0, 20, (4, 4))
    order = [2, 0, 3, 1]
    permuted = confusion[np.ix_(order, order)]
    np.testing.assert_allclose(figures.f1(permuted), figures.f1(confusion)[order])
    assert figures.mcc(permuted) == pytest.approx(figures.mcc(confusion))


def test_effective_number_of_predicted_classes() -> None:
    assert figures.effective_predicted_classes([[5, 0], [5, 0]]) == pytest.approx(1.0)
    assert figures.effective_predicted_classes([[5, 0], [0, 5]]) == pytest.approx(2.0)


def test_bias_correction_centres_independence_on_zero() -> None:
    """Simulation: independent labels and predictions; the plug-in estimate is biased upwards."""
    rng = np.random.default_rng(0)
    plain, corrected = [], []
    for _ in range(400):
        confusion = figures.confusion_matrix(
            rng.integers(0, 4, 200), rng.integers(0, 4, 200), n_classes=4
        )
        plain.append(figures.mutual_information(confusion, bias_corrected=False))
        corrected.append(figures.mutual_information(confusion))
    # Miller-Madow: (4 - 1)(4 - 1) / (2 * 200) = 0.0225 nats.
    assert np.mean(plain) == pytest.approx(0.0225, abs=0.003)
    assert abs(np.mean(corrected)) < 0.003


@pytest.mark.parametrize(
    ("targets", "predictions"), [([0, 4], [0, 1]), ([0, -1], [0, 1]), ([0], [0, 1]), ([0.5], [0])]
)
def test_ids_outside_the_classes_are_refused(targets: list[float], predictions: list[int]) -> None:
    with pytest.raises(InputError):
        figures.confusion_matrix(targets, predictions, n_classes=4)
