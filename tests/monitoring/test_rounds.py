"""Passes pooled into rounds: by hand, and the same however the passes are handed over."""

from __future__ import annotations

import math

import numpy as np
import pytest

from everyclass.monitoring.measures import Rows
from everyclass.monitoring.rounds import Pool, Round


def _rows(images: list[int], seed: int = 0) -> Rows:
    """Passes of three classes with counts that fit together and arbitrary other sums."""
    rng = np.random.default_rng(seed)
    k = len(images)
    confusion = np.stack([rng.multinomial(n, np.full(9, 1 / 9)).reshape(3, 3) for n in images])
    return Rows(
        predicted=confusion.sum(axis=1).astype(float),
        labelled=confusion.sum(axis=2).astype(float),
        hits=np.stack([np.diag(one) for one in confusion]).astype(float),
        own_log_probs=-rng.random((k, 3)),
        images=np.array(images, dtype=float),
        log_loss=rng.random(k) * images,
        shifted_log_loss=rng.random(k) * images,
        own_score=rng.random(k),
        shuffled_score=rng.random(k),
        square_score=rng.random(k),
        common_score=rng.random(k),
        non_finite=np.zeros(k),
        given_loss=rng.random(k),
    )


def _part(rows: Rows, start: int, end: int) -> Rows:
    return Rows(**{name: getattr(rows, name)[start:end] for name in Rows.__slots__})


def test_a_round_by_hand() -> None:
    """Two passes of 20 images make a round; the third, of 8, waits."""
    rows = Rows(
        predicted=np.array([[20.0, 0.0], [5.0, 15.0], [8.0, 0.0]]),
        labelled=np.array([[15.0, 5.0], [10.0, 10.0], [4.0, 4.0]]),
        hits=np.array([[15.0, 0.0], [4.0, 9.0], [4.0, 0.0]]),
        own_log_probs=-np.ones((3, 2)),
        images=np.array([20.0, 20.0, 8.0]),
        log_loss=np.array([10.0, 20.0, 1.0]),
        shifted_log_loss=np.array([30.0, 5.0, 1.0]),
        own_score=np.array([0.5, 0.3, 9.0]),
        shuffled_score=np.array([0.1, 0.1, 9.0]),
        square_score=np.array([1.0, 2.0, 9.0]),
        common_score=np.array([0.5, 0.5, 9.0]),
        non_finite=np.zeros(3),
        given_loss=np.array([0.7, 0.9, 9.0]),
    )
    (one,) = Pool(n_classes=2, kind="logits").add(rows, [3, 4, 5])
    assert (one.first_step, one.last_step, one.images) == (3, 4, 40)
    assert one.predicted.tolist() == [25, 15]
    assert one.right == 28
    # (20 * 15 + 0 * 5) / 20 + (5 * 10 + 15 * 10) / 20
    assert one.expected_hits == pytest.approx(15 + 10)
    assert one.kappa == pytest.approx(3 / 15)
    # Not labelled as the pass's most frequent prediction: 5, and 10 of which 4 were class 0.
    assert one.others == 15
    # Of these, predicted as another class: none, and 10 - (15 - 9) = 4.
    assert one.escapes == 4
    assert one.log_loss == 30  # 10 + 20 is less than 30 + 5
    # 29 and 19 of 48 images seen so far; 25 and 15 here.
    assert one.anchor == pytest.approx(-25 * math.log(29 / 48) - 15 * math.log(19 / 48))
    assert one.advantage == pytest.approx((0.4 + 0.2) / 2)
    assert (one.square, one.common) == pytest.approx((1.5, 0.5))
    assert one.given_loss == pytest.approx(0.8)


@pytest.mark.parametrize("images", [[32] * 24, [5] * 24, [40, 3, 3, 3, 64, 31, 1, 12] * 3])
def test_rounds_do_not_depend_on_how_passes_are_handed_over(images: list[int]) -> None:
    """Only the anchor may differ: it knows the frequencies of all that was handed over."""
    rows, steps = _rows(images), list(range(len(images)))
    at_once = Pool(n_classes=3, kind="logits").add(rows, steps)
    pool, in_parts = Pool(n_classes=3, kind="logits"), list[Round]()
    for start in range(0, len(images), 5):
        in_parts += pool.add(_part(rows, start, start + 5), steps[start : start + 5])
    assert len(at_once) == len(in_parts)
    assert sum(one.images for one in at_once) > sum(images) - 32
    for first, second in zip(at_once, in_parts):
        for name in Round.__slots__:
            if name != "anchor":
                assert getattr(first, name) == pytest.approx(getattr(second, name)), name
