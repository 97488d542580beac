"""Focal, margin, smoothing and temperature losses against the papers' formulas and code."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from everyclass.errors import InputError
from everyclass.imbalance.deferral import deferred_weights, first_late_epoch
from everyclass.imbalance.focal import ClassBalancedFocalLoss, focal_loss
from everyclass.imbalance.losses import weighted_cross_entropy
from everyclass.imbalance.margins import CosineLinear, ldam_loss, ldam_margins
from everyclass.imbalance.smoothing import label_aware_cross_entropy, label_aware_smoothing
from everyclass.imbalance.temperature import class_temperature_cross_entropy, class_temperatures
from everyclass.imbalance.weights import balanced_weights, effective_number_weights, normalise

COUNTS = torch.tensor([60, 25, 10, 5])
WEIGHTS = balanced_weights(COUNTS).double()


def batch(n: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 4, (n,), generator=generator)


# -- focal -----------------------------------------------------------------------------------------


def test_focal_of_two_classes_is_torchvisions() -> None:
    # softmax((0, z)) = (1 - sigmoid(z), sigmoid(z)): with two classes the two forms are one.
    value = torch.linspace(-4, 4, 21, dtype=torch.float64)
    targets = torch.arange(21) % 2
    for gamma in (0.5, 1.0, 2.0):
        oracle = sigmoid_focal_loss(value, targets.double(), alpha=-1, gamma=gamma).mean()
        found = focal_loss(torch.stack([0 * value, value], dim=1), targets, gamma=gamma)
        torch.testing.assert_close(found, oracle)


def test_focal_takes_p_from_the_unweighted_network() -> None:
    logits, targets = batch()
    surprise = functional.cross_entropy(logits, targets, reduction="none")
    focus = (1 - torch.exp(-surprise)) ** 2
    oracle = (WEIGHTS[targets] * focus * surprise).mean()
    found = focal_loss(logits, targets, weights=WEIGHTS)
    torch.testing.assert_close(found, oracle)
    # Pitfall 5: p from the weighted cross-entropy is another loss.
    weighted = WEIGHTS[targets] * surprise
    common = ((1 - torch.exp(-weighted)) ** 2 * weighted).mean()
    assert abs(float(found / common) - 1) > 0.05


def test_focal_without_focus_is_cross_entropy() -> None:
    logits, targets = batch()
    found = focal_loss(logits, targets, gamma=0, weights=WEIGHTS, label_smoothing=0.1)
    oracle = weighted_cross_entropy(logits, targets, WEIGHTS, label_smoothing=0.1)
    torch.testing.assert_close(found, oracle)


def test_class_balanced_focal_is_focal_with_effective_numbers() -> None:
    logits, targets = batch()
    loss = ClassBalancedFocalLoss(COUNTS, beta=0.99, gamma=1.5)
    weights = normalise(effective_number_weights(COUNTS, beta=0.99), COUNTS)
    torch.testing.assert_close(
        loss(logits, targets), focal_loss(logits, targets, gamma=1.5, weights=weights)
    )
    assert float((weights * COUNTS).sum() / COUNTS.sum()) == pytest.approx(1)
    assert loss.state_dict() == {}
    with pytest.raises(InputError, match="'D'"):
        ClassBalancedFocalLoss(torch.tensor([3, 0]), classes=("C", "D"))
    with pytest.raises(InputError, match="gamma is -1"):
        focal_loss(logits, targets, gamma=-1)


# -- LDAM ------------------------------------------------------------------------------------------


def test_ldam_is_the_published_code() -> None:
    cosines = torch.tanh(batch()[0])
    targets, scale = batch()[1], 30.0
    margins = ldam_margins(COUNTS).double()
    assert float(margins.max()) == 0.5
    torch.testing.assert_close(margins * COUNTS**0.25, (0.5 * 5**0.25 * torch.ones(4)).double())
    # Their forward: x_m = where(own class, x - m, x); cross_entropy(s x_m, y, weight=w).
    own = functional.one_hot(targets, 4).bool()
    moved = torch.where(own, cosines - margins, cosines)
    oracle = functional.cross_entropy(scale * moved, targets)
    torch.testing.assert_close(ldam_loss(scale * cosines, targets, margins), oracle)
    each = functional.cross_entropy(scale * moved, targets, reduction="none")
    torch.testing.assert_close(
        ldam_loss(scale * cosines, targets, margins, weights=WEIGHTS),
        (WEIGHTS[targets] * each).mean(),
    )


def test_no_margin_is_cross_entropy() -> None:
    logits, targets = batch()
    found = ldam_loss(logits, targets, torch.zeros(4).double(), label_smoothing=0.1)
    oracle = functional.cross_entropy(logits, targets, label_smoothing=0.1)
    torch.testing.assert_close(found, oracle)


def test_a_cosine_head_gives_scaled_cosines() -> None:
    head = CosineLinear(7, 4, scale=30.0).double()
    features = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    oracle = 30 * functional.cosine_similarity(features[:, None], head.weight[None], dim=2)
    torch.testing.assert_close(head(features), oracle)
    torch.testing.assert_close(head(3 * features), oracle)
    assert float(head(torch.zeros(1, 7).double()).detach().abs().max()) == 0


def test_margins_of_no_images_are_refused() -> None:
    with pytest.raises(InputError, match="without training images"):
        ldam_margins(torch.tensor([3, 0]))
    with pytest.raises(InputError, match="largest margin is -1"):
        ldam_margins(COUNTS, largest=-1)


def test_weights_come_in_late() -> None:
    assert first_late_epoch(200) == 160
    assert [first_late_epoch(n) for n in (1, 2, 5, 10)] == [0, 1, 4, 8]
    assert first_late_epoch(10, late_share=0.0) == 9  # the last epoch is always late
    assert first_late_epoch(10, late_share=1.0) == 1  # the first one never is
    weights = [deferred_weights(WEIGHTS, epoch=e, epochs=5) for e in range(5)]
    assert all(bool((one == 1).all()) for one in weights[:4])
    assert torch.equal(weights[4], WEIGHTS)
    with pytest.raises(InputError, match="outside 0 to 4"):
        deferred_weights(WEIGHTS, epoch=5, epochs=5)
    with pytest.raises(InputError, match="late share of 2"):
        first_late_epoch(5, late_share=2)


# -- label-aware smoothing -------------------------------------------------------------------------


def test_smoothing_by_size_by_hand() -> None:
    # Counts 100, 40, 10: (40 - 10)/(100 - 10) = 1/3 and sin(pi/6) = 1/2, so halfway: .25.
    found = label_aware_smoothing(torch.tensor([100, 40, 10]))
    torch.testing.assert_close(found, torch.tensor([0.4, 0.25, 0.1]))
    torch.testing.assert_close(label_aware_smoothing(torch.tensor([7, 7])), torch.full((2,), 0.1))
    with pytest.raises(InputError, match=r"head is 1\.5"):
        label_aware_smoothing(COUNTS, head=1.5)


def test_label_aware_loss_is_torchs_smoothing_class_by_class() -> None:
    logits, _ = batch()
    smoothing = label_aware_smoothing(COUNTS).double()
    for c in range(4):
        targets = torch.full((32,), c)
        oracle = functional.cross_entropy(logits, targets, label_smoothing=float(smoothing[c]))
        torch.testing.assert_close(label_aware_cross_entropy(logits, targets, smoothing), oracle)
        torch.testing.assert_close(
            label_aware_cross_entropy(logits, targets, smoothing, weights=WEIGHTS),
            WEIGHTS[c] * oracle,
        )


# -- class-dependent temperature -------------------------------------------------------------------


def test_temperatures_by_hand_and_by_torch() -> None:
    # (60/60, 60/25, 60/10, 60/5)^0.2.
    temperatures = class_temperatures(COUNTS)
    expected = torch.tensor([1.0, 2.4**0.2, 6**0.2, 12**0.2])
    torch.testing.assert_close(temperatures, expected)
    logits, targets = batch()
    oracle = functional.cross_entropy(logits / temperatures, targets, label_smoothing=0.1)
    found = class_temperature_cross_entropy(logits, targets, temperatures, label_smoothing=0.1)
    torch.testing.assert_close(found, oracle)
    with pytest.raises(InputError, match="gamma is -1"):
        class_temperatures(COUNTS, gamma=-1)


def test_divided_values_have_to_be_higher() -> None:
    # Two classes at temperatures 1 and 2, one image of the second: with f = (0, z) the loss is
    # log(1 + exp(-z/2)); to come down to what the first class has at z = 1, z must be 2.
    temperatures = torch.tensor([1.0, 2.0])
    rare = class_temperature_cross_entropy(
        torch.tensor([[0.0, 2.0]]), torch.tensor([1]), temperatures
    )
    assert float(rare) == pytest.approx(math.log(1 + math.exp(-1)))
