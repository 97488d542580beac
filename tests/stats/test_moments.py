"""Channel moments: a two-pass float64 oracle, a case by hand, and exactness under merging."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from everyclass.stats.moments import (
    NO_PIXELS,
    ChannelMoments,
    channel_sums,
    largest_deviation,
    pooled,
)

IMAGES = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


def moments(pixels: np.ndarray) -> ChannelMoments:
    return ChannelMoments.of(pixels)


def two_pass(images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]).astype(np.float64) / 255
    mean = pixels.mean(axis=0)
    return mean, np.sqrt(((pixels - mean) ** 2).mean(axis=0))


@given(st.lists(IMAGES, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_oracle_and_property_merged_in_any_order_it_is_the_two_pass_result(images, rng):
    parts = [moments(image) for image in images]
    rng.shuffle(parts)
    total = pooled(tuple(parts))
    mean, std = two_pass(images)
    np.testing.assert_allclose(total.mean, mean, atol=1e-12)
    np.testing.assert_allclose(total.std, std, atol=1e-9)
    while len(parts) > 1:  # any tree of merges
        parts.append(parts.pop(rng.randrange(len(parts))) + parts.pop(rng.randrange(len(parts))))
    assert parts[0] == total


def test_hand_computed():
    # Red: 0, 0, 255, 255: mean 1/2, deviation 1/2. Green: constant 51 = 0.2. Blue: 0, 0, 0, 255:
    # mean 1/4, variance 3/16.
    pixels = np.array([[0, 51, 0], [0, 51, 0], [255, 51, 0], [255, 51, 255]], dtype=np.uint8)
    total = moments(pixels)
    assert (total.n_pixels, total.sums) == (4, (510, 204, 255))
    assert total.mean == (0.5, 0.2, 0.25)
    assert total.std == pytest.approx((0.5, 0.0, 0.1875**0.5), abs=1e-15)


def test_a_batch_is_its_images():
    batch = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    assert moments(batch) == pooled(tuple(moments(image) for image in batch))


def test_nothing_overflows_or_cancels_at_fifty_million_images():
    """A barely varying set: in float64 the two terms would agree in all their digits."""
    values = np.full((64 * 64, 3), 200, dtype=np.uint8)
    values[0] = 201
    one = moments(values)
    n = 50_000_000
    many = ChannelMoments(
        n_pixels=one.n_pixels * n,
        sums=tuple(total * n for total in one.sums),
        squares=tuple(total * n for total in one.squares),
    )
    assert many.mean == pytest.approx(one.mean, rel=1e-15)
    # p (1 - p) with p = 1/4096, in units of 1/255.
    assert many.std == pytest.approx(((1 / 4096 * 4095 / 4096) ** 0.5 / 255,) * 3, rel=1e-12)


def test_constant_images_have_no_deviation_and_no_pixels_no_mean():
    assert moments(np.full((3, 3, 3), 77, dtype=np.uint8)).std == (0.0, 0.0, 0.0)
    assert pooled(()) == NO_PIXELS
    with pytest.raises(ValueError, match="no pixels"):
        _ = NO_PIXELS.mean
    with pytest.raises(ValueError, match="no pixels"):
        _ = NO_PIXELS.std


@pytest.mark.parametrize("n_pixels", [5, 256, 257, 4096, 66_052])
def test_sums_are_exact_at_any_size(n_pixels):
    sums, squares = channel_sums(np.full((2, n_pixels, 3), 255, dtype=np.uint8))
    assert sums.tolist() == [[255 * n_pixels] * 3] * 2
    assert squares.tolist() == [[255**2 * n_pixels] * 3] * 2
    images = np.random.default_rng(n_pixels).integers(0, 256, (3, n_pixels, 3), dtype=np.uint8)
    sums, squares = channel_sums(images)
    whole = images.astype(np.int64)
    assert sums.tolist() == whole.sum(axis=1).tolist()
    assert squares.tolist() == (whole**2).sum(axis=1).tolist()


@given(st.lists(IMAGES, min_size=1, max_size=4))
def test_the_largest_deviation_is_that_of_the_exact_moments(images):
    for image in images:
        one = moments(image)
        sums, squares = (np.array(total, dtype=np.uint64) for total in (one.sums, one.squares))
        found = largest_deviation(sums, squares, one.n_pixels)
        np.testing.assert_allclose(found, max(one.std) * 255, atol=1e-5)
