"""Resizing: by hand, against its steps written as matrices, and beside Pillow's tents."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from everyclass.images.resizing import UNIT, resize, smoothing_weight


def of_rows(*values: int) -> np.ndarray:
    """An image of one column."""
    return np.repeat(np.array(values, dtype=np.uint8)[:, None, None], 3, axis=2)


def noise(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height * width)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """Features a ninth of the image wide, whatever its size."""
    small = Image.fromarray(noise(9, 9))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def test_by_hand() -> None:
    # Twice the side: [1, 3, 3, 1] / 8, the border repeated. (0 * 4 + 80 * 3 + 160) / 8; ...
    assert resize(of_rows(0, 80, 160, 240), side=2)[:, 0, 0].tolist() == [50, 190]
    # Enlarged: the new middles lie at -1/4, 1/4, 3/4, 5/4.
    assert resize(of_rows(0, 100), side=4)[:, 0, 0].tolist() == [0, 25, 75, 100]
    # Eight of one are two means of four, then their mean.
    assert resize(of_rows(*range(0, 80, 10)), side=1)[0, 0].tolist() == [35, 35, 35]
    square = noise(16, 16)
    assert resize(square, side=16) is square


def test_the_weight_adds_the_variance_that_a_tent_has_more() -> None:
    assert smoothing_weight(10, 10) == smoothing_weight(5, 10) == 0
    assert smoothing_weight(20, 10) == 64
    # A tent over 3 pixels has a variance of 9/4 / 6, interpolation 1/6: 2 a = (9/4 - 1) / 6.
    assert smoothing_weight(15, 10) == round(UNIT * (1.5**2 - 1) / 12)
    # Whole areas of 4 pixels: [1, 3, 3, 1] / 8 less the variance that their width adds.
    assert smoothing_weight(80, 10) == round(UNIT * (3 / 12 - (1 - 1 / 16) / 24))
    for side in (1, 7, 64, 224):
        weights = [smoothing_weight(n, side) for n in range(1, 40 * side, max(1, side // 8))]
        assert 0 <= min(weights) <= max(weights) <= UNIT // 4


def areas(n: int, m: int) -> np.ndarray:
    """(m, n): share of each of n pixels in the mean of each of m that cover them."""
    found = np.zeros((m, n))
    for i in range(m):
        for j in range(n):
            found[i, j] = max(0.0, min((i + 1) * n / m, j + 1) - max(i * n / m, j)) * m / n
    return found


def smoothing(m: int, weight: int) -> np.ndarray:
    found = np.zeros((m, m))
    for i in range(m):
        for step, share in ((-1, weight), (0, UNIT - 2 * weight), (1, weight)):
            found[i, min(max(i + step, 0), m - 1)] += share / UNIT
    return found


def between(m: int, side: int) -> np.ndarray:
    found = np.zeros((side, m))
    for i in range(side):
        middle = (i + 0.5) * m / side - 0.5
        low = int(np.floor(middle))
        found[i, min(max(low, 0), m - 1)] += 1 - (middle - low)
        found[i, min(max(low + 1, 0), m - 1)] += middle - low
    return found


def by_matrices(rgb: np.ndarray, side: int) -> np.ndarray:
    height, width = rgb.shape[:2]
    high, wide = min(height, 2 * side), min(width, 2 * side)
    steps = [
        (areas(height, high), areas(width, wide)),
        (
            smoothing(high, smoothing_weight(height, side)),
            smoothing(wide, smoothing_weight(width, side)),
        ),
        (between(high, side), between(wide, side)),
    ]
    values = rgb.astype(float)
    for down, across in steps:
        values = np.floor(np.einsum("ij,jkc,lk->ilc", down, values, across) + 0.5)
    return values


SHAPES = [(75, 75), (40, 40), (128, 128), (127, 65), (300, 200), (256, 192), (30, 200), (1, 90)]


@pytest.mark.parametrize("shape", SHAPES)
def test_oracle_the_steps_as_matrices(shape: tuple[int, int]) -> None:
    rgb = noise(*shape)
    # Interpolation in 11 bits is one level from the exact value at times.
    apart = np.abs(resize(rgb, side=64) - by_matrices(rgb, 64))
    assert apart.max() <= 1
    assert apart.mean() < (0.5 if 1 in shape else 0.2)


@pytest.mark.parametrize("shape", [one for one in SHAPES if 1 not in one])
@pytest.mark.parametrize("side", [24, 64, 100])
def test_oracle_about_what_pillow_s_tents_give(shape: tuple[int, int], side: int) -> None:
    rgb = smooth(*shape)
    wanted = np.asarray(Image.fromarray(rgb).resize((side, side), Image.Resampling.BILINEAR))
    found = resize(rgb, side=side)
    assert np.abs(found - wanted.astype(float)).mean() < 2
    assert abs(found.std() / wanted.std() - 1) < 0.01
    assert abs(found.mean() - wanted.mean()) < 0.3


@pytest.mark.parametrize("shape", SHAPES)
def test_metamorphic_constants_mirrors_and_turns(shape: tuple[int, int]) -> None:
    for level in (0, 1, 77, 254, 255):
        assert (resize(np.full((*shape, 3), level, dtype=np.uint8), side=64) == level).all()
    rgb = noise(*shape)
    found = resize(rgb, side=64).astype(int)
    mirrored = resize(np.ascontiguousarray(rgb[:, ::-1]), side=64)[:, ::-1]
    turned = resize(np.ascontiguousarray(rgb.transpose(1, 0, 2)), side=64).transpose(1, 0, 2)
    assert np.abs(mirrored - found).max() <= 1
    assert np.abs(turned - found).max() <= 2  # rows before columns: rounded in another order


@pytest.mark.parametrize("n", [112, 127, 128, 150, 400])
def test_a_pattern_too_fine_to_be_shown_becomes_grey(n: int) -> None:
    """Interpolation alone shows other stripes instead, of a deviation up to 127."""
    stripes = np.zeros((n, n, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    inside = resize(stripes, side=64)[:, 2:-2]
    assert inside.std() < 25
    assert abs(float(inside.mean()) - 127.5) < 3
