"""Weights: by hand, against scikit-learn, both normalisations, empty classes by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from everyclass.errors import InputError
from everyclass.imbalance.weights import (
    balanced_weights,
    effective_number_weights,
    inverse_frequency_weights,
    normalise,
    square_root_weights,
)

COUNTS = torch.tensor([4323, 583, 491, 264, 183, 80, 60])


def effective(counts: Tensor, *, classes: tuple[str, ...] = ()) -> Tensor:
    return effective_number_weights(counts, beta=0.99, classes=classes)


MAKERS: tuple[Callable[..., Tensor], ...] = (
    inverse_frequency_weights,
    balanced_weights,
    square_root_weights,
    effective,
)


def test_inverse_frequency_by_hand() -> None:
    # 1, 1/2, 1/4 sum to 7/4; times 3/(7/4) = 12/7.
    found = inverse_frequency_weights(torch.tensor([10, 20, 40]))
    torch.testing.assert_close(found, torch.tensor([12 / 7, 6 / 7, 3 / 7]))


def test_square_root_by_hand() -> None:
    # 1, 1/2, 1/3 sum to 11/6; times 3/(11/6) = 18/11.
    counts = torch.tensor([1, 4, 9])
    over_classes = torch.tensor([18 / 11, 9 / 11, 6 / 11])
    torch.testing.assert_close(square_root_weights(counts), over_classes)
    # Over images: (1 + 4/2 + 9/3)/14 = 6/14, so 14/6 of 1, 1/2, 1/3.
    over_images = torch.tensor([14 / 6, 14 / 12, 14 / 18])
    torch.testing.assert_close(square_root_weights(counts, mean_over="images"), over_images)


def test_published_figures_of_a_real_set() -> None:
    # Seven classes of skin lesions; weights to three digits, computed apart from this code with
    # w_c = C (1/n_c) / sum(1/n), N/(C n_c) and the square roots.
    for found, expected in (
        (inverse_frequency_weights(COUNTS), [0.038, 0.283, 0.336, 0.625, 0.902, 2.06, 2.75]),
        (balanced_weights(COUNTS), [0.198, 1.47, 1.74, 3.24, 4.67, 10.7, 14.2]),
        (square_root_weights(COUNTS), [0.223, 0.606, 0.661, 0.901, 1.08, 1.64, 1.89]),
    ):
        torch.testing.assert_close(found, torch.tensor(expected), rtol=5e-3, atol=5e-4)


def test_balanced_agrees_with_scikit_learn() -> None:
    labels = np.repeat(np.arange(7), COUNTS.numpy())
    oracle = compute_class_weight("balanced", classes=np.arange(7), y=labels)
    np.testing.assert_allclose(balanced_weights(COUNTS).numpy(), oracle, rtol=1e-6)


def test_effective_number_by_hand() -> None:
    # beta 1/2: 1 - 1/2 = 1/2, 1 - 1/4 = 3/4, 1 - 1/8 = 7/8: weights 2, 4/3, 8/7, sum 94/21.
    found = effective_number_weights(torch.tensor([1, 2, 3]), beta=0.5)
    expected = torch.tensor([2, 4 / 3, 8 / 7]) * 3 / (94 / 21)
    torch.testing.assert_close(found, expected)


def test_beta_is_a_dial_between_none_and_inverse_frequency() -> None:
    torch.testing.assert_close(effective_number_weights(COUNTS, beta=0), torch.ones(7))
    torch.testing.assert_close(
        effective_number_weights(COUNTS, beta=1 - 1e-12),
        inverse_frequency_weights(COUNTS),
        rtol=1e-5,
        atol=0,
    )
    found = effective_number_weights(COUNTS, beta=0.999)
    assert float(found.min()) == pytest.approx(0.153, abs=5e-4)
    assert float(found.max()) == pytest.approx(2.60, abs=1e-2)


counts_of_classes = st.lists(st.integers(1, 100_000), min_size=1, max_size=12)


@given(counts_of_classes)
def test_normalisations_hold_and_rare_never_weighs_less(counts: list[int]) -> None:
    images = torch.tensor(counts)
    share = images.double() / images.sum()
    for make in (inverse_frequency_weights, square_root_weights, effective):
        assert float(make(images).sum()) == pytest.approx(len(counts), rel=1e-5)
    for weights in (
        balanced_weights(images),
        square_root_weights(images, mean_over="images"),
        normalise(inverse_frequency_weights(images), images),
    ):
        assert float((share * weights.double()).sum()) == pytest.approx(1, rel=1e-5)
    for make in MAKERS:
        from_rarest = make(images)[images.argsort()].double()
        assert bool((from_rarest.diff() <= 1e-6 * from_rarest.max()).all())


def test_normalise_turns_inverse_frequency_into_balanced() -> None:
    torch.testing.assert_close(
        normalise(inverse_frequency_weights(COUNTS), COUNTS), balanced_weights(COUNTS)
    )


@pytest.mark.parametrize("make", MAKERS)
def test_permuted_classes_permute_the_weights(make: Callable[..., Tensor]) -> None:
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    torch.testing.assert_close(make(COUNTS[order]), make(COUNTS)[order])


@pytest.mark.parametrize("make", MAKERS)
def test_a_class_without_images_is_named(make: Callable[..., Tensor]) -> None:
    with pytest.raises(InputError, match="Class 'MC' without training images"):
        make(torch.tensor([5, 0]), classes=("CC", "MC"))
    with pytest.raises(InputError, match="Classes 1, 2 without training images"):
        make(torch.tensor([5, 0, 0]))


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"beta is 1\.0"):
        effective_number_weights(COUNTS, beta=1.0)
    with pytest.raises(InputError, match=r"\(C,\) with C > 0"):
        balanced_weights(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(InputError, match="2 class names for 7 counts"):
        balanced_weights(COUNTS, classes=("a", "b"))
    with pytest.raises(InputError, match="3 weights for 7 classes"):
        normalise(torch.ones(3), COUNTS)
    with pytest.raises(InputError, match="not all 0"):
        normalise(torch.zeros(7), COUNTS)
