"""Losses: torch as the oracle where it is right, and the pitfalls where it is not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.imbalance.losses import (
    logit_adjusted_cross_entropy,
    weighted_cross_entropy,
)
from everyclass.imbalance.prior import log_prior
from everyclass.imbalance.weights import balanced_weights

COUNTS = torch.tensor([60, 25, 10, 5])
WEIGHTS = balanced_weights(COUNTS).double()


def batch(n: int, *, n_classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, n_classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, n_classes, (n,), generator=generator)


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, of)
    return found


def test_weighted_by_hand() -> None:
    # p = (3/4, 1/4) for both images; targets 0 and 1, weights 1 and 2:
    # (1 ln(4/3) + 2 ln 4)/2 = (0.287682 + 2.772589)/2 = 1.530135.
    logits = torch.tensor([[3.0, 1.0], [3.0, 1.0]]).log()
    found = weighted_cross_entropy(logits, torch.tensor([0, 1]), torch.tensor([1.0, 2.0]))
    assert float(found) == pytest.approx(1.530135, abs=1e-6)


def test_weighted_agrees_with_torch_per_image() -> None:
    logits, targets = batch(32)
    oracle = functional.cross_entropy(logits, targets, weight=WEIGHTS, reduction="none").mean()
    torch.testing.assert_close(weighted_cross_entropy(logits, targets, WEIGHTS), oracle)


def test_equal_weights_are_plain_cross_entropy_with_smoothing() -> None:
    logits, targets = batch(32)
    for smoothing in (0.0, 0.1, 1.0):
        found = weighted_cross_entropy(
            logits, targets, torch.ones(4).double(), label_smoothing=smoothing
        )
        oracle = functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        torch.testing.assert_close(found, oracle)


def test_scaling_the_weights_scales_the_loss() -> None:
    # Pitfall 2a: in the library's mean, which divides by the weights, it changes nothing.
    logits, targets = batch(32)
    loss = weighted_cross_entropy(logits, targets, WEIGHTS)
    torch.testing.assert_close(weighted_cross_entropy(logits, targets, 3 * WEIGHTS), 3 * loss)


def test_at_batch_size_one_the_weight_counts() -> None:
    # Pitfall 2b: the library's loss of a single image is the unweighted one.
    logits, _ = batch(1)
    target = torch.tensor([3])
    plain = functional.cross_entropy(logits, target)
    library = functional.cross_entropy(logits, target, weight=WEIGHTS)
    torch.testing.assert_close(library, plain)
    ours = weighted_cross_entropy(logits, target, WEIGHTS)
    torch.testing.assert_close(ours, WEIGHTS[3] * plain)


@pytest.mark.parametrize("size", [1, 2, 8])
def test_accumulated_gradients_are_those_of_the_large_batch(size: int) -> None:
    # Pitfall 2c. Small batches of one class each make the library's mean as wrong as it gets.
    logits, targets = batch(32)
    logits.requires_grad_()
    targets = targets.sort().values
    whole = gradient(weighted_cross_entropy(logits, targets, WEIGHTS), logits)
    steps = 32 // size
    parts = torch.zeros_like(logits)
    library = torch.zeros_like(logits)
    for rows in torch.arange(32).split(size):
        part = weighted_cross_entropy(logits[rows], targets[rows], WEIGHTS) / steps
        parts += gradient(part, logits)
        theirs = functional.cross_entropy(logits[rows], targets[rows], weight=WEIGHTS) / steps
        library += gradient(theirs, logits)
    torch.testing.assert_close(parts, whole)
    their_whole = gradient(functional.cross_entropy(logits, targets, weight=WEIGHTS), logits)
    assert float((library - their_whole).norm() / their_whole.norm()) > 0.1


@pytest.mark.parametrize("loss_name", ["weighted", "adjusted"])
def test_the_mean_over_two_processes_is_the_whole(loss_name: str) -> None:
    # What gradient averaging does: each process its half, then the mean of the two gradients.
    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        if loss_name == "weighted":
            return weighted_cross_entropy(logits, targets, WEIGHTS, label_smoothing=0.1)
        return logit_adjusted_cross_entropy(logits, targets, log_prior(COUNTS), label_smoothing=0.1)

    features, targets = batch(16, n_classes=6)[0], batch(16)[1].sort().values
    layer = torch.nn.Linear(6, 4, dtype=torch.float64)
    whole = gradient(loss(layer(features), targets), layer.weight)
    halves = [
        gradient(loss(layer(features[half]), targets[half]), layer.weight)
        for half in (slice(0, 8), slice(8, 16))
    ]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole)


def test_one_rare_image_does_not_take_over_the_batch() -> None:
    # Pitfall 2d: 31 images of a class of weight 0.198 and one of weight 14.2. The rare image has
    # 14.2/(14.2 + 31 x 0.198) = 70 % of the gradient by either mean; but the size of the batch's
    # gradient stays that of its weights, and is not brought up to the same for a batch without it.
    weights = torch.tensor([0.198, 14.2], dtype=torch.float64)
    logits = torch.zeros(32, 2, dtype=torch.float64, requires_grad=True)
    without = torch.zeros(32, dtype=torch.int64)
    size = float(gradient(weighted_cross_entropy(logits, without, weights), logits).abs().sum())
    plain = float(gradient(functional.cross_entropy(logits, without), logits).abs().sum())
    library = functional.cross_entropy(logits, without, weight=weights)
    assert size == pytest.approx(0.198 * plain)
    assert float(gradient(library, logits).abs().sum()) == pytest.approx(plain)


def test_soft_one_hot_targets_are_class_ids() -> None:
    # Pitfall 3: the library changes its divisor here, from the weights to the images.
    logits, targets = batch(24)
    rows = functional.one_hot(targets, 4).double()
    for smoothing in (0.0, 0.1):
        torch.testing.assert_close(
            weighted_cross_entropy(logits, rows, WEIGHTS, label_smoothing=smoothing),
            weighted_cross_entropy(logits, targets, WEIGHTS, label_smoothing=smoothing),
        )
        torch.testing.assert_close(
            logit_adjusted_cross_entropy(
                logits, rows, log_prior(COUNTS), label_smoothing=smoothing
            ),
            logit_adjusted_cross_entropy(
                logits, targets, log_prior(COUNTS), label_smoothing=smoothing
            ),
        )
    library_ids = functional.cross_entropy(logits, targets, weight=WEIGHTS)
    library_rows = functional.cross_entropy(logits, rows, weight=WEIGHTS)
    assert float((library_ids / library_rows - 1).abs()) > 0.1


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.integers(0, 1000))
def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses(share: float, seed: int) -> None:
    logits, first = batch(8, seed=seed)
    second = first.roll(1)
    mixed = share * functional.one_hot(first, 4) + (1 - share) * functional.one_hot(second, 4)
    for smoothing in (0.0, 0.2):
        found, one, other = (
            weighted_cross_entropy(logits, target, WEIGHTS, label_smoothing=smoothing)
            for target in (mixed.double(), first, second)
        )
        torch.testing.assert_close(found, share * one + (1 - share) * other)


def test_smoothing_is_not_weighted_by_the_other_classes() -> None:
    # Pitfall 4 (pytorch #104776): weights .01 and .99, smoothing .1, an image of class 0. In the
    # library's loss the answer costs more the surer it is right: its best p_0 is
    # .01 x .95/(.01 x .95 + .99 x .05) = 0.16. Here it is 0.95 whatever the weights are.
    weights = torch.tensor([0.01, 0.99], dtype=torch.float64)
    share = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    logits = torch.stack([share, 1 - share], dim=1).log()
    target = torch.tensor([0])
    ours = [
        float(weighted_cross_entropy(row[None], target, weights, label_smoothing=0.1))
        for row in logits
    ]
    library = [
        float(
            functional.cross_entropy(
                row[None], target, weight=weights, label_smoothing=0.1, reduction="none"
            )
        )
        for row in logits
    ]
    assert float(share[ours.index(min(ours))]) == pytest.approx(0.95)
    assert float(share[library.index(min(library))]) == pytest.approx(0.16)


def test_adjusted_by_hand() -> None:
    # Equal logits, prior (0.8, 0.2): the softmax is the prior. Loss of class 1: ln 5; at tau 0:
    # ln 2; at tau 2 the odds are 16 to 1: ln 17.
    logits, target = torch.zeros(1, 2), torch.tensor([1])
    prior = torch.tensor([0.8, 0.2]).log()
    for tau, expected in ((1.0, 5.0), (0.0, 2.0), (2.0, 17.0)):
        loss = logit_adjusted_cross_entropy(logits, target, prior, tau=tau)
        assert float(loss.exp()) == pytest.approx(expected, rel=1e-5)


def test_adjusted_agrees_with_balanced_softmax() -> None:
    # Oracle: Ren et al., cross-entropy of f + log n_c with counts; log N cancels.
    logits, targets = batch(32)
    oracle = functional.cross_entropy(logits + COUNTS.double().log(), targets, label_smoothing=0.1)
    found = logit_adjusted_cross_entropy(logits, targets, log_prior(COUNTS), label_smoothing=0.1)
    torch.testing.assert_close(found, oracle, rtol=1e-6, atol=0)


def test_tau_zero_and_equal_classes_change_nothing() -> None:
    logits, targets = batch(32)
    plain = functional.cross_entropy(logits, targets)
    no_strength = logit_adjusted_cross_entropy(logits, targets, log_prior(COUNTS), tau=0)
    equal = logit_adjusted_cross_entropy(logits, targets, log_prior(torch.tensor([7, 7, 7, 7])))
    torch.testing.assert_close(no_strength, plain)
    torch.testing.assert_close(equal, plain)


@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_a_class_of_prior_zero_gives_no_nan(tau: float) -> None:
    logits, targets = batch(8)
    logits = logits[:, :3].clone().requires_grad_()
    prior = torch.tensor([0.7, 0.3, 0.0]).log()
    loss = logit_adjusted_cross_entropy(
        logits, targets.clamp(max=1), prior, tau=tau, label_smoothing=0.1
    )
    assert bool(torch.isfinite(loss))
    assert bool(torch.isfinite(gradient(loss, logits)).all())


def test_gradients_agree_with_finite_differences() -> None:
    logits, targets = batch(5)
    logits.requires_grad_()
    rows = torch.softmax(batch(5, seed=1)[0], dim=1)
    for target in (targets, rows):
        assert torch.autograd.gradcheck(
            lambda f, y=target: weighted_cross_entropy(f, y, WEIGHTS, label_smoothing=0.1), logits
        )
        assert torch.autograd.gradcheck(
            lambda f, y=target: logit_adjusted_cross_entropy(f, y, log_prior(COUNTS), tau=0.7),
            logits,
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits, targets = batch(16)
    rounded = logits.to(dtype)
    found = weighted_cross_entropy(rounded, targets, WEIGHTS.float())
    assert found.dtype == torch.float32
    exact = weighted_cross_entropy(rounded.double(), targets, WEIGHTS)
    assert float(found) == pytest.approx(float(exact), rel=1e-5)
    adjusted = logit_adjusted_cross_entropy(rounded, targets, log_prior(COUNTS))
    assert adjusted.dtype == torch.float32


@pytest.mark.parametrize(
    ("logits", "targets", "weights", "message"),
    [
        (torch.zeros(4), torch.tensor([0]), torch.ones(4), r"\(B, C\) is expected"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), torch.ones(2), r"\(3,\) is expected"),
        (torch.zeros(2, 3), torch.tensor([0]), torch.ones(3), r"targets have shape \(1,\)"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), torch.ones(3), "type torch.float32"),
        (torch.zeros(2, 3), torch.zeros(2, 3).long(), torch.ones(3), "type torch.int64"),
        (torch.zeros(2, 3), torch.zeros(2, 1), torch.ones(3), r"targets have shape \(2, 1\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    logits: Tensor, targets: Tensor, weights: Tensor, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        weighted_cross_entropy(logits, targets, weights)
    with pytest.raises(InputError, match=message):
        logit_adjusted_cross_entropy(logits, targets, weights)


def test_smoothing_outside_its_range_is_refused() -> None:
    logits, targets = batch(2)
    with pytest.raises(InputError, match=r"label_smoothing is 1\.1"):
        weighted_cross_entropy(logits, targets, WEIGHTS, label_smoothing=1.1)
