"""Losses against torch's own and by hand; the traps of weighted means, each as a test."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.imbalance.losses import logit_adjusted_cross_entropy, weighted_cross_entropy

WEIGHTS = torch.tensor([0.2, 1.0, 3.0])


def batch(n: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 3, (n,), generator=generator)


def test_weighted_by_hand() -> None:
    # Even logits: every -log p is log 2. Weights 2 and 0.5: (2 + 0.5 + 0.5) / 3 * log 2.
    loss = weighted_cross_entropy(
        torch.zeros(3, 2), torch.tensor([0, 1, 1]), torch.tensor([2.0, 0.5])
    )
    assert float(loss) == pytest.approx(math.log(2))


def test_weighted_is_the_library_s_sum_over_the_number_of_images() -> None:
    logits, targets = batch()
    oracle = functional.cross_entropy(logits, targets, WEIGHTS.double(), reduction="sum") / 12
    torch.testing.assert_close(weighted_cross_entropy(logits, targets, WEIGHTS), oracle)


def test_equal_weights_are_plain_cross_entropy() -> None:
    logits, targets = batch()
    for smoothing in (0.0, 0.1):
        oracle = functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        ours = weighted_cross_entropy(logits, targets, torch.ones(3), label_smoothing=smoothing)
        torch.testing.assert_close(ours, oracle)


def gradient(logits: Tensor, targets: Tensor, parts: int, *, library: bool) -> Tensor:
    """Gradient of a linear layer, its batch cut into equal parts whose losses are averaged: what
    gradient accumulation does in time, and data parallelism over processes.
    """
    matrix = torch.eye(3, dtype=torch.float64, requires_grad=True)
    for x, y in zip(logits.chunk(parts), targets.chunk(parts)):
        if library:
            loss = functional.cross_entropy(x @ matrix, y, WEIGHTS.double())
        else:
            loss = weighted_cross_entropy(x @ matrix, y, WEIGHTS)
        (loss / parts).backward()
    assert matrix.grad is not None
    return matrix.grad


@pytest.mark.parametrize("parts", [2, 3, 12])
def test_accumulation_and_two_processes_give_the_gradient_of_the_whole_batch(parts: int) -> None:
    logits, targets = batch()
    whole = gradient(logits, targets, 1, library=False)
    torch.testing.assert_close(gradient(logits, targets, parts, library=False), whole)
    # The library's mean does not: the reason why ours exists.
    torn = gradient(logits, targets, parts, library=True)
    assert not torch.allclose(torn, gradient(logits, targets, 1, library=True))


def test_batch_size_one_still_feels_the_weight() -> None:
    logits, targets = torch.zeros(1, 3), torch.tensor([2])
    assert float(weighted_cross_entropy(logits, targets, WEIGHTS)) == pytest.approx(3 * math.log(3))
    library = functional.cross_entropy(logits, targets, WEIGHTS)
    assert float(library) == pytest.approx(math.log(3))  # the weight is gone


def test_scaling_the_weights_scales_the_loss() -> None:
    logits, targets = batch()
    once = weighted_cross_entropy(logits, targets, WEIGHTS)
    torch.testing.assert_close(weighted_cross_entropy(logits, targets, 10 * WEIGHTS), 10 * once)


def test_smoothing_never_prefers_the_rare_class() -> None:
    """pytorch #104776: weights .01 and .99, smoothing .1, an image of the common class. The
    library's loss rises as the right probability grows; ours falls until 1 - smoothing/2.
    """
    weights, target = torch.tensor([0.01, 0.99]), torch.tensor([0])

    def losses(which: str) -> list[float]:
        found = []
        for p in (0.2, 0.4, 0.6, 0.8, 0.95):
            logits = torch.tensor([[math.log(p), math.log(1 - p)]])
            if which == "ours":
                loss = weighted_cross_entropy(logits, target, weights, label_smoothing=0.1)
            else:
                loss = functional.cross_entropy(logits, target, weights, label_smoothing=0.1)
            found.append(float(loss))
        return found

    assert losses("ours") == sorted(losses("ours"), reverse=True)
    assert losses("library")[-1] > losses("library")[0]


def test_one_hot_rows_equal_class_ids_and_mixtures_mix() -> None:
    logits, targets = batch()
    rows = functional.one_hot(targets, 3).double()
    for smoothing in (0.0, 0.2):
        ids = weighted_cross_entropy(logits, targets, WEIGHTS, label_smoothing=smoothing)
        hot = weighted_cross_entropy(logits, rows, WEIGHTS, label_smoothing=smoothing)
        torch.testing.assert_close(ids, hot)
    other = functional.one_hot((targets + 1) % 3, 3).double()
    mixed = weighted_cross_entropy(logits, 0.3 * rows + 0.7 * other, WEIGHTS)
    apart = 0.3 * weighted_cross_entropy(logits, rows, WEIGHTS)
    apart = apart + 0.7 * weighted_cross_entropy(logits, other, WEIGHTS)
    torch.testing.assert_close(mixed, apart)


def test_adjusted_is_cross_entropy_of_shifted_logits() -> None:
    logits, targets = batch()
    log_prior = torch.tensor([0.7, 0.2, 0.1]).log()
    for tau in (0.5, 1.0, 2.0):
        oracle = functional.cross_entropy(logits + tau * log_prior.double(), targets)
        ours = logit_adjusted_cross_entropy(logits, targets, log_prior, tau=tau)
        torch.testing.assert_close(ours, oracle, rtol=1e-6, atol=1e-6)


def test_adjusted_at_tau_0_or_an_even_prior_is_plain() -> None:
    logits, targets = batch()
    plain = functional.cross_entropy(logits, targets)
    skewed, even = torch.tensor([0.9, 0.05, 0.05]).log(), torch.full((3,), 1 / 3).log()
    torch.testing.assert_close(
        logit_adjusted_cross_entropy(logits, targets, skewed, tau=0.0), plain
    )
    torch.testing.assert_close(logit_adjusted_cross_entropy(logits, targets, even), plain)


def test_adjusted_is_balanced_softmax_by_hand() -> None:
    # exp(f) = 1, 1 with counts 3, 1: the share of class 1 is 1/4, its loss log 4.
    log_prior = torch.tensor([3 / 4, 1 / 4]).log()
    loss = logit_adjusted_cross_entropy(torch.zeros(1, 2), torch.tensor([1]), log_prior)
    assert float(loss) == pytest.approx(math.log(4))


@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_a_class_without_images_makes_nothing_infinite(tau: float) -> None:
    log_prior = torch.tensor([0.5, 0.5, 0.0]).log()
    logits, targets = torch.zeros(2, 3, requires_grad=True), torch.tensor([0, 1])
    loss = logit_adjusted_cross_entropy(logits, targets, log_prior, tau=tau)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_half_precision_is_computed_in_float32() -> None:
    logits, targets = batch()
    half = logits.to(torch.bfloat16)
    ours = weighted_cross_entropy(half, targets, WEIGHTS)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, weighted_cross_entropy(half.float(), targets, WEIGHTS))


@pytest.mark.parametrize(
    ("logits", "targets", "weights", "words"),
    [
        (torch.zeros(3), torch.tensor([0, 1, 1]), WEIGHTS, "logits have shape"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), torch.ones(2), "weights have shape"),
        (torch.zeros(2, 3), torch.tensor([0, 1, 2]), WEIGHTS, "targets have shape"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), WEIGHTS, "targets have shape"),
    ],
)
def test_shapes_that_do_not_fit(
    logits: Tensor, targets: Tensor, weights: Tensor, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        weighted_cross_entropy(logits, targets, weights)
