"""The power law: planted ones come back, many at once as one by one, and a doubling stays tame."""

from __future__ import annotations

import numpy as np
import pytest

from everyclass.errors import InputError
from everyclass.stats.power_law import EXPONENTS, fit_power_law

SIZES = np.array([50, 100, 200, 400, 800])


@pytest.mark.parametrize(("a", "b", "place"), [(0.1, 1.5, 20), (0.0, 0.9, 10), (0.3, 4.0, 35)])
def test_a_planted_law_comes_back(a: float, b: float, place: int) -> None:
    c = EXPONENTS[place]
    law = fit_power_law(SIZES, a + b * SIZES**-c)
    assert float(law.c) == pytest.approx(c)
    assert float(law.a) == pytest.approx(a, abs=1e-9)
    assert float(law.b) == pytest.approx(b)
    # By the law: b n^-c (1 - 2^-c).
    assert float(law.doubling(800)) == pytest.approx(b * 800**-c * (1 - 2**-c))


def test_many_draws_are_fitted_as_each_alone() -> None:
    errors = np.random.default_rng(0).uniform(0.1, 0.6, (20, 3))
    together = fit_power_law(SIZES[:3], errors)
    for place, one in enumerate(errors):
        alone = fit_power_law(SIZES[:3], one)
        assert (alone.a, alone.b, alone.c) == (
            pytest.approx(together.a[place]),
            pytest.approx(together.b[place]),
            together.c[place],
        )


def test_no_other_law_of_the_grid_is_nearer() -> None:
    """Oracle: every a in hundredths and every c, b by least squares."""
    rng = np.random.default_rng(1)
    for _ in range(5):
        errors = rng.uniform(0.0, 0.5, 4)
        law = fit_power_law(SIZES[:4], errors)
        rest = float(np.sum((law.a + law.b * SIZES[:4] ** -law.c - errors) ** 2))
        for c in EXPONENTS:
            x = SIZES[:4] ** -c
            for a in np.linspace(0, 1, 101):
                b = (errors - a) @ x / (x @ x)
                assert rest <= np.sum((a + b * x - errors) ** 2) + 1e-9


def test_a_doubling_is_between_a_half_and_all_of_the_last_one() -> None:
    for errors in ([0.5, 0.4, 0.33], [0.5, 0.3, 0.25], [0.30, 0.31, 0.33]):
        law = fit_power_law(SIZES[:3], errors)
        last = float(law.error(100) - law.error(200))
        ratio = float(law.doubling(200)) / last
        assert 0.49 <= ratio <= 1.0


def test_errors_that_rise_give_a_loss() -> None:
    assert float(fit_power_law(SIZES[:3], [0.3, 0.35, 0.4]).doubling(200)) < 0


def test_one_size_is_no_curve() -> None:
    with pytest.raises(InputError, match="two different sizes"):
        fit_power_law([10, 10], [0.1, 0.2])
    with pytest.raises(InputError, match="3 sizes and errors of shape"):
        fit_power_law([10, 20, 30], [0.1, 0.2])
