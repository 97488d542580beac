"""Last layers on cached features: scikit-learn as the oracle, and hand-computed rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from everyclass.errors import InputError
from everyclass.imbalance.heads import (
    HeadTraining,
    learn_scales,
    retrain_head,
    tau_normalised,
)
from everyclass.stats.confusion import confusion_matrix, recall

SIZES = (600, 120, 30)
LONG = HeadTraining(epochs=150, learning_rate=0.5, weight_decay=0.0)


def features(sizes: tuple[int, ...] = SIZES, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian classes that overlap, in 5 dimensions."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    centres = 1.3 * torch.eye(5)[: len(sizes)]
    return centres[labels] + torch.randn(len(labels), 5, generator=generator), labels


def recalls(head: nn.Module, rows: Tensor, labels: Tensor) -> np.ndarray:
    decided = head(rows).argmax(dim=1).numpy()
    return recall(confusion_matrix(labels.numpy(), decided, n_classes=3))


def plain_head() -> nn.Linear:
    rows, labels = features()
    return retrain_head(
        rows,
        labels,
        n_classes=3,
        seed=0,
        training=HeadTraining(epochs=60, learning_rate=0.5, power=1.0),
    )


def test_tau_normalisation_by_hand() -> None:
    # Lengths 5 and 2: by sqrt(5) and sqrt(2) at tau 1/2, all to 1 at tau 1.
    weight = torch.tensor([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])
    torch.testing.assert_close(tau_normalised(weight, tau=0.0), weight)
    half = torch.tensor([[3 / 5**0.5, 4 / 5**0.5], [0.0, 2**0.5], [0.0, 0.0]])
    torch.testing.assert_close(tau_normalised(weight, tau=0.5), half)
    full = torch.tensor([[0.6, 0.8], [0.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(tau_normalised(weight), full)
    with pytest.raises(InputError, match=r"\(C, D\) is expected"):
        tau_normalised(weight[0])


def test_a_retrained_head_is_scikit_learns_balanced_regression() -> None:
    # The minimum of the same convex loss: the balanced draws weigh classes as its weights do.
    rows, labels = features()
    head = retrain_head(rows, labels, n_classes=3, seed=0, training=LONG)
    oracle = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=1000)
    oracle.fit(rows.numpy(), labels.numpy())
    test_rows, _ = features((500, 500, 500), seed=1)
    ours = head(test_rows).softmax(dim=1).detach().numpy()
    assert float(np.abs(ours - oracle.predict_proba(test_rows.numpy())).mean()) < 0.02


def test_the_scale_of_the_features_does_not_matter() -> None:
    rows, labels = features()
    one = retrain_head(rows, labels, n_classes=3, seed=0)
    large = retrain_head(32 * rows, labels, n_classes=3, seed=0)
    torch.testing.assert_close(large(32 * rows), one(rows), rtol=1e-3, atol=1e-3)


def test_balanced_draws_bring_the_rare_class_back_and_natural_ones_do_not() -> None:
    rows, labels = features()
    test_rows, test_labels = features((500, 500, 500), seed=1)
    plain = recalls(plain_head(), test_rows, test_labels)
    balanced = recalls(retrain_head(rows, labels, n_classes=3, seed=0), test_rows, test_labels)
    assert plain[2] < 0.3
    assert balanced[2] > plain[2] + 0.2
    assert balanced.mean() > plain.mean() + 0.05


def test_the_same_seed_gives_the_same_head() -> None:
    rows, labels = features()
    one, again = (retrain_head(rows, labels, n_classes=3, seed=4) for _ in range(2))
    other = retrain_head(rows, labels, n_classes=3, seed=5)
    assert torch.equal(one.weight, again.weight)
    assert not torch.equal(one.weight, other.weight)
    assert not torch.is_inference(one.weight)


@pytest.mark.parametrize("bias", [True, False])
def test_scales_are_in_the_layer_and_fit_better_on_balanced_draws(bias: bool) -> None:
    rows, labels = features()
    trained = plain_head()
    head = nn.Linear(5, 3, bias=bias)
    with torch.no_grad():
        head.weight.copy_(trained.weight)
        if bias:
            head.bias.copy_(trained.bias)
    before = head.weight.clone()
    scaled, factors = learn_scales(rows, labels, head, seed=0)
    torch.testing.assert_close(scaled(rows), factors * head(rows))
    assert torch.equal(head.weight, before)
    weights = torch.tensor([1 / n for n in SIZES])[labels]

    def balanced_loss(layer: nn.Module) -> float:
        each = nn.functional.cross_entropy(layer(rows), labels, reduction="none")
        return float(((weights * each).sum() / weights.sum()).detach())

    assert balanced_loss(scaled) < balanced_loss(head)


def test_what_does_not_fit_is_refused() -> None:
    rows, labels = features()
    with pytest.raises(InputError, match="outside 0 to 1"):
        retrain_head(rows, labels, n_classes=2, seed=0)
    with pytest.raises(InputError, match=r"\(N, D\) and \(N,\)"):
        retrain_head(rows, labels[:3], n_classes=3, seed=0)
    with pytest.raises(InputError, match="NaN"):
        learn_scales(rows / 0, labels, nn.Linear(5, 3), seed=0)
    with pytest.raises(InputError, match="at least one epoch"):
        HeadTraining(epochs=0)
