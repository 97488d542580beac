"""Exact stratified p-values against enumeration, Student's t and Holm against scipy's figures."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from everyclass.stats import stratified as module
from everyclass.stats.stratified import clustered_p, fewer_right_p, holm_adjusted, student_cdf


def enumerated(
    right_in: list[int], images_in: list[int], right: list[int], images: list[int]
) -> float:
    """Oracle: every way of choosing the slice's images within each class."""
    per_class = []
    for n, r, m in zip(images_in, right, images):
        outcomes = [1] * r + [0] * (m - r)
        per_class.append([sum(outcomes[i] for i in rows) for rows in combinations(range(m), n)])
    sums = [sum(one) for one in product(*per_class)]
    return sum(total <= sum(right_in) for total in sums) / len(sums)


@pytest.mark.parametrize(
    "counts",
    [
        ([0], [3], [3], [6]),
        ([1, 2], [3, 4], [4, 5], [6, 7]),
        ([0, 1, 1], [2, 2, 1], [3, 2, 4], [5, 4, 5]),
        ([2, 3], [2, 3], [2, 5], [2, 6]),  # all of the first class are in the slice
    ],
)
def test_the_p_value_is_that_of_all_ways_to_choose(counts: tuple[list[int], ...]) -> None:
    assert fewer_right_p(*counts) == pytest.approx(enumerated(*counts), abs=1e-12)


def test_nothing_to_compare_is_no_evidence() -> None:
    assert fewer_right_p([2], [5], [2], [5]) == 1.0  # nobody elsewhere
    assert fewer_right_p([0], [3], [0], [9]) == 1.0  # all wrong everywhere


def test_many_images_are_taken_as_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = ([180, 340], [300, 420], [560, 900], [900, 1_100])
    exact = fewer_right_p(*counts)
    monkeypatch.setattr(module, "MOST_EXACT", 10)
    assert fewer_right_p(*counts) == pytest.approx(exact, rel=0.05)
    assert 0.001 < exact < 0.9


@pytest.mark.parametrize(
    ("t", "degrees", "wanted"),
    # scipy.stats.t.cdf
    [(-2.0, 1, 0.1475836), (-3.0, 5, 0.0150496), (-4.0, 20, 3.518e-4), (1.5, 8, 0.9139984)],
)
def test_student_s_t(t: float, degrees: int, wanted: float) -> None:
    assert student_cdf(t, degrees=degrees) == pytest.approx(wanted, rel=1e-3)


def test_clusters_of_one_image_are_a_t_test() -> None:
    # U = -1 -1 -1 +1: sum -2, spread 4 * 4/3; t = -2 / 2.309 = -0.866 with 3 degrees: 0.225.
    assert clustered_p([-1, -1, -1, 1], [0, 1, 2, 3]) == pytest.approx(0.225, abs=1e-3)
    # The first three in one cluster: U = -3, +1: t = -2 / sqrt(20) = -0.447, 1 degree: 0.366.
    assert clustered_p([-1, -1, -1, 1], [0, 0, 0, 1]) == pytest.approx(0.366, abs=1e-3)
    assert clustered_p([-1, 1], [0, 0]) == 1.0


def test_holm_by_hand() -> None:
    # .01 x 4; .015 x 3 = .045; .03 x 2 = .06; .5 x 1.
    np.testing.assert_allclose(holm_adjusted([0.5, 0.01, 0.03, 0.015]), [0.5, 0.04, 0.06, 0.045])
    assert holm_adjusted([]).size == 0
