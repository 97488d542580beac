"""Whether labels come in runs, and what that does to a watched training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from everyclass.monitoring.monitor import Monitor
from everyclass.monitoring.rounds import LabelOrder


def counted(labels: np.ndarray, batch: int, n_classes: int) -> np.ndarray:
    passes = labels[: len(labels) // batch * batch].reshape(-1, batch)
    return np.stack([np.bincount(one, minlength=n_classes) for one in passes]).astype(float)


@pytest.mark.parametrize("n_classes", [2, 10, 100])
@pytest.mark.parametrize("batch", [4, 32, 256])
def test_shuffled_labels_are_not_ordered_and_sorted_ones_are(n_classes: int, batch: int) -> None:
    generator = np.random.default_rng(0)
    prior = 1.0 / np.arange(1, n_classes + 1)
    labels = generator.choice(n_classes, size=max(batch, 32) * 200, p=prior / prior.sum())
    shuffled, in_runs = LabelOrder(n_classes), LabelOrder(n_classes)
    for block in np.array_split(counted(labels, batch, n_classes), 10):
        shuffled.add(block)
        assert not shuffled.ordered
    in_runs.add(counted(np.sort(labels), batch, n_classes))
    assert in_runs.ordered


def test_cost_of_the_order_by_hand() -> None:
    order = LabelOrder(2)
    costs = order.add(np.array([[4.0, 0.0], [4.0, 0.0]]))
    # Nothing is known before the first pass: both classes are even. Before the second, the class
    # frequencies are 5 / 6 and 1 / 6, and the surest guess gives class 0 0.99 + 0.01 x 5 / 6.
    assert costs == pytest.approx([4 * np.log(2), -4 * np.log(0.99 + 0.01 * 5 / 6)])
    assert not order.ordered  # two passes say nothing


def fed(targets: Tensor, *, noise: float, own: bool) -> Monitor:
    """Scores of the class of the batch's first image, or of each image's own, that grow."""
    generator = torch.Generator().manual_seed(1)
    monitor = Monitor()
    for epoch in range(10):
        for labels in targets.split(32):
            logits = noise * torch.randn(len(labels), 6, generator=generator)
            answer = labels if own else labels[:1].expand(len(labels))
            logits[torch.arange(len(labels)), answer] += 0.2 * (1 + epoch)
            monitor.step(logits, labels)
    return monitor


IN_RUNS = torch.arange(6).repeat_interleave(330)


def test_following_the_class_of_the_moment_is_no_learning() -> None:
    summary = fed(IN_RUNS, noise=0.1, own=False).summary(ended=True)
    assert (summary.phase, summary.verdict) == ("opening", "collapsed")
    summary = fed(IN_RUNS, noise=1.0, own=False).summary(ended=True)
    assert (summary.phase, summary.verdict) == ("opening", "not-learning")
    assert summary.findings[-1].evidence["labels_in_runs"] is True
    assert "come in runs of one class" in summary.sentence


def test_the_same_scores_for_shuffled_labels_are_learning() -> None:
    shuffled = IN_RUNS[torch.randperm(len(IN_RUNS), generator=torch.Generator().manual_seed(0))]
    summary = fed(shuffled, noise=0.1, own=True).summary(ended=True)
    assert (summary.phase, summary.verdict) == ("learned", "healthy")


def test_batches_of_one_class_in_random_order_are_not_ordered() -> None:
    generator = np.random.default_rng(0)
    order = LabelOrder(8)
    order.add(32.0 * np.eye(8)[generator.integers(0, 8, size=400)])
    assert not order.ordered
