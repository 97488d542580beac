"""All pairs of 64-bit codes that differ in a few bits, without comparing all with all.

Comes in: codes. Goes out: pairs, and the groups that they chain together. Exact, whatever the codes
are: where many share a part of their bits, that group is divided again by the bits that are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

BITS = 64
SMALL_GROUP = 128
"""Codes up to which a group is compared one with another: less work than dividing it."""

USUAL_GROUP = 32
"""Codes that a part should leave in a group of random ones; with more, further bits are added to it
from the start, so that time does not grow with the square of the codes."""


def near_pairs(codes: Codes, *, radius: int) -> Rows:
    """Pairs of codes that differ in at most `radius` bits.

    Codes that differ in r bits agree in one at least of any r + 1 parts they are cut into; so only
    codes that agree in a part are compared.

    Args:
        codes: (n,) uint64, all distinct.
        radius: 0 to 15.
    Returns:
        (m, 2) int64 indices i < j, each pair once, sorted.

    Source: multi-index hashing, Norouzi, Punjani and Fleet 2012.
    """
    if not 0 <= radius <= 15:
        raise ValueError(f"radius is {radius}, not in 0 to 15")
    rows = np.arange(len(codes), dtype=np.int64)
    found = list(_divided(codes, rows, list(range(BITS)), radius))
    if not found:
        return np.empty((0, 2), dtype=np.int64)
    pairs = np.concatenate(found)
    pairs.sort(axis=1)
    return np.unique(pairs, axis=0)


def _divided(codes: Codes, rows: Rows, bits: Sequence[int], radius: int) -> Iterator[Rows]:
    """Pairs among these rows, which agree in all other bits than `bits`."""
    if len(rows) < 2:
        return
    if len(bits) <= radius:
        # Whatever the other bits are, they are few enough.
        yield from _all_with_all(codes, rows, radius)
        return
    for alternatives in _parts(bits, radius, len(rows)):
        found = [
            pairs
            for part, left in alternatives
            for pairs in _agreeing(codes, rows, part, left, radius)
        ]
        if found:  # near copies agree in many parts
            yield np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _parts(bits: Sequence[int], radius: int, n: int) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Parts, in one of which codes within the radius agree, each with the bits that are left.

    Where n codes would crowd in a part, it comes as alternatives: what is left has as few
    differences, so that those who agree in it agree in one part of the rest as well.
    """
    for first in np.array_split(np.array(bits), radius + 1):
        part = first.tolist()
        left = [bit for bit in bits if bit not in part]
        if n <= USUAL_GROUP << len(part) or len(left) <= radius:
            yield [(part, left)]
            continue
        more = [one.tolist() for one in np.array_split(np.array(left), radius + 1)]
        yield [(part + one, [bit for bit in left if bit not in one]) for one in more]


def _agreeing(
    codes: Codes, rows: Rows, part: Sequence[int], left: Sequence[int], radius: int
) -> Iterator[Rows]:
    """Pairs among those of these rows that agree in a part."""
    mask = np.bitwise_or.reduce(np.uint64(1) << np.array(part, dtype=np.uint64))
    keys = codes[rows] & mask
    order = np.argsort(keys, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.r_[True, np.diff(keys[order]) != 0])
    sizes = np.diff(np.r_[starts, len(rows)])
    yield from _small_groups(codes, ordered, starts, sizes, radius)
    for start, size in zip(starts[sizes > SMALL_GROUP], sizes[sizes > SMALL_GROUP]):
        yield from _divided(codes, ordered[start : start + size], left, radius)


def _small_groups(
    codes: Codes, ordered: Rows, starts: Rows, sizes: Rows, radius: int
) -> Iterator[Rows]:
    """Pairs inside each small group, all groups at once: row i with row i + 1, i + 2, ..."""
    size_of = np.repeat(sizes, sizes)
    place = np.arange(len(ordered)) - np.repeat(starts, sizes)
    # How many rows of its own group follow each row.
    following = np.where(size_of <= SMALL_GROUP, size_of - 1 - place, 0)
    here = np.flatnonzero(following > 0)
    ahead = 1
    while len(here):
        yield _near(codes, ordered[here], ordered[here + ahead], radius)
        ahead += 1
        here = here[following[here] >= ahead]


def _all_with_all(codes: Codes, rows: Rows, radius: int) -> Iterator[Rows]:
    for i in range(len(rows) - 1):
        yield _near(codes, np.full(len(rows) - 1 - i, rows[i]), rows[i + 1 :], radius)


def _near(codes: Codes, first: Rows, second: Rows, radius: int) -> Rows:
    near = np.bitwise_count(codes[first] ^ codes[second]) <= radius
    return np.stack([first[near], second[near]], axis=1)


def chained(pairs: Rows, n: int) -> Rows:
    """Groups of what pairs hold together, directly or by others between.

    Args:
        pairs: (m, 2) indices below n.
    Returns:
        (n,) int64: the smallest index of the group that each belongs to, its own where it is alone.
    """
    root = np.arange(n, dtype=np.int64)
    while True:
        low = np.minimum(root[pairs[:, 0]], root[pairs[:, 1]])
        before = root.copy()
        # The roots themselves are joined, so that a long chain takes few rounds.
        for side in (0, 1):
            np.minimum.at(root, before[pairs[:, side]], low)
            np.minimum.at(root, pairs[:, side], low)
        root = root[root]
        if np.array_equal(root, before):
            return root
