"""Draws of recalls: their mean and spread by hand, for images, for groups and for luck."""

from __future__ import annotations

import numpy as np
import pytest

from everyclass.stats import crossed as module
from everyclass.stats.crossed import CrossedDraws

DRAWS = 4_000


def of(right: np.ndarray, groups: np.ndarray | None = None) -> CrossedDraws:
    labels = np.zeros(right.shape[2], dtype=int)
    return CrossedDraws(right, labels, groups, 1, np.random.default_rng(0), DRAWS)


def test_resampled_images_spread_as_a_share_does() -> None:
    # 30 of 100 right in both arms: sqrt(.3 x .7 / 100) = .0458; the arms move together.
    right = np.repeat((np.arange(100) < 30)[None, None], 2, axis=0)
    sample = of(right)
    drawn = sample.drawn(0)
    assert sample.mean(0).tolist() == [0.3, 0.3]
    assert drawn.shape == (DRAWS, 2)
    assert drawn.mean() == pytest.approx(0.3, abs=0.005)
    assert drawn[:, 0].std() == pytest.approx(0.0458, rel=0.05)
    np.testing.assert_allclose(drawn[:, 0], drawn[:, 1])


def test_groups_spread_as_so_many_images() -> None:
    # 10 groups of 10, 3 of them right: sqrt(.3 x .7 / 10) = .145.
    groups = np.repeat(np.arange(10), 10)
    right = (groups < 3)[None, None]
    assert of(right, groups).drawn(0)[:, 0].std() == pytest.approx(0.145, rel=0.07)


def test_portions_of_draws_are_still_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 1_000)
    drawn = of((np.arange(100) < 30)[None, None]).drawn(0)
    assert drawn.shape == (DRAWS, 1)
    assert drawn.std() == pytest.approx(0.0458, rel=0.05)


def test_luck_is_what_the_images_do_not_explain() -> None:
    # Two repeats, 40 and 60 of the same 100 images right in each of 40 arms. Between: .02. Within:
    # 20 images differ, each with variance .5: .1; on 100 images .001. (.02 - .001) / 2 = .0975^2.
    one = np.stack([np.arange(100) < 40, np.arange(100) < 60])
    luck = of(np.repeat(one[None], 40, axis=0)).luck([0])
    assert luck.std() == pytest.approx(0.0975, rel=0.06)  # 40 degrees: t is 2.6 % wider
    # Other images right in each, as many: no luck beyond theirs; half an image of 100 is the least.
    other = np.stack([np.arange(100) < 40, np.arange(100) >= 60])
    assert of(np.repeat(other[None], 40, axis=0)).luck([0]).std() == pytest.approx(0.005, rel=0.06)


def test_one_repeat_knows_no_luck() -> None:
    luck = of((np.arange(50) < 30)[None, None]).luck([0])
    assert luck.std() == pytest.approx(0.01, rel=0.05)  # half an image of 50
