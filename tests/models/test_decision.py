from __future__ import annotations

import numpy as np
import pytest

from everyclass.errors import InputError
from everyclass.models.decision import Decision
from everyclass.stats.calibration import softmax

NATURAL, EVEN = (0.7, 0.2, 0.1), (1 / 3, 1 / 3, 1 / 3)


def logits(n: int = 20) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 3)) * 2


def test_a_plainly_trained_model_is_ordinary_temperature_scaling() -> None:
    decision = Decision(logits_prior=NATURAL, natural_prior=NATURAL, temperature=2.0)
    np.testing.assert_allclose(decision.probabilities(logits()), softmax(logits() / 2))
    assert (decision.natural(logits()) == logits().argmax(1)).all()
    assert (decision.balanced(logits()) == logits().argmax(1)).all()


def test_a_balanced_model_gets_the_natural_prior_by_hand() -> None:
    # Even logits say nothing about the image: what remains is the prior.
    decision = Decision(logits_prior=EVEN, natural_prior=NATURAL)
    np.testing.assert_allclose(decision.probabilities([[0.0, 0.0, 0.0]]), [NATURAL])
    np.testing.assert_allclose(
        decision.probabilities([[0.0, 0.0, 0.0]], prior=(0.1, 0.1, 0.8)), [[0.1, 0.1, 0.8]]
    )


def test_doubling_the_odds_in_the_prior_doubles_them_in_every_answer() -> None:
    decision = Decision(logits_prior=EVEN, natural_prior=NATURAL, temperature=3.0)
    before = decision.probabilities(logits(), prior=(0.5, 0.25, 0.25))
    after = decision.probabilities(logits(), prior=(0.25, 0.25, 0.5))
    odds = (after[:, 2] / after[:, 0]) / (before[:, 2] / before[:, 0])
    np.testing.assert_allclose(odds, 4.0)  # from 1:2 to 2:1


def test_natural_and_balanced_decisions_differ_where_they_should() -> None:
    # Class 2 leads by log 2 under an even prior; at 0.7 : 0.1 the first is seven times as likely.
    decision = Decision(logits_prior=EVEN, natural_prior=NATURAL)
    image = [[0.0, -9.0, np.log(2)]]
    assert decision.balanced(image).tolist() == [2]
    assert decision.natural(image).tolist() == [0]


def test_tau_moves_the_balanced_decision_alone() -> None:
    plain = Decision(logits_prior=NATURAL, natural_prior=NATURAL)
    moved = Decision(logits_prior=NATURAL, natural_prior=NATURAL, tau=1.0)
    image = [[0.5, -9.0, 0.0]]
    # 0.5 - log 0.7 = 0.86; 0 - log 0.1 = 2.3.
    assert plain.balanced(image).tolist() == [0]
    assert moved.balanced(image).tolist() == [2]
    assert moved.natural(image).tolist() == [0]
    np.testing.assert_allclose(plain.probabilities(image), moved.probabilities(image))


def test_a_class_excluded_by_the_prior_gets_nothing() -> None:
    decision = Decision(logits_prior=EVEN, natural_prior=NATURAL)
    found = decision.probabilities(logits(), prior=(0.5, 0.5, 0.0))
    assert (found[:, 2] == 0).all()
    np.testing.assert_allclose(found.sum(1), 1.0)


def test_permuting_the_classes_permutes_the_answer() -> None:
    order = [2, 0, 1]
    decision = Decision(logits_prior=EVEN, natural_prior=NATURAL, temperature=1.7, tau=0.5)
    other = Decision(
        logits_prior=EVEN,
        natural_prior=tuple(NATURAL[k] for k in order),
        temperature=1.7,
        tau=0.5,
    )
    np.testing.assert_allclose(
        other.probabilities(logits()[:, order]), decision.probabilities(logits())[:, order]
    )
    assert [order[k] for k in other.balanced(logits()[:, order])] == list(
        decision.balanced(logits())
    )


def test_json_round_trip() -> None:
    decision = Decision(logits_prior=EVEN, natural_prior=NATURAL, temperature=1.3, tau=0.25)
    assert Decision.from_dict(decision.to_dict()) == decision


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"tau": float("inf")}, "tau"),
        ({"logits_prior": (0.5, 0.5, 0.0)}, "holds a 0"),
        ({"logits_prior": (0.5, 0.5)}, "logits_prior"),
        ({"natural_prior": (0.9, 0.9, 0.1)}, "natural_prior"),
    ],
)
def test_what_is_no_decision(change: dict[str, object], words: str) -> None:
    values: dict[str, object] = {"logits_prior": EVEN, "natural_prior": NATURAL, **change}
    with pytest.raises(InputError, match=words):
        Decision(**values)  # type: ignore[arg-type]
