from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from everyclass.errors import InputError
from everyclass.imbalance.prior import (
    check_single_correction,
    log_prior,
    shift_prior,
    stream_prior,
    sweep_tau,
)
from everyclass.imbalance.weights import balanced_weights, inverse_frequency_weights

COUNTS = torch.tensor([900, 100])
CLASSES = ("HGSC", "MC")


def test_stream_prior_of_each_correction() -> None:
    even = torch.tensor([0.5, 0.5])
    torch.testing.assert_close(stream_prior(COUNTS), torch.tensor([0.9, 0.1]))
    torch.testing.assert_close(stream_prior(COUNTS, power=0.0), even)
    torch.testing.assert_close(stream_prior(COUNTS, tau=1.0), even)
    torch.testing.assert_close(stream_prior(COUNTS, weights=balanced_weights(COUNTS)), even)
    # Half a correction: sqrt(900) : sqrt(100) = 3 : 1.
    torch.testing.assert_close(stream_prior(COUNTS, tau=0.5), torch.tensor([0.75, 0.25]))


def test_two_corrections_turn_the_prior_upside_down() -> None:
    twice = stream_prior(COUNTS, power=0.0, weights=inverse_frequency_weights(COUNTS))
    torch.testing.assert_close(twice, torch.tensor([0.1, 0.9]))


def gaussian_posterior(x: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    """P(class | x) for two unit Gaussians at -1 and 1: Bayes' rule written out."""
    likelihood = torch.stack([torch.exp(-((x + 1) ** 2) / 2), torch.exp(-((x - 1) ** 2) / 2)], 1)
    joint = likelihood * prior
    return joint / joint.sum(1, keepdim=True)


def test_shifting_the_prior_is_bayes_rule() -> None:
    x = torch.linspace(-3, 3, 41, dtype=torch.float64)
    trained, deployed = torch.tensor([0.9, 0.1]).double(), torch.tensor([0.2, 0.8]).double()
    logits = gaussian_posterior(x, trained).log()
    shifted = shift_prior(logits, train_prior=trained, target_prior=deployed).softmax(1)
    torch.testing.assert_close(shifted, gaussian_posterior(x, deployed))


@pytest.mark.parametrize("correction", ["weights", "adjustment", "sampling"])
def test_logits_of_a_trained_model_imply_the_stated_prior(correction: str) -> None:
    """A softmax fitted to two Gaussians at 9 : 1 under each correction; put to the natural prior
    by `stream_prior` and `shift_prior`, all of them must give the true posterior.
    """
    generator = torch.Generator().manual_seed(0)
    n = torch.tensor([9000, 1000])
    labels = torch.repeat_interleave(torch.arange(2), n)
    x = torch.randn(10_000, generator=generator, dtype=torch.float64) + 2.0 * labels - 1
    if correction == "sampling":
        rows = torch.cat([torch.arange(9000), torch.arange(9000, 10_000).repeat(9)])
        x, labels = x[rows], labels[rows]
    features = torch.stack([x, torch.ones_like(x)], 1)
    parameters = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    weights = balanced_weights(n).double() if correction == "weights" else torch.ones(2).double()
    offset = log_prior(n).double() if correction == "adjustment" else torch.zeros(2).double()
    optimizer = torch.optim.LBFGS([parameters], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        losses = torch.nn.functional.cross_entropy(
            features @ parameters + offset, labels, reduction="none"
        )
        loss = (weights[labels] * losses).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    implied = stream_prior(
        n,
        power=0.0 if correction == "sampling" else 1.0,
        weights=weights.float() if correction == "weights" else None,
        tau=1.0 if correction == "adjustment" else 0.0,
    )
    grid = torch.linspace(-2, 2, 21, dtype=torch.float64)
    logits = torch.stack([grid, torch.ones_like(grid)], 1) @ parameters.detach()
    natural = n / n.sum()
    found = shift_prior(logits, train_prior=implied, target_prior=natural).softmax(1)
    truth = gaussian_posterior(grid, natural.double())
    # 1,000 rare images leave a few points of estimation error.
    assert float((found - truth).abs().max()) < 0.05


def test_a_prior_of_zero_excludes_a_class() -> None:
    logits = torch.tensor([[0.0, 9.0]])
    shifted = shift_prior(
        logits, train_prior=torch.tensor([0.5, 0.5]), target_prior=torch.tensor([1.0, 0.0])
    )
    assert shifted.softmax(1).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("train", "target", "words"),
    [
        ([0.5, 0.6], [0.5, 0.5], "sum to 1"),
        ([0.5, 0.5], [1.5, -0.5], "sum to 1"),
        ([1.0, 0.0], [0.5, 0.5], "holds a 0"),
        ([0.5, 0.5], [1.0], "shape"),
    ],
)
def test_what_is_no_prior(train: list[float], target: list[float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        shift_prior(
            torch.zeros(1, 2), train_prior=torch.tensor(train), target_prior=torch.tensor(target)
        )


# -- the sweep -------------------------------------------------------------------------------------


def biased_case(n: int, shift: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Validation logits for 90 : 10 labels that are right but for `shift` towards class 0."""
    rng = np.random.default_rng(seed)
    targets = (np.arange(n) % 10 == 0).astype(np.int64)
    score = rng.normal(size=n) + 3.0 * targets - 1.5
    logits = np.stack([np.full(n, shift), score * 2], axis=1)
    return torch.from_numpy(logits), torch.from_numpy(targets)


def test_a_clear_gain_is_kept() -> None:
    logits, targets = biased_case(1000, shift=2.2, seed=0)
    sweep = sweep_tau(logits, targets, log_prior=log_prior(COUNTS))
    assert sweep.tau > 0
    best = next(trial for trial in sweep.trials if trial.tau == sweep.tau)
    assert best.gain > best.standard_error
    assert "it is kept" in sweep.sentence


def test_no_shift_needed_none_kept() -> None:
    logits, targets = biased_case(1000, shift=0.0, seed=1)
    assert sweep_tau(logits, targets, log_prior=log_prior(COUNTS)).tau == 0


def test_a_lucky_image_is_no_reason() -> None:
    # Five rare images; tau turns one of them right, so the gain is (1/5) / 2 = 0.1. Its variance:
    # rare (2/7 - 1/49)/7 = 0.0379, common (1/12)/12 = 0.0069; sqrt(0.0448)/2 = 0.106.
    logits = torch.tensor([[1.0, 0.0]] * 10 + [[1.0, 0.2]] + [[9.0, 0.0]] * 4)
    targets = torch.tensor([0] * 10 + [1] * 5)
    prior = torch.tensor([0.8, 0.2]).log()
    sweep = sweep_tau(logits, targets, log_prior=prior, taus=(0.6,))
    assert sweep.trials[1].gain == pytest.approx(0.1)
    assert sweep.trials[1].standard_error == pytest.approx(0.106, abs=5e-4)
    assert sweep.tau == 0
    assert "not kept" in sweep.sentence


def test_chance_gains_are_rarely_kept() -> None:
    """Simulation: logits without any need of a shift; a tau is kept in a minority of sets. (The
    rule asks for one standard error of the best of six, so not in 5 %.)
    """
    kept = 0
    for seed in range(100):
        logits, targets = biased_case(200, shift=0.0, seed=seed)
        kept += sweep_tau(logits, targets, log_prior=log_prior(COUNTS)).tau != 0
    assert kept <= 40


def test_nothing_to_choose_on() -> None:
    empty = sweep_tau(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), log_prior=COUNTS.log())
    assert empty.tau == 0


# -- correcting twice ------------------------------------------------------------------------------


def test_sampler_and_weights_are_refused_with_the_arithmetic() -> None:
    # Balanced sampling draws both equally; weights 1/n then count MC 900/100 = 9 times HGSC.
    with pytest.raises(InputError, match=r"ratio 9 class 'MC' would count 9 times class 'HGSC'"):
        check_single_correction(
            sampling="class-balanced",
            weights=inverse_frequency_weights(COUNTS),
            adjustment=0.0,
            counts=COUNTS,
            classes=CLASSES,
        )


def test_weights_and_adjustment_are_refused() -> None:
    with pytest.raises(InputError, match=r"weights and logit adjustment.*9 times"):
        check_single_correction(
            sampling="natural",
            weights=balanced_weights(COUNTS),
            adjustment=1.0,
            counts=COUNTS,
            classes=CLASSES,
        )


@pytest.mark.parametrize(
    ("sampling", "weights", "adjustment"),
    [
        ("natural", None, 0.0),
        ("class-balanced", None, 0.0),
        ("class-balanced", torch.ones(2), 0.0),
        ("natural", balanced_weights(COUNTS), 0.0),
        ("natural", None, 1.0),
    ],
)
def test_one_correction_or_none_passes(
    sampling: str, weights: torch.Tensor | None, adjustment: float
) -> None:
    check_single_correction(
        sampling=sampling,  # type: ignore[arg-type]
        weights=weights,
        adjustment=adjustment,
        counts=COUNTS,
        classes=CLASSES,
    )
    assert math.isclose(float(stream_prior(COUNTS).sum()), 1.0, rel_tol=1e-6)


def test_equal_classes_cannot_be_corrected_twice() -> None:
    equal = torch.tensor([50, 50])
    check_single_correction(
        sampling="class-balanced",
        weights=inverse_frequency_weights(equal),
        adjustment=1.0,
        counts=equal,
        classes=CLASSES,
    )
    assert stream_prior(equal).tolist() == [0.5, 0.5]
