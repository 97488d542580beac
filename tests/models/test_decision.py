"""Decisions: Bayes by hand, what temperature and priors may change, the JSON form."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from everyclass.errors import InputError
from everyclass.imbalance.prior import shift_prior
from everyclass.models.decision import Decision
from everyclass.stats.calibration import fit_temperature, softmax

NATURAL = (0.7, 0.2, 0.1)
EVEN = (1 / 3, 1 / 3, 1 / 3)


def some_logits(n: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, size=(n, 3))


def test_by_hand() -> None:
    # Balanced logits (0, ln 2, 0) at prior .7 .2 .1: .7, .4, .1, over 1.2.
    decision = Decision(logits_prior=EVEN, natural_prior=NATURAL)
    logits = np.log([[1.0, 2.0, 1.0]])
    np.testing.assert_allclose(decision.probabilities(logits), [[0.7 / 1.2, 0.4 / 1.2, 0.1 / 1.2]])
    # At prior 0, .5, .5: 0, 1, .5, over 1.5.
    np.testing.assert_allclose(
        decision.probabilities(logits, prior=(0, 0.5, 0.5)), [[0, 2 / 3, 1 / 3]]
    )
    assert decision.natural(logits).tolist() == [0]
    assert decision.balanced(logits).tolist() == [1]


def test_temperature_by_hand() -> None:
    # z = ln(.7, .4, .1); T = 2 takes the square root: .83666, .63246, .31623, over 1.78535.
    decision = Decision(logits_prior=EVEN, natural_prior=NATURAL, temperature=2.0)
    np.testing.assert_allclose(
        decision.probabilities(np.log([[1.0, 2.0, 1.0]])),
        [[0.46863, 0.35425, 0.17712]],
        atol=1e-5,
    )


def test_plain_training_is_ordinary_temperature_scaling() -> None:
    decision = Decision(logits_prior=NATURAL, natural_prior=NATURAL, temperature=1.7)
    logits = some_logits()
    np.testing.assert_allclose(decision.probabilities(logits), softmax(logits / 1.7))
    np.testing.assert_array_equal(decision.natural(logits), logits.argmax(axis=1))


@given(st.floats(0.1, 10))
def test_temperature_moves_no_decision(temperature: float) -> None:
    logits = some_logits(50)
    cold = Decision(logits_prior=EVEN, natural_prior=NATURAL, tau=0.5)
    other = Decision(logits_prior=EVEN, natural_prior=NATURAL, tau=0.5, temperature=temperature)
    np.testing.assert_array_equal(other.natural(logits), cold.natural(logits))
    np.testing.assert_array_equal(other.balanced(logits), cold.balanced(logits))
    probs = other.probabilities(logits)
    np.testing.assert_array_equal(probs.argmax(axis=1), other.natural(logits))
    np.testing.assert_allclose(probs.sum(axis=1), 1)


@given(st.floats(0.2, 5))
def test_a_change_of_prior_changes_the_odds_in_full(temperature: float) -> None:
    # From .7 .2 .1 to .2 .7 .1 the odds of class 1 over class 0 grow by (.7/.2)/(.2/.7) = 12.25 in
    # every answer, whatever the temperature.
    decision = Decision(logits_prior=EVEN, natural_prior=NATURAL, temperature=temperature)
    logits = some_logits(20)
    here, there = (
        decision.probabilities(logits),
        decision.probabilities(logits, prior=(0.2, 0.7, 0.1)),
    )
    odds = (there[:, 1] / there[:, 0]) / (here[:, 1] / here[:, 0])
    np.testing.assert_allclose(odds, 12.25)


def test_at_temperature_one_it_is_the_prior_shift() -> None:
    decision = Decision(logits_prior=EVEN, natural_prior=NATURAL)
    logits = some_logits()
    shifted = shift_prior(
        torch.from_numpy(logits), train_prior=torch.tensor(EVEN), target_prior=torch.tensor(NATURAL)
    )
    np.testing.assert_allclose(
        decision.probabilities(logits), shifted.softmax(dim=1).numpy(), atol=1e-6
    )


def test_the_answer_does_not_depend_on_where_the_prior_was_corrected() -> None:
    # Two models that know the same: one whose logits imply the natural prior, one adjusted to the
    # even prior. Probabilities under any prior, and the full balanced decision, are the same.
    likelihoods = some_logits()
    plain = Decision(logits_prior=NATURAL, natural_prior=NATURAL, tau=1.0, temperature=1.5)
    adjusted = Decision(logits_prior=EVEN, natural_prior=NATURAL, tau=0.0, temperature=1.5)
    with_prior = likelihoods + np.log(NATURAL)
    for prior in (None, EVEN, (0.1, 0.1, 0.8)):
        np.testing.assert_allclose(
            plain.probabilities(with_prior, prior=prior),
            adjusted.probabilities(likelihoods, prior=prior),
        )
    np.testing.assert_array_equal(plain.balanced(with_prior), adjusted.balanced(likelihoods))


def test_calibrated_where_it_was_fitted_and_under_another_prior() -> None:
    # Simulation: overconfident logits (three times the truth) of a model adjusted to the even
    # prior. T is fitted on 20,000 naturally distributed images; then the mean probability of each
    # class must be its frequency, here and where the frequencies are .2 .3 .5. Standard errors
    # stay below .004; the same mean at T = 1 is off by up to .05.
    rng = np.random.default_rng(0)

    def images(prior: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
        targets = rng.choice(3, size=20_000, p=prior)
        x = rng.normal(size=(20_000, 3)) + 1.2 * np.eye(3)[targets]
        return 1.2 * x, targets  # the log-likelihoods up to a constant

    scores, targets = images(NATURAL)
    overconfident = 3 * (scores + np.log(NATURAL)) - np.log(NATURAL)
    plain = Decision(logits_prior=EVEN, natural_prior=NATURAL)
    fit = fit_temperature(plain.natural_logits(overconfident), targets)
    assert fit.temperature == pytest.approx(3, rel=0.05)
    decision = Decision(logits_prior=EVEN, natural_prior=NATURAL, temperature=fit.temperature)
    np.testing.assert_allclose(
        decision.probabilities(overconfident).mean(axis=0), NATURAL, atol=0.015
    )
    elsewhere = (0.2, 0.3, 0.5)
    scores, _ = images(elsewhere)
    overconfident = 3 * (scores + np.log(NATURAL)) - np.log(NATURAL)
    np.testing.assert_allclose(
        decision.probabilities(overconfident, prior=elsewhere).mean(axis=0), elsewhere, atol=0.02
    )


def test_permuted_classes_permute_the_answers() -> None:
    order = [2, 0, 1]
    logits = some_logits(30)
    one = Decision(logits_prior=EVEN, natural_prior=NATURAL, temperature=1.3, tau=0.7)
    other = Decision(
        logits_prior=EVEN,
        natural_prior=tuple(NATURAL[i] for i in order),
        temperature=1.3,
        tau=0.7,
    )
    np.testing.assert_allclose(
        other.probabilities(logits[:, order]), one.probabilities(logits)[:, order]
    )
    np.testing.assert_array_equal(
        np.array(order)[other.balanced(logits[:, order])], one.balanced(logits)
    )


def test_json_round_trip_is_exact() -> None:
    decision = Decision(
        logits_prior=EVEN, natural_prior=NATURAL, temperature=1.2345678901234567, tau=0.25
    )
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision


def test_frequencies_from_float32_are_accepted() -> None:
    shares = torch.rand(200, generator=torch.Generator().manual_seed(0)) + 0.01
    prior = tuple((shares / shares.sum()).tolist())
    assert len(Decision(logits_prior=prior, natural_prior=prior).natural_prior) == 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"natural_prior": [0.5, 0.6]}, "natural_prior must be frequencies"),
        ({"natural_prior": [1.0, 0.0]}, "natural_prior holds a 0"),
        ({"logits_prior": [1.0]}, "logits_prior has 1 numbers for 2 classes"),
        ({"temperature": 0.0}, "the temperature is 0.0"),
        ({"temperature": float("nan")}, "the temperature is nan"),
        ({"tau": float("inf")}, "tau is inf"),
        ({"tau": "much"}, "no number"),
        ({"natural_prior": 1}, "no number"),
        ({"bias": 1}, r"off: \['bias'\]"),
    ],
)
def test_a_wrong_contract_is_refused(change: dict, message: str) -> None:
    values = {
        "logits_prior": [0.5, 0.5],
        "natural_prior": [0.5, 0.5],
        "temperature": 1.0,
        "tau": 0.0,
    }
    with pytest.raises(InputError, match=message):
        Decision.from_dict(values | change)


def test_wrong_logits_and_priors_are_refused() -> None:
    decision = Decision(logits_prior=EVEN, natural_prior=NATURAL)
    with pytest.raises(InputError, match=r"logits have shape \(2, 4\); \(N, 3\)"):
        decision.natural(np.zeros((2, 4)))
    with pytest.raises(InputError, match=r"\(N, 3\)"):
        decision.balanced(np.zeros(3))
    with pytest.raises(InputError, match="prior has 2 numbers for 3 classes"):
        decision.probabilities(np.zeros((1, 3)), prior=(0.5, 0.5))
    with pytest.raises(InputError, match=r"it sums to 1\.5"):
        decision.probabilities(np.zeros((1, 3)), prior=(0.5, 0.5, 0.5))


def test_even_probabilities_are_those_at_even_frequencies() -> None:
    # f = 0 at the even prior of a balanced training: no class is more likely than another, at any
    # temperature; at the natural prior they are .9 and .1.
    decision = Decision(logits_prior=(0.5, 0.5), natural_prior=(0.9, 0.1))
    np.testing.assert_allclose(decision.even_probabilities([[0.0, 0.0]]), [[0.5, 0.5]])
    logits = np.random.default_rng(0).normal(size=(20, 2))
    warm = Decision(logits_prior=(0.7, 0.3), natural_prior=(0.9, 0.1), temperature=2.0)
    oracle = warm.probabilities(logits, prior=(0.5, 0.5))
    np.testing.assert_array_equal(warm.even_probabilities(logits), oracle)
