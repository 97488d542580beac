"""Priors: Bayes by hand, training as the oracle of what logits imply, the sweep, the refusal."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from everyclass.errors import InputError
from everyclass.imbalance.losses import logit_adjusted_cross_entropy, weighted_cross_entropy
from everyclass.imbalance.prior import (
    check_single_correction,
    fitted_prior,
    log_prior,
    shift_prior,
    stream_prior,
    sweep_tau,
)
from everyclass.imbalance.sampling import Sampling, sampled_prior
from everyclass.imbalance.weights import (
    balanced_weights,
    inverse_frequency_weights,
    square_root_weights,
)

COUNTS = torch.tensor([800, 150, 50])
LIKELIHOOD = torch.tensor(
    # P(x|y): row = class, column = one of four kinds of image.
    [[0.70, 0.20, 0.05, 0.05], [0.10, 0.60, 0.20, 0.10], [0.05, 0.15, 0.40, 0.40]],
    dtype=torch.float64,
)


def posterior(prior: Tensor) -> Tensor:
    """(4, 3) P(y|x) for each kind of image, by Bayes."""
    joint = (LIKELIHOOD * prior.double()[:, None]).T
    return joint / joint.sum(dim=1, keepdim=True)


def fitted_logits(power: float, weights: Tensor | None, tau: float) -> Tensor:
    """(4, 3): logits free for each kind of image, trained on the exact expected loss."""
    stream = sampled_prior(COUNTS, power=power).double()
    joint = LIKELIHOOD * stream[:, None]
    logits = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits],
        max_iter=500,
        tolerance_grad=1e-12,
        tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )
    kinds = torch.arange(4).repeat(3)
    targets = torch.arange(3).repeat_interleave(4)
    shares = joint.flatten()

    def expected_loss() -> Tensor:
        optimizer.zero_grad()
        total = logits.new_zeros(())
        for i in range(12):
            image, target = logits[kinds[i]][None], targets[i][None]
            if weights is not None:
                one = weighted_cross_entropy(image, target, weights)
            else:
                one = logit_adjusted_cross_entropy(
                    image, target, log_prior(COUNTS, power=power), tau=tau
                )
            total = total + shares[i] * one
        total.backward()
        return total

    optimizer.step(expected_loss)
    return logits.detach()


@pytest.mark.parametrize(
    ("power", "weights", "tau"),
    [
        (1.0, None, 0.0),
        (1.0, None, 1.0),
        (1.0, None, 0.5),
        (0.0, None, 0.0),
        (0.5, None, 0.0),
        (0.5, None, 1.0),
        (1.0, balanced_weights(COUNTS), 0.0),
        (1.0, square_root_weights(COUNTS), 0.0),
        (0.0, inverse_frequency_weights(COUNTS), 0.0),
    ],
)
def test_trained_logits_imply_the_stream_prior(
    power: float, weights: Tensor | None, tau: float
) -> None:
    # Oracle: training itself. The minimiser of the expected loss, found numerically, is the
    # posterior under the prior that the formula gives.
    logits = fitted_logits(power, weights, tau)
    implied = stream_prior(COUNTS, power=power, weights=weights, tau=tau)
    torch.testing.assert_close(logits.softmax(dim=1), posterior(implied), rtol=0, atol=1e-5)
    # Whatever the correction was, the shift brings back the natural posterior.
    natural = COUNTS.double() / COUNTS.sum()
    shifted = shift_prior(logits, train_prior=implied, target_prior=natural)
    torch.testing.assert_close(shifted.softmax(dim=1), posterior(natural), rtol=0, atol=1e-5)


def test_stream_prior_by_hand() -> None:
    counts = torch.tensor([900, 100])
    torch.testing.assert_close(stream_prior(counts), torch.tensor([0.9, 0.1]))
    torch.testing.assert_close(stream_prior(counts, power=0.0), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(stream_prior(counts, tau=1.0), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(stream_prior(counts, tau=0.5), torch.tensor([0.75, 0.25]))
    # Pitfall 1: the balanced sampler with inverse-frequency weights turns the prior upside down.
    inverted = stream_prior(counts, power=0.0, weights=inverse_frequency_weights(counts))
    torch.testing.assert_close(inverted, torch.tensor([0.1, 0.9]))


def test_pitfall_one_in_figures() -> None:
    # Seven classes, 4323 to 60: with both corrections the smallest would have 39 % of the loss and
    # the largest 0.5 %.
    counts = torch.tensor([4323, 583, 491, 264, 183, 80, 60])
    both = stream_prior(counts, power=0.0, weights=inverse_frequency_weights(counts))
    assert float(both[-1]) == pytest.approx(0.39, abs=0.005)
    assert float(both[0]) == pytest.approx(0.005, abs=0.001)


def test_shift_by_hand() -> None:
    # Balanced logits that are even between two classes; at 9 to 1 the answer is 9 to 1.
    shifted = shift_prior(
        torch.zeros(1, 2),
        train_prior=torch.tensor([0.5, 0.5]),
        target_prior=torch.tensor([0.9, 0.1]),
    )
    torch.testing.assert_close(shifted.softmax(dim=1), torch.tensor([[0.9, 0.1]]))


priors = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(
    lambda shares: torch.tensor(shares) / sum(shares)
)


@settings(max_examples=50, deadline=None)
@given(priors, priors, priors)
def test_shifts_chain_and_reverse(a: Tensor, b: Tensor, c: Tensor) -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5]])

    def shift(values: Tensor, old: Tensor, new: Tensor) -> Tensor:
        return shift_prior(values, train_prior=old, target_prior=new)

    torch.testing.assert_close(shift(logits, a, a), logits)
    torch.testing.assert_close(shift(shift(logits, a, b), b, a), logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        shift(shift(logits, a, b), b, c), shift(logits, a, c), rtol=0, atol=1e-5
    )


def test_an_excluded_class_is_impossible() -> None:
    shifted = shift_prior(
        torch.zeros(2, 3),
        train_prior=torch.tensor([0.5, 0.3, 0.2]),
        target_prior=torch.tensor([0.5, 0.5, 0.0]),
    )
    assert bool((shifted.softmax(dim=1)[:, 2] == 0).all())
    assert shifted.dtype == torch.float32


@pytest.mark.parametrize(
    ("train", "target", "message"),
    [
        ([0.5, 0.5], [0.9, 0.2], "target_prior must be frequencies that sum to 1; it sums to 1.1"),
        ([0.5, 0.5], [1.5, -0.5], "target_prior must be frequencies"),
        ([0.5, 0.5], [math.nan, 0.5], "target_prior must be frequencies"),
        ([0.5, 0.5], [0.2, 0.3, 0.5], r"target_prior has shape \(3,\)"),
        ([1.0, 0.0], [0.5, 0.5], "train_prior holds a 0"),
    ],
)
def test_what_is_no_prior_is_refused(train: list, target: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        shift_prior(
            torch.zeros(1, 2), train_prior=torch.tensor(train), target_prior=torch.tensor(target)
        )


def test_log_prior_names_a_class_without_images() -> None:
    with pytest.raises(InputError, match="Class 'MC' without training images"):
        log_prior(torch.tensor([3, 0]), classes=("CC", "MC"))
    with pytest.raises(InputError, match="Class 1 without training images"):
        stream_prior(torch.tensor([3, 0]))
    with pytest.raises(InputError, match="weights must be above 0; the smallest is -1"):
        stream_prior(torch.tensor([3, 1]), weights=torch.tensor([1.0, -1.0]))
    with pytest.raises(InputError, match="3 weights for 2 classes"):
        stream_prior(torch.tensor([3, 1]), weights=torch.ones(3))


def drawn(counts: list[int], *, separation: float, seed: int) -> tuple[Tensor, Tensor]:
    """Logits of the exact posterior of Gaussian classes at these counts, and their targets."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    centres = separation * torch.eye(len(counts), dtype=torch.float64)
    x = centres[targets] + torch.randn(
        len(targets), len(counts), generator=generator, dtype=torch.float64
    )
    prior = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    return x @ centres.T + prior.log(), targets


def test_a_clear_gain_is_kept() -> None:
    counts = [2000, 200, 100]
    logits, targets = drawn(counts, separation=2.0, seed=0)
    sweep = sweep_tau(logits, targets, log_prior=log_prior(torch.tensor(counts)))
    # These logits are the exact posterior, so tau = 1 is the best there is; its neighbours are
    # within chance of it.
    assert 0.75 <= sweep.tau <= 1.25
    kept = next(trial for trial in sweep.trials if trial.tau == sweep.tau)
    assert kept.gain > 4 * kept.standard_error
    assert [trial.tau for trial in sweep.trials] == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5]
    assert sweep.sentence.endswith("so it is kept")


def test_balanced_logits_keep_zero() -> None:
    logits, targets = drawn([400, 400, 400], separation=2.0, seed=1)
    sweep = sweep_tau(logits, targets, log_prior=log_prior(torch.tensor([2000, 200, 100])))
    assert sweep.tau == 0


def test_one_lucky_image_is_not_enough() -> None:
    # The rare class has two validation images; tau = 1 wins one of them (half of its recall, a gain
    # of .25 in balanced accuracy) and loses none.
    logits = torch.tensor([[3.0, 0.0]] * 40 + [[0.5, 0.0], [5.0, 0.0]])
    targets = torch.tensor([0] * 40 + [1] * 2)
    sweep = sweep_tau(logits, targets, log_prior=torch.tensor([0.8, 0.2]).log(), taus=(1.0,))
    assert sweep.trials[1].gain == pytest.approx(0.25)
    # Rare class: m = 4, (1 + 1)/4 - (1/4)^2 = 7/16, over 4: 7/64. Head: m = 42, 1/42/42. The
    # root of the sum, over 2: 0.166. Kept, for .25 is more; with one of ten images it is not.
    assert sweep.trials[1].standard_error == pytest.approx(math.sqrt(7 / 64 + 1 / 42**2) / 2)
    assert sweep.tau == 1.0
    logits = torch.tensor([[3.0, 0.0]] * 40 + [[0.5, 0.0]] + [[5.0, 0.0]] * 9)
    targets = torch.tensor([0] * 40 + [1] * 10)
    sweep = sweep_tau(logits, targets, log_prior=torch.tensor([0.8, 0.2]).log(), taus=(1.0,))
    # Gain 1/20 = .05; m = 12, 2/12 - 1/144 = 23/144, over 12; error .0588.
    assert sweep.trials[1].gain == pytest.approx(0.05)
    assert sweep.tau == 0.0
    assert sweep.sentence.endswith("so it is not kept")


def test_of_equal_strengths_the_smallest_is_taken() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.1, 0.0]] * 30)
    targets = torch.tensor([0, 1] * 30)
    sweep = sweep_tau(logits, targets, log_prior=torch.tensor([0.6, 0.4]).log())
    assert sweep.tau == 0.25  # .25 ln 1.5 = .101 is enough to turn the second image


def test_without_validation_images_nothing_is_chosen() -> None:
    sweep = sweep_tau(
        torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), log_prior=torch.zeros(2)
    )
    assert (sweep.tau, sweep.trials) == (0.0, ())


def test_a_sweep_needs_shapes_that_fit() -> None:
    targets = torch.tensor([0])
    with pytest.raises(InputError, match="shapes are"):
        sweep_tau(torch.zeros(1, 2), targets, log_prior=torch.zeros(3))
    with pytest.raises(InputError, match="not finite"):
        sweep_tau(torch.zeros(1, 2), targets, log_prior=torch.tensor([0.0, -math.inf]))


def check(
    *,
    sampling: Sampling = "natural",
    weights: Tensor | None = None,
    adjustment: float = 0.0,
    name: str = "class weights",
) -> None:
    check_single_correction(
        sampling=sampling,
        weights=weights,
        adjustment=adjustment,
        counts=torch.tensor([500, 60, 10]),
        classes=("HGSC", "EC", "MC"),
        weights_name=name,
    )


INVERSE = inverse_frequency_weights(torch.tensor([500, 60, 10]))
ROOT = square_root_weights(torch.tensor([500, 60, 10]))


@pytest.mark.parametrize(
    ("sampling", "weights", "adjustment", "message"),
    [
        (
            "class-balanced",
            INVERSE,
            0.0,
            "A class-balanced sampler and inverse-frequency weights correct the same imbalance "
            "twice: at ratio 50 class 'MC' would count 50 times class 'HGSC' instead of once. "
            "Keep one of the two.",
        ),
        (
            "natural",
            INVERSE,
            1.0,
            "Inverse-frequency weights and logit adjustment of strength 1 correct the same "
            "imbalance twice: at ratio 50 class 'MC' would count 50 times class 'HGSC' instead of "
            "once. Keep one of the two.",
        ),
        (
            "square-root",
            None,
            1.0,
            "A square-root sampler and logit adjustment of strength 1 correct the same imbalance "
            "twice: at ratio 50 class 'MC' would count 7.07 times class 'HGSC' instead of once. "
            "Keep one of the two.",
        ),
        (
            "square-root",
            ROOT,
            0.0,
            "A square-root sampler and inverse-frequency weights correct the same imbalance twice: "
            "at ratio 50 class 'MC' would count as much as class 'HGSC', which one correction does "
            "alone. Keep one of the two.",
        ),
        (
            "square-root",
            None,
            0.25,
            "A square-root sampler and logit adjustment of strength 0.25 correct the same "
            "imbalance twice: at ratio 50 class 'MC' would count 0.38 times class 'HGSC' instead "
            "of once, in two places. Keep one of the two.",
        ),
        (
            "class-balanced",
            INVERSE,
            1.0,
            "A class-balanced sampler, inverse-frequency weights and logit adjustment of strength "
            "1 correct the same imbalance three times: at ratio 50 class 'MC' would count 2,500 "
            "times class 'HGSC' instead of once. Keep one of the three.",
        ),
    ],
)
def test_two_corrections_are_refused_with_the_arithmetic(
    sampling: Sampling, weights: Tensor | None, adjustment: float, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        check(
            sampling=sampling,
            weights=weights,
            adjustment=adjustment,
            name="inverse-frequency weights",
        )
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "single",
    [
        {},
        {"sampling": "class-balanced"},
        {"sampling": "square-root"},
        {"weights": INVERSE},
        {"adjustment": 1.0},
        {"sampling": "class-balanced", "weights": torch.ones(3)},  # equal weights correct nothing
    ],
)
def test_one_correction_passes_and_a_second_is_refused(single: dict[str, Any]) -> None:
    check(**single)
    second = {"weights": INVERSE} if "adjustment" in single else {"adjustment": 1.0}
    corrects = {key for key in single if key != "weights" or single[key] is INVERSE}
    if corrects:
        with pytest.raises(InputError, match="correct the same imbalance twice"):
            check(**{**single, **second})


def test_equal_classes_cannot_be_corrected_twice() -> None:
    check_single_correction(
        sampling="class-balanced",
        weights=torch.tensor([1.0, 2.0]),
        adjustment=1.0,
        counts=torch.tensor([7, 7]),
        classes=("a", "b"),
    )


# -- a prior that no formula gives -----------------------------------------------------------------


def known_posterior(n: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Natural images of three Gaussian classes, and log P(x|y)."""
    generator = torch.Generator().manual_seed(seed)
    prior = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    targets = torch.multinomial(prior, n, replacement=True, generator=generator)
    centres = 1.5 * torch.eye(3, dtype=torch.float64)
    points = centres[targets] + torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return -((points[:, None] - centres) ** 2).sum(dim=2) / 2, targets, prior


def test_a_prior_and_a_temperature_are_found_again() -> None:
    # Logits 3 (log P(x|y) + log g). With T = 3 what is sought is the G of
    # (log p - log G)/3 = log p - log g: log G = 3 log g - 2 log p, whatever was expected.
    likelihood, targets, prior = known_posterior(20_000)
    implied = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    logits = 3 * (likelihood + implied.log())
    found = fitted_prior(logits, targets, natural_prior=prior, expected=torch.full((3,), 1 / 3))
    expected = (3 * implied.log() + (1 - 3) * prior.log()).softmax(dim=0)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.1)


def test_few_images_leave_a_prior_near_what_was_expected() -> None:
    likelihood, targets, prior = known_posterior(12)
    expected = torch.full((3,), 1 / 3, dtype=torch.float64)
    found = fitted_prior(likelihood, targets, natural_prior=prior, expected=expected)
    assert float((found.log() - expected.log()).abs().max()) < 1
    nothing = fitted_prior(
        torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), natural_prior=prior, expected=prior
    )
    torch.testing.assert_close(nothing, prior)
    with pytest.raises(InputError, match=r"\(N, C\) logits"):
        fitted_prior(likelihood, targets[:3], natural_prior=prior, expected=expected)
