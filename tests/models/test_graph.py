"""The graph that is exported: one way of resizing for all sizes, and the decision inside it.

Kinds: oracle (`models.resizing.resized`, `Classifier` with `Decision` in float64).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from everyclass.images.resizing import UNIT, smoothing_weight
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.models.decision import Decision
from everyclass.models.file import SavedModel
from everyclass.models.graph import (
    BALANCED_SCORES,
    PROBABILITIES,
    DecidedClassifier,
    _smoothing,
    resized_any,
)
from everyclass.models.resizing import resized
from everyclass.stats.calibration import softmax


def images_of(high: int, wide: int, n: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(high * 1000 + wide)
    return torch.randint(0, 256, (n, 3, high, wide), dtype=torch.uint8, generator=generator)


@settings(deadline=None, max_examples=60)
@given(high=st.integers(1, 120), wide=st.integers(1, 120), side=st.integers(1, 40))
def test_any_size_is_resized_as_in_training(high: int, wide: int, side: int) -> None:
    """Whole grey levels; where the value is a half, rounding decides between two of them."""
    values = images_of(high, wide).float()
    wanted, found = resized(values, side), resized_any(values, side)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= 1
    assert torch.equal(found, found.round())


@pytest.mark.parametrize(
    ("high", "wide"),
    [(32, 32), (33, 40), (64, 64), (65, 64), (97, 129), (150, 150), (31, 400), (240, 320)],
)
def test_sizes_of_photographs_give_the_same_values(high: int, wide: int) -> None:
    values = images_of(high, wide).float()
    differ = resized(values, 32) != resized_any(values, 32)
    assert differ.float().mean() <= 0.002


@pytest.mark.parametrize("side", [1, 32, 64, 224])
def test_smoothing_is_the_weight_that_training_uses(side: int) -> None:
    for n in range(1, 6 * side + 8):
        found = float(_smoothing(n, side, torch.zeros(()))) * UNIT
        assert found == smoothing_weight(n, side), n


def test_probabilities_and_scores_are_those_of_the_decision() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    preprocessing = Preprocessing(side=8, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    decision = Decision(
        logits_prior=(0.2, 0.3, 0.5), natural_prior=(0.7, 0.2, 0.1), temperature=0.6, tau=1.5
    )
    model = SavedModel(
        classifier=Classifier(network, preprocessing).eval(),
        name="own",
        small_stem=False,
        classes=("a", "b", "c"),
        decision=decision,
    )
    images = images_of(21, 13, n=40)
    with torch.no_grad():
        found = DecidedClassifier(model)(images)
        logits = model.classifier(images).numpy()
    np.testing.assert_allclose(
        found[PROBABILITIES].numpy(), decision.probabilities(logits), atol=2e-6
    )
    scores = found[BALANCED_SCORES].numpy()
    assert (scores.argmax(axis=1) == decision.balanced(logits)).all()
    wanted = softmax(logits - 1.5 * np.log(decision.natural_prior))
    np.testing.assert_allclose(softmax(scores), wanted, atol=2e-6)
