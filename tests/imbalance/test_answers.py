"""What every loss of the package owes: ids and one-hot rows, mixtures, gradients, precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.imbalance.focal import focal_loss
from everyclass.imbalance.margins import ldam_loss, ldam_margins
from everyclass.imbalance.smoothing import label_aware_cross_entropy, label_aware_smoothing
from everyclass.imbalance.temperature import class_temperature_cross_entropy, class_temperatures
from everyclass.imbalance.weights import balanced_weights

COUNTS = torch.tensor([60, 25, 10, 5])
WEIGHTS = balanced_weights(COUNTS)
Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, Loss] = {
    "focal": focal_loss,
    "focal, weighted, smoothed": partial(
        focal_loss, gamma=0.5, weights=WEIGHTS, label_smoothing=0.1
    ),
    "ldam": partial(ldam_loss, margins=ldam_margins(COUNTS), scale=3.0),
    "ldam, weighted, smoothed": partial(
        ldam_loss, margins=ldam_margins(COUNTS), scale=3.0, weights=WEIGHTS, label_smoothing=0.1
    ),
    "label-aware": partial(label_aware_cross_entropy, smoothing=label_aware_smoothing(COUNTS)),
    "temperature": partial(
        class_temperature_cross_entropy, temperatures=class_temperatures(COUNTS)
    ),
}


def batch(n: int = 16, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 4, (n,), generator=generator)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_one_hot_rows_are_class_ids_and_mixtures_are_mixtures(loss: Loss) -> None:
    logits, targets = batch()
    other = targets.roll(1)
    rows, others = (functional.one_hot(one, 4).double() for one in (targets, other))
    torch.testing.assert_close(loss(logits, rows), loss(logits, targets))
    torch.testing.assert_close(
        loss(logits, 0.3 * rows + 0.7 * others),
        0.3 * loss(logits, targets) + 0.7 * loss(logits, other),
    )


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_two_halves_make_the_whole(loss: Loss) -> None:
    logits, targets = batch()
    halves = [loss(logits[half], targets[half]) for half in (slice(0, 8), slice(8, 16))]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, loss(logits, targets))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_gradients_agree_with_finite_differences(loss: Loss) -> None:
    logits, targets = batch(5)
    assert torch.autograd.gradcheck(lambda f: loss(f, targets), logits.requires_grad_())


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_half_precision_is_computed_in_float32_and_certainty_gives_no_nan(loss: Loss) -> None:
    logits, targets = batch()
    half = logits.bfloat16()
    assert loss(half, targets).dtype == torch.float32
    torch.testing.assert_close(loss(half, targets).double(), loss(half.double(), targets))
    sure = torch.tensor([[200.0, 0, 0, 0], [0, 200.0, 0, 0]]).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(sure, torch.tensor([0, 3])), sure)
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_shapes_that_do_not_fit_are_refused(loss: Loss) -> None:
    with pytest.raises(InputError, match=r"\(3,\) is expected|targets have shape"):
        loss(torch.zeros(2, 3), torch.zeros(2, 1))
    with pytest.raises(InputError, match=r"\(B, C\) is expected"):
        loss(torch.zeros(4), torch.tensor([0]))
