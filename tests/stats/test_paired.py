"""McNemar's exact test: enumeration, numbers by hand, symmetry, error rate by simulation."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from everyclass.errors import InputError
from everyclass.stats.paired import mcnemar_exact, paired_tests


def test_by_hand() -> None:
    # n = 6, one of them the first's: 2 (C(6,0) + C(6,1)) / 2^6 = 2 * 7 / 64.
    assert mcnemar_exact(1, 5) == pytest.approx(14 / 64)
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(4, 4) == 1.0
    assert mcnemar_exact(0, 10) == pytest.approx(2 / 1024)


def test_oracle_enumeration() -> None:
    for n in range(1, 40):
        for k in range(n + 1):
            tail = sum(comb(n, i) for i in range(min(k, n - k) + 1))
            assert mcnemar_exact(k, n - k) == pytest.approx(min(1.0, 2 * tail / 2**n), rel=1e-9)


def test_many_images_neither_overflow_nor_vanish_into_nothing_wrong() -> None:
    # Normal approximation with continuity: z = 999 / 100 has p of about 2e-23.
    assert 0 < mcnemar_exact(4500, 5500) < 1e-20
    assert mcnemar_exact(100_000, 100_000) == 1.0


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(InputError):
        mcnemar_exact(-1, 3)


def rows(n: int, share: float, rng: np.random.Generator) -> np.ndarray:
    return rng.random(n) < share


def test_metamorphic_exchanged_runs_exchange_the_figures() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    first, second = rows(200, 0.6, rng), rows(200, 0.7, rng)
    (there,) = paired_tests([(first, second, labels)], classes=("a", "b", "c"))
    (back,) = paired_tests([(second, first, labels)], classes=("a", "b", "c"))
    for one, other in zip(there, back):
        assert (one.first_only, one.second_only) == (other.second_only, other.first_only)
        assert one.gain == -other.gain
        assert (one.p, one.adjusted_p) == (other.p, other.adjusted_p)
    assert [one.name for one in there] == [None, "a", "b", "c"]
    assert sum(one.n for one in there[1:]) == there[0].n == 200
    assert there[0].gain == pytest.approx(second.mean() - first.mean())


def test_all_looks_of_all_pairs_are_adjusted_together() -> None:
    first = np.zeros(10, dtype=bool)
    second = np.arange(10) < 8
    labels = np.zeros(10, dtype=np.int64)
    # One pair: two looks of p = 2 / 2^8. Two equal pairs: four looks. Holm's smallest times m.
    (one,) = paired_tests([(first, second, labels)], classes=("a", "absent"))
    assert [test.adjusted_p for test in one] == pytest.approx([2 * 2 / 256] * 2)
    two = paired_tests([(first, second, labels)] * 2, classes=("a",))
    assert two[1][0].adjusted_p == pytest.approx(4 * 2 / 256)
    assert paired_tests([], classes=("a",)) == ()


def test_simulation_two_equal_networks_are_seldom_told_apart() -> None:
    """5 classes, 6 looks, level 0.05: an exact test is below its level. Bound: 5 sigma."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(5), 30)
    named = 0
    for _ in range(400):
        # Equally good, and mostly right about the same images, as two seeds of one recipe are.
        hard = rng.random(150)
        first, second = (hard + rng.normal(0, 0.3, 150) < 0.7 for _ in range(2))
        (tests,) = paired_tests([(first, second, labels)], classes=tuple("abcde"))
        named += any(one.adjusted_p <= 0.05 for one in tests)
    assert named <= 400 * 0.05 + 5 * (400 * 0.05 * 0.95) ** 0.5
