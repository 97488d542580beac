"""The sums of a block against a slow and obvious version, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from everyclass.monitoring.measures import Rows, measure, packed_confusion


def slow(scores: torch.Tensor, targets: torch.Tensor, log_prior: torch.Tensor) -> dict[str, object]:
    n_classes = scores.shape[1]
    keep = [
        i
        for i in range(len(targets))
        if 0 <= targets[i] < n_classes and bool(torch.isfinite(scores[i]).all())
    ]
    z, y = scores[keep].double(), targets[keep]
    centred = z - z.mean(dim=1, keepdim=True)
    guesses = z.argmax(dim=1)
    log_probs = z.log_softmax(dim=1)
    own = [float(log_probs[i, y[i]]) for i in range(len(y))]
    shuffled = [float(centred[i, y[j]]) for i in range(len(y)) for j in range(len(y))]
    by_class = lambda of: [  # noqa: E731
        float(sum(of(i) for i in range(len(y)) if int(y[i]) == c)) for c in range(n_classes)
    ]
    return {
        "predicted": [float((guesses == c).sum()) for c in range(n_classes)],
        "labelled": by_class(lambda i: 1.0),
        "hits": by_class(lambda i: float(guesses[i] == y[i])),
        "own_log_probs": by_class(lambda i: own[i]),
        "images": float(len(y)),
        "log_loss": -sum(own),
        "shifted_log_loss": float(functional.cross_entropy(z + log_prior, y, reduction="sum")),
        "own_score": float(np.mean([float(centred[i, y[i]]) for i in range(len(y))])),
        "shuffled_score": float(np.mean(shuffled)),
        "square_score": float(centred.square().mean()),
        "common_score": float(centred.mean(dim=0).square().mean()),
        "non_finite": float(len(targets) - len(keep) - int((targets < 0).sum())),
    }


@pytest.mark.parametrize("sizes", [(16, 16, 16), (16, 4, 9)])
def test_sums_equal_the_slow_version(sizes: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = [torch.randn(size, 5, generator=generator) * 3 for size in sizes]
    targets = [torch.randint(0, 5, (size,), generator=generator) for size in sizes]
    targets[0][3] = -100
    scores[1][2, 1] = torch.nan
    log_prior = torch.tensor([0.5, 0.2, 0.1, 0.1, 0.1]).log()
    packed = measure(
        scores, targets, [torch.tensor(1.5), None, None], kind="logits", log_prior=log_prior
    )
    numbers = packed.double().numpy()
    rows = Rows.from_packed(numbers, n_passes=3, n_classes=5)
    for k in range(3):
        for name, expected in slow(scores[k], targets[k], log_prior).items():
            assert getattr(rows, name)[k] == pytest.approx(expected, rel=1e-4, abs=1e-5), name
    assert rows.given_loss[0] == 1.5
    assert np.isnan(rows.given_loss[1:]).all()
    confusion = packed_confusion(numbers, n_passes=3, n_classes=5)
    assert confusion is not None
    assert confusion.sum(axis=1) == pytest.approx(rows.labelled.sum(axis=0))
    assert confusion.sum(axis=0) == pytest.approx(rows.predicted.sum(axis=0))
    assert confusion.diagonal() == pytest.approx(rows.hits.sum(axis=0))


def test_probabilities_are_read_as_such() -> None:
    probs = torch.tensor([[0.9, 0.1], [0.25, 0.75]])
    targets = torch.tensor([0, 0])
    packed = measure(
        [probs], [targets], [None], kind="probabilities", log_prior=torch.zeros(2)
    ).double()
    rows = Rows.from_packed(packed.numpy(), n_passes=1, n_classes=2)
    assert rows.log_loss[0] == pytest.approx(-np.log(0.9) - np.log(0.25), rel=1e-5)


def test_nothing_is_drawn_and_inputs_stay() -> None:
    scores, targets = torch.randn(8, 3), torch.randint(0, 3, (8,))
    before = scores.clone()
    state = torch.get_rng_state()
    measure([scores], [targets], [None], kind="logits", log_prior=torch.zeros(3))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(scores, before)


def test_no_matrix_for_very_many_classes() -> None:
    packed = measure(
        [torch.randn(8, 100)],
        [torch.randint(0, 100, (8,))],
        [None],
        kind="logits",
        log_prior=torch.zeros(100),
    )
    assert packed_confusion(packed.double().numpy(), n_passes=1, n_classes=100) is None
