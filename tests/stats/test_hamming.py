"""Near codes: the same pairs as comparing all with all, however the codes crowd."""

from __future__ import annotations

import numpy as np
import pytest

from everyclass.stats.hamming import SMALL_GROUP, chained, near_pairs


def compared_all(codes: np.ndarray, radius: int) -> set[tuple[int, int]]:
    apart = np.bitwise_count(codes[:, None] ^ codes[None])
    first, second = np.nonzero(np.triu(apart <= radius, k=1))
    return set(zip(first.tolist(), second.tolist()))


def random_codes(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


def flipped(codes: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Each code with up to `most` bits changed."""
    rng = np.random.default_rng(seed)
    changed = codes.copy()
    for _ in range(most):
        bits = rng.integers(0, 64, len(codes)).astype(np.uint64)
        changed ^= np.where(rng.random(len(codes)) < 0.7, np.uint64(1) << bits, np.uint64(0))
    return changed


@pytest.mark.parametrize("radius", [0, 1, 3, 5])
def test_the_same_pairs_as_comparing_all_with_all(radius: int) -> None:
    centres = random_codes(150, 0)
    codes = np.unique(np.concatenate([centres, flipped(centres, 4, 1), flipped(centres, 6, 2)]))
    pairs = near_pairs(codes, radius=radius)
    assert set(map(tuple, pairs.tolist())) == compared_all(codes, radius)
    assert (pairs[:, 0] < pairs[:, 1]).all()


@pytest.mark.parametrize("usual", [0.0, 1e9])
def test_how_far_parts_are_divided_at_once_changes_nothing(
    usual: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = np.unique(np.concatenate([random_codes(400, 0), flipped(random_codes(400, 0), 5, 1)]))
    monkeypatch.setattr("everyclass.stats.hamming.USUAL_GROUP", int(usual))
    pairs = near_pairs(codes, radius=4)
    assert set(map(tuple, pairs.tolist())) == compared_all(codes, 4)
    assert len(pairs) > 100


def test_codes_that_crowd_in_a_few_bits_are_divided_again() -> None:
    # Only 12 bits vary: each part of the rest is the same for all.
    varied = np.random.default_rng(3).permutation(2**12)[: 10 * SMALL_GROUP].astype(np.uint64)
    codes = varied << np.uint64(20) | np.uint64(0xABC)
    pairs = near_pairs(codes, radius=2)
    assert set(map(tuple, pairs.tolist())) == compared_all(codes, 2)
    assert len(pairs) > len(codes)


def test_nothing_near_nothing_given() -> None:
    assert near_pairs(random_codes(500, 4), radius=3).shape == (0, 2)
    assert near_pairs(np.empty(0, dtype=np.uint64), radius=3).shape == (0, 2)
    with pytest.raises(ValueError, match="radius is 16"):
        near_pairs(random_codes(2, 0), radius=16)


def test_pairs_chain_to_groups() -> None:
    pairs = np.array([[8, 9], [3, 8], [5, 6], [9, 11], [11, 12]])
    assert chained(pairs, 13).tolist() == [0, 1, 2, 3, 4, 5, 5, 7, 3, 3, 10, 3, 3]
    line = np.stack([np.arange(999)[::-1], np.arange(1, 1000)[::-1]], axis=1)
    assert set(chained(line, 1000).tolist()) == {0}
    assert chained(np.empty((0, 2), dtype=np.int64), 3).tolist() == [0, 1, 2]
