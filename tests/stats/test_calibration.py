"""Calibration: torchmetrics and torch as oracles, known temperatures, edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_calibration_error

from everyclass.errors import InputError
from everyclass.stats.calibration import (
    TEMPERATURE_RANGE,
    classwise_calibration_error,
    decision_reliability,
    expected_calibration_error,
    fit_temperature,
    log_softmax,
    negative_log_likelihood,
    reliability,
    softmax,
)
from everyclass.stats.intervals import wilson_interval


def drawn(
    n: int, n_classes: int, *, temperature: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, size=(n, n_classes))
    noise = rng.gumbel(size=(n, n_classes))
    return logits, (logits / temperature + noise).argmax(axis=1)


def test_log_softmax_agrees_with_torch_and_is_stable() -> None:
    logits = np.array([[1.0, 2.0, 3.0], [1e4, 0.0, -1e4], [-1e308, -1e308, 0.0]])
    oracle = functional.log_softmax(torch.from_numpy(logits), dim=1).numpy()
    np.testing.assert_allclose(log_softmax(logits), oracle)
    np.testing.assert_allclose(softmax(logits).sum(axis=1), 1)


def test_an_impossible_class_has_probability_zero() -> None:
    np.testing.assert_allclose(softmax([[0.0, -np.inf, 0.0]]), [[0.5, 0, 0.5]])


def test_nll_agrees_with_torch() -> None:
    logits, targets = drawn(50, 4, temperature=1, seed=0)
    oracle = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets))
    assert negative_log_likelihood(logits, targets) == pytest.approx(float(oracle))


def test_ece_by_hand() -> None:
    # Two bins. (0, .5]: confidence .4, wrong: gap .4, 1 image. (.5, 1]: .8 and .9 right, .7 wrong:
    # confidence .8, accuracy 2/3, gap .1333, 3 images. ECE = (.4 + 3 x .1333)/4 = .2.
    found = reliability([0.4, 0.8, 0.9, 0.7], [False, True, True, False], bins=2)
    np.testing.assert_array_equal(found.counts, [1, 3])
    np.testing.assert_allclose(found.confidence, [0.4, 0.8])
    np.testing.assert_allclose(found.accuracy, [0, 2 / 3])
    assert found.expected_error == pytest.approx(0.2)


def test_empty_bins_say_nothing() -> None:
    found = reliability([0.95, 1.0], [True, True])
    assert np.isnan(found.accuracy[:-1]).all()
    assert found.counts[-1] == 2  # 1.0 belongs to the last bin
    assert found.expected_error == pytest.approx(0.025)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ece_agrees_with_torchmetrics(seed: int) -> None:
    logits, targets = drawn(500, 6, temperature=2.0, seed=seed)
    probs = softmax(logits)
    oracle = multiclass_calibration_error(
        torch.from_numpy(probs), torch.from_numpy(targets), num_classes=6, n_bins=15, norm="l1"
    )
    assert expected_calibration_error(probs, targets) == pytest.approx(float(oracle), abs=1e-6)


def test_confidence_is_that_of_the_decision() -> None:
    # The balanced decision takes the rare class at probability .3, and is right in 3 of 10: ten
    # honest answers, error 0. Judged by the most probable class it would look .4 off.
    probs = np.tile([0.7, 0.3], (10, 1))
    targets = np.array([1] * 3 + [0] * 7)
    error = expected_calibration_error(probs, targets, predictions=np.ones(10, dtype=int))
    assert error == pytest.approx(0)
    assert expected_calibration_error(probs, targets) == pytest.approx(0)
    assert expected_calibration_error(probs, 1 - targets) == pytest.approx(0.4)


def test_classwise_error_sees_the_tail() -> None:
    # 90 images of class 0 at .9, 10 of class 1; the model gives class 1 only .01, class 2 .09.
    probs = np.tile([0.9, 0.01, 0.09], (100, 1))
    targets = np.array([0] * 90 + [1] * 10)
    assert expected_calibration_error(probs, targets) == pytest.approx(0)
    found = classwise_calibration_error(probs, targets)
    np.testing.assert_allclose(found, [0, 0.09, 0.09], atol=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1.7, 4.0])
def test_the_temperature_behind_the_labels_is_found(temperature: float) -> None:
    # Simulation: 20,000 labels drawn at a known temperature. 3 % is over four standard errors.
    logits, targets = drawn(20_000, 5, temperature=temperature, seed=3)
    fit = fit_temperature(logits, targets)
    assert fit.temperature == pytest.approx(temperature, rel=0.03)
    assert fit.nll_after is not None
    assert fit.nll_before is not None
    assert fit.nll_after < fit.nll_before


def test_temperature_agrees_with_a_general_minimiser() -> None:
    # Oracle: scipy on the stated objective, the NLL plus one image with an even label.
    logits, targets = drawn(60, 4, temperature=2.5, seed=4)

    def objective(temperature: float) -> float:
        logs = log_softmax(logits / temperature)
        return float(-logs[np.arange(60), targets].sum() - logs.mean())

    best = optimize.minimize_scalar(objective, bounds=TEMPERATURE_RANGE, method="bounded")
    assert fit_temperature(logits, targets).temperature == pytest.approx(best.x, rel=1e-4)


def test_temperature_lowers_the_calibration_error_on_other_images() -> None:
    logits, targets = drawn(24_000, 5, temperature=3.0, seed=5)
    fit = fit_temperature(logits[:4_000], targets[:4_000])
    rest, labels = logits[4_000:], targets[4_000:]
    before = expected_calibration_error(softmax(rest), labels)
    after = expected_calibration_error(softmax(rest / fit.temperature), labels)
    assert before > 0.15
    assert after < 0.03


def test_no_images_change_nothing() -> None:
    fit = fit_temperature(np.zeros((0, 3)), [])
    assert (fit.temperature, fit.n, fit.nll_before) == (1.0, 0, None)


def test_all_right_does_not_become_certainty() -> None:
    # 50 images, each right by a margin of 2: the likelihood alone would send T to 0 and the
    # probability of the answer to 1. With the imaginary image it stays near 1 - 1/50.
    logits = np.tile([2.0, 0.0], (50, 1))
    fit = fit_temperature(logits, np.zeros(50, dtype=int))
    confidence = softmax(logits / fit.temperature)[0, 0]
    assert TEMPERATURE_RANGE[0] < fit.temperature < 1
    # Half of the imaginary image sits on the other class: 50.5/51.
    assert confidence == pytest.approx(50.5 / 51, abs=1e-6)


def test_hopeless_logits_end_at_the_limit() -> None:
    logits = np.tile([30.0, 0.0], (100, 1))
    fit = fit_temperature(logits, np.ones(100, dtype=int))
    assert fit.temperature == TEMPERATURE_RANGE[1]
    assert "(the limit)" in fit.sentence


def test_constant_logits_leave_one() -> None:
    fit = fit_temperature(np.zeros((20, 3)), np.zeros(20, dtype=int))
    assert fit.temperature == 1.0


def test_temperature_moves_no_decision() -> None:
    logits, targets = drawn(200, 5, temperature=3.0, seed=6)
    fit = fit_temperature(logits, targets)
    np.testing.assert_array_equal((logits / fit.temperature).argmax(axis=1), logits.argmax(axis=1))


def test_logits_where_probabilities_belong_are_refused() -> None:
    with pytest.raises(InputError, match=r"probabilities are expected.*Pass softmax"):
        expected_calibration_error([[2.0, 1.0]], [0])
    with pytest.raises(InputError, match="probabilities are expected"):
        expected_calibration_error([[1.5, -0.5]], [0])
    with pytest.raises(InputError, match="confidences reach"):
        reliability([2.0], [True])


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        ([[0.0, 1.0]], [0, 1], r"shapes are \(1, 2\) and \(2,\)"),
        ([[0.0, 1.0]], [2], "class ids from 0 to 1"),
        ([[0.0, 1.0]], [0.5], "class ids from 0 to 1"),
        ([[np.nan, 1.0]], [0], "finite logits"),
    ],
)
def test_bad_arrays_are_refused(logits: list, targets: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_temperature(logits, targets)


def test_bins_have_wilson_intervals_and_empty_ones_are_left_out() -> None:
    # Four bins; (.25, .5] holds .4 (wrong), (.75, 1] holds .8, .9 (right, wrong).
    found = reliability([0.4, 0.8, 0.9], [False, True, False], bins=4)
    np.testing.assert_allclose(found.accuracy_ci95[1], wilson_interval(0, 1))
    np.testing.assert_array_equal(found.accuracy_ci95[0], [0, 1])
    first, last = found.to_bins()
    assert (first.low, first.high, first.n, first.accuracy) == (0.25, 0.5, 1, 0.0)
    assert (last.n, last.confidence, last.accuracy) == (2, pytest.approx(0.85), 0.5)
    assert last.accuracy_ci95 == tuple(wilson_interval(1, 2))


def test_the_diagram_is_that_of_the_calibration_error() -> None:
    logits, targets = drawn(400, 4, temperature=2.0, seed=8)
    probs, chosen = softmax(logits), logits[:, ::-1].argmax(axis=1)
    bins = decision_reliability(probs, targets, predictions=chosen).to_bins()
    by_bins = sum(one.n * abs(one.accuracy - one.confidence) for one in bins) / 400
    assert by_bins == pytest.approx(expected_calibration_error(probs, targets, predictions=chosen))
    with pytest.raises(InputError, match="3 predictions for 400 images"):
        decision_reliability(probs, targets, predictions=[0, 1, 2])


def test_images_at_other_class_frequencies_tell_the_same_temperature() -> None:
    """Simulation: labels at temperature 2.5 and frequencies .7 .2 .08 .02; the images to fit on
    are resampled to even classes. Without the shift the fit is off; with it, it is right.
    """
    rng = np.random.default_rng(12)
    prior = np.array([0.7, 0.2, 0.08, 0.02])
    targets = rng.choice(4, size=60_000, p=prior)
    # Gaussian classes: log p(y|x) is known exactly.
    images = rng.normal(size=(60_000, 4)) + 1.5 * np.eye(4)[targets]
    logits = 2.5 * (1.5 * images + np.log(prior))
    even = np.concatenate([np.flatnonzero(targets == c)[:1000] for c in range(4)])
    shift = np.log(0.25 / prior)
    plain = fit_temperature(logits[even], targets[even]).temperature
    shifted = fit_temperature(logits[even], targets[even], shift=shift)
    assert abs(plain - 2.5) > 0.4
    assert shifted.temperature == pytest.approx(2.5, rel=0.06)
    assert shifted.nll_before is not None
    assert shifted.nll_after is not None
    assert shifted.nll_after < shifted.nll_before


def test_a_class_without_images_is_impossible_to_the_fit() -> None:
    logits, targets = drawn(300, 3, temperature=2.0, seed=2)
    kept = targets < 2
    two = fit_temperature(logits[kept], targets[kept], shift=[0, 0, -np.inf])
    # The same as a fit on two columns, but for the imaginary image.
    alone = fit_temperature(logits[kept, :2], targets[kept])
    assert two.temperature == pytest.approx(alone.temperature, rel=0.05)
