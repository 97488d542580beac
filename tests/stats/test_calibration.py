from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from everyclass.errors import InputError
from everyclass.stats.calibration import (
    classwise_calibration_error,
    expected_calibration_error,
    fit_temperature,
    log_softmax,
    negative_log_likelihood,
    reliability,
    softmax,
)


def case(n: int = 600, sharpness: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose labels are drawn from softmax(logits): calibrated; `sharpness` spoils that."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 4)) * 2
    probs = softmax(logits)
    targets = np.array([rng.choice(4, p=row) for row in probs])
    return logits * sharpness, targets


def test_log_softmax_is_torch_s_and_stable() -> None:
    logits, _ = case()
    oracle = torch.log_softmax(torch.from_numpy(logits), 1).numpy()
    np.testing.assert_allclose(log_softmax(logits), oracle)
    assert np.isfinite(log_softmax([[1e4, -1e4]])).all()
    np.testing.assert_allclose(softmax([[0.0, -np.inf]]), [[1.0, 0.0]])


def test_nll_is_torch_s() -> None:
    logits, targets = case()
    oracle = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets))
    assert negative_log_likelihood(logits, targets) == pytest.approx(float(oracle))


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_ece_is_torchmetrics(sharpness: float) -> None:
    logits, targets = case(sharpness=sharpness)
    probs = softmax(logits)
    oracle = multiclass_calibration_error(
        torch.from_numpy(probs), torch.from_numpy(targets), num_classes=4, n_bins=15
    )
    assert expected_calibration_error(probs, targets) == pytest.approx(float(oracle), abs=1e-6)


def test_ece_by_hand() -> None:
    # Two images at confidence 0.8, one right: |0.5 - 0.8| = 0.3.
    probs = [[0.8, 0.2], [0.8, 0.2]]
    assert expected_calibration_error(probs, [0, 1]) == pytest.approx(0.3)


def test_ece_of_a_decision_uses_the_probability_of_what_was_decided() -> None:
    # Decided for class 1 at probability 0.3, right in 3 of 10: perfectly calibrated.
    probs = np.tile([0.7, 0.3], (10, 1))
    targets = [1] * 3 + [0] * 7
    assert expected_calibration_error(probs, targets, predictions=[1] * 10) == pytest.approx(0.0)


def test_logits_are_not_taken_for_probabilities() -> None:
    logits, targets = case()
    with pytest.raises(InputError):
        expected_calibration_error(logits, targets)


def test_reliability_counts_every_image_once() -> None:
    confidence = np.array([0.0, 0.1, 0.5, 0.999, 1.0])
    found = reliability(confidence, [True] * 5, bins=10)
    assert found.counts.sum() == 5
    assert found.counts[-1] == 2


def test_classwise_error_sees_the_rare_class() -> None:
    # Class 1 is never more probable than 0.1 and always the truth of its images.
    probs = np.tile([0.9, 0.1], (10, 1))
    errors = classwise_calibration_error(probs, [0] * 5 + [1] * 5)
    np.testing.assert_allclose(errors, [0.4, 0.4])


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_temperature_is_the_brute_force_minimum(sharpness: float) -> None:
    logits, targets = case(sharpness=sharpness)
    fit = fit_temperature(logits, targets)
    grid = np.exp(np.linspace(np.log(0.1), np.log(10), 2001))
    losses = [negative_log_likelihood(logits / t, targets) for t in grid]
    assert fit.temperature == pytest.approx(grid[int(np.argmin(losses))], rel=0.03)
    assert fit.nll_after is not None
    assert fit.nll_before is not None
    assert fit.nll_after <= fit.nll_before


def test_temperature_recovers_the_sharpness() -> None:
    logits, targets = case(n=6000, sharpness=2.5)
    assert fit_temperature(logits, targets).temperature == pytest.approx(2.5, rel=0.08)


def test_temperature_of_perfect_predictions_claims_no_certainty() -> None:
    targets = np.arange(4).repeat(5)
    logits = np.eye(4)[targets] * 3
    fit = fit_temperature(logits, targets)
    confidence = softmax(logits / fit.temperature).max()
    assert confidence < 1 - 1 / (2 * 20)


def test_temperature_without_images_changes_nothing() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int)).temperature == 1.0


def test_temperature_refuses_nan() -> None:
    with pytest.raises(InputError, match="finite"):
        fit_temperature([[np.nan, 0.0]], [0])
