"""Two perceptual hashes: bits that hardly change when an image is resized or compressed again.

Comes in: grey images of any size. Goes out: codes; those of alike images differ in few bits. Knows
no file and no table.

Measured at 64 px, and looked at: in TrashNet (2,527 images) all of 21 groups of different files
show one thing; in CIFAR-10 (60,000) all of 72 groups drawn from 204; of 17,092 cells of PBC two are
called alike. Either hash alone also pairs images that correlate by no more than 0.5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from everyclass.images.greys import box_reduced
from everyclass.stats.hamming import near_pairs

SIDE = 32
LOW = 8
"""Frequencies a side, the mean brightness among them; and cells a side."""

RADIUS, MOST_BITS = 4, 10
"""Bits in which the first codes of alike images may differ, and both codes together."""

LEAST_DEVIATION = 4.0
"""Of 255: images of less contrast have hashes of noise."""

MOST_OF_A_CODE = 64
"""Images of one first code that are compared all with all; of more, each with the next so many in
the order of their second code."""

Greys = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]


def _cosines() -> npt.NDArray[np.float32]:
    """(LOW, SIDE): the first rows of a discrete cosine transform (DCT-II)."""
    frequency, place = np.arange(LOW)[:, None], np.arange(SIDE)[None]
    return np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE)).astype(np.float32)


def _cells(n: int) -> npt.NDArray[np.float32]:
    """(n, SIDE): means over n cells of equal width."""
    edges = np.linspace(0, SIDE, n + 1)
    place = np.arange(SIDE)
    inside = np.minimum(edges[1:, None], place + 1) - np.maximum(edges[:-1, None], place)
    return np.asarray(np.clip(inside, 0, 1) * n / SIDE, dtype=np.float32)


_COSINES = _cosines()
_DOWN, _ACROSS = _cells(LOW), _cells(LOW + 1)


def likeness_codes(greys: Greys) -> tuple[Codes, npt.NDArray[np.bool_]]:
    """Which low frequencies are above their median; which cells are brighter than the one before.

    Args:
        greys: (B, H, W) uint8; stretched to squares of 32 px.
    Returns:
        (B, 2) uint64, and (B,) whether the image has enough contrast for them to mean anything.

    Source: pHash, Zauner 2010 (section 3.2.1), in the variant of the `imagehash` package, which
    keeps the mean brightness among the 64 numbers; and its difference hash.
    """
    pixels = box_reduced(greys, side=SIDE).astype(np.float32)
    low = (_COSINES @ pixels @ _COSINES.T).reshape(len(greys), LOW * LOW)
    cells = _DOWN @ pixels @ _ACROSS.T
    brighter = cells[:, :, 1:] > cells[:, :, :-1]
    ordered = np.sort(low, axis=1)  # np.median takes four times as long for so few
    half = LOW * LOW // 2
    middle = (ordered[:, half - 1 : half] + ordered[:, half : half + 1]) / 2
    codes = [low > middle, brighter.reshape(len(greys), LOW * LOW)]
    packed = [np.packbits(one, axis=1).view(">u8")[:, 0].astype(np.uint64) for one in codes]
    deviations = pixels.reshape(len(greys), -1).std(axis=1)
    return np.stack(packed, axis=1), deviations >= LEAST_DEVIATION


def alike_pairs(codes: Codes) -> Rows:
    """Pairs of alike images.

    Args:
        codes: (n, 2) uint64, of `likeness_codes`.
    Returns:
        (m, 2) int64 indices i < j.
    """
    if len(codes) < 2:
        return np.empty((0, 2), dtype=np.int64)
    first, member_of = np.unique(codes[:, 0], return_inverse=True)
    order = np.lexsort((codes[:, 1], member_of))
    ends = np.cumsum(np.bincount(member_of, minlength=len(first)))
    members = np.split(order, ends[:-1])
    found = [_within(one) for one in members if len(one) > 1]
    near = near_pairs(first, radius=RADIUS)
    single = np.array([len(one) == 1 for one in members], dtype=bool)
    plain = single[near].all(axis=1)
    alone = np.array([one[0] for one in members], dtype=np.int64)
    found.append(alone[near[plain]])
    found += [_between(members[a], members[b]) for a, b in near[~plain]]
    pairs = np.concatenate(found)
    apart = np.bitwise_count(codes[pairs[:, 0]] ^ codes[pairs[:, 1]]).sum(axis=1)
    pairs = pairs[apart <= MOST_BITS]
    pairs.sort(axis=1)
    return np.unique(pairs, axis=0)


def _within(members: Rows) -> Rows:
    """Pairs of images with one first code, given in the order of their second."""
    steps = range(1, min(len(members), MOST_OF_A_CODE + 1))
    return np.concatenate([np.stack([members[:-step], members[step:]], axis=1) for step in steps])


def _between(some: Rows, others: Rows) -> Rows:
    some, others = some[:MOST_OF_A_CODE], others[:MOST_OF_A_CODE]
    return np.stack([np.repeat(some, len(others)), np.tile(others, len(some))], axis=1)
