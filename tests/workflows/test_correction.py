from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.imbalance.weights import balanced_weights
from everyclass.workflows.correction import Correction, build_correction

LABELS = np.repeat([0, 1, 2], [80, 15, 5]).astype(np.int64)
CLASSES = ("A", "B", "C")


def build(*names: str, epochs: int = 10) -> Correction:
    return build_correction(
        names,  # type: ignore[arg-type]
        LABELS,
        classes=CLASSES,
        epochs=epochs,
        label_smoothing=0.0,
        seed=0,
        device=torch.device("cpu"),
    )


def drawn(correction: Correction, epoch: int) -> list[int]:
    return np.bincount(LABELS[correction.epoch_order(epoch)], minlength=3).tolist()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(20, 3, generator=generator), torch.arange(20) % 3


def test_nothing_is_plain() -> None:
    correction = build()
    logits, targets = batch()
    assert drawn(correction, 0) == [80, 15, 5]
    assert float(correction.loss(logits, targets)) == float(
        functional.cross_entropy(logits, targets)
    )
    np.testing.assert_allclose(correction.logits_prior, [0.8, 0.15, 0.05], rtol=1e-6)
    np.testing.assert_allclose(correction.log_shift_to_natural, 0, atol=1e-6)


@pytest.mark.parametrize("name", ["balanced-sampling", "logit-adjustment", "weights-balanced"])
def test_a_full_correction_implies_an_even_prior(name: str) -> None:
    np.testing.assert_allclose(build(name).logits_prior, 1 / 3, rtol=1e-6)


def test_balanced_sampling_draws_evenly_and_late_only_at_the_end() -> None:
    assert max(drawn(build("balanced-sampling"), 0)) <= 35
    late = build("late-balanced-sampling", epochs=10)
    assert [max(drawn(late, epoch)) > 70 for epoch in range(10)] == [True] * 6 + [False] * 4


def test_weights_have_mean_one_over_the_images_whatever_their_name() -> None:
    """So the learning rate means the same with and without them, as in the library's mean."""
    logits, targets = batch()
    inverse, balanced = build("weights-inverse"), build("weights-balanced")
    assert inverse.weights is not None
    assert sum(inverse.weights) == pytest.approx(3)
    torch.testing.assert_close(inverse.loss(logits, targets), balanced.loss(logits, targets))
    counts = torch.tensor([80, 15, 5])
    losses = functional.cross_entropy(logits, targets, reduction="none")
    oracle = (balanced_weights(counts)[targets] * losses).mean()
    torch.testing.assert_close(balanced.loss(logits, targets), oracle)


def test_two_are_refused_and_so_is_a_class_without_training_images() -> None:
    with pytest.raises(InputError, match="at ratio 16 class 'C' would count 16 times class 'A'"):
        build("balanced-sampling", "weights-inverse")
    with pytest.raises(InputError, match="D"):
        build_correction(
            (),
            LABELS,
            classes=(*CLASSES, "D"),
            epochs=1,
            label_smoothing=0.0,
            seed=0,
            device=torch.device("cpu"),
        )
