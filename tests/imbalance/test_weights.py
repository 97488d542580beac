from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from everyclass.errors import InputError
from everyclass.imbalance.weights import (
    balanced_weights,
    effective_number_weights,
    inverse_frequency_weights,
    normalise,
    square_root_weights,
)

COUNTS = torch.tensor([4323, 583, 491, 264, 183, 80, 60])


def test_balanced_is_scikit_learn_s() -> None:
    labels = np.repeat(np.arange(7), COUNTS.numpy())
    oracle = compute_class_weight("balanced", classes=np.arange(7), y=labels)
    torch.testing.assert_close(balanced_weights(COUNTS), torch.tensor(oracle, dtype=torch.float32))


def test_balanced_has_mean_one_over_images() -> None:
    prior = COUNTS / COUNTS.sum()
    assert float((prior * balanced_weights(COUNTS)).sum()) == pytest.approx(1)


def test_inverse_frequency_by_hand() -> None:
    # 1/2, 1/4, 1/4 sum to 1; times 3 classes.
    found = inverse_frequency_weights(torch.tensor([2, 4, 4]))
    torch.testing.assert_close(found, torch.tensor([1.5, 0.75, 0.75]))


def test_inverse_frequency_sums_to_the_number_of_classes() -> None:
    found = inverse_frequency_weights(COUNTS)
    assert float(found.sum()) == pytest.approx(7)
    torch.testing.assert_close(found * COUNTS, (found * COUNTS)[0].expand(7))


def test_square_root_by_hand() -> None:
    # 1/sqrt: 1/2, 1/3 with mean over classes 5/12: 6/5 and 4/5.
    found = square_root_weights(torch.tensor([4, 9]))
    torch.testing.assert_close(found, torch.tensor([1.2, 0.8]))
    # Over images: (4 * 1/2 + 9 * 1/3) / 13 = 5/13, so 13/10 and 13/15.
    found = square_root_weights(torch.tensor([4, 9]), mean_over="images")
    torch.testing.assert_close(found, torch.tensor([1.3, 13 / 15]))


@pytest.mark.parametrize("beta", [0.9, 0.99, 0.999, 0.9999])
def test_effective_number_against_the_plain_formula(beta: float) -> None:
    plain = (1 - beta) / (1 - beta ** COUNTS.double())
    oracle = plain / plain.sum() * 7
    torch.testing.assert_close(effective_number_weights(COUNTS, beta=beta), oracle.float())


def test_effective_number_runs_from_equal_to_inverse() -> None:
    torch.testing.assert_close(effective_number_weights(COUNTS, beta=0.0), torch.ones(7))
    nearly = effective_number_weights(COUNTS, beta=1 - 1e-12)
    torch.testing.assert_close(nearly, inverse_frequency_weights(COUNTS), rtol=1e-4, atol=1e-6)


def test_normalise_gives_mean_one_over_images_and_keeps_the_ratios() -> None:
    found = normalise(torch.tensor([1.0, 5.0]), torch.tensor([30, 10]))
    # Mean over images (30 * 1 + 10 * 5) / 40 = 2.
    torch.testing.assert_close(found, torch.tensor([0.5, 2.5]))


@pytest.mark.parametrize(
    "make",
    [
        inverse_frequency_weights,
        balanced_weights,
        square_root_weights,
        lambda counts, classes: effective_number_weights(counts, beta=0.9, classes=classes),
    ],
)
def test_an_empty_class_is_named(make: object) -> None:
    with pytest.raises(InputError, match="MC"):
        make(torch.tensor([3, 0]), classes=("CC", "MC"))  # type: ignore[operator]


@pytest.mark.parametrize("beta", [-0.1, 1.0, 2.0])
def test_beta_outside_its_range(beta: float) -> None:
    with pytest.raises(InputError, match="beta"):
        effective_number_weights(COUNTS, beta=beta)
