"""Stamped ellipses against a slow twin; imposed moments against those of the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from everyclass.images.synthetic_paint import (
    Blobs,
    Field,
    drawn_look,
    exposed,
    impose_moments,
    joined,
    noise,
    stamped,
)


def some_blobs(k: int, rng: np.random.Generator, *, side: int) -> Blobs:
    """Some inside the square, some across its border, some outside."""
    long = rng.uniform(2, 12, k)
    return Blobs(
        x=rng.uniform(-20, side + 20, k).astype(np.float32),
        y=rng.uniform(-20, side + 20, k).astype(np.float32),
        long=long.astype(np.float32),
        wide=(long * rng.uniform(0.2, 1.0, k)).astype(np.float32),
        angle=rng.uniform(0, np.pi, k).astype(np.float32),
        strength=rng.uniform(0.3, 1.0, k).astype(np.float32),
    )


def stamped_slowly(blobs: Blobs, *, side: int, edge: float, rim: float) -> np.ndarray:
    """Every pixel of the square against every blob, in float64."""
    y, x = np.mgrid[0:side, 0:side].astype(float)
    canvas = np.zeros((side, side))
    for k in range(len(blobs)):
        dx, dy = x - blobs.x[k], y - blobs.y[k]
        cos, sin = np.cos(float(blobs.angle[k])), np.sin(float(blobs.angle[k]))
        square = ((dx * cos + dy * sin) / blobs.long[k]) ** 2
        square += ((dy * cos - dx * sin) / blobs.wide[k]) ** 2
        cover = np.clip((1 - square) * blobs.wide[k] / (2 * edge) + 0.5, 0, 1) * blobs.strength[k]
        canvas = np.maximum(canvas, cover * (1 - rim * np.clip(1 - square, 0, 1)))
    return canvas


@pytest.mark.parametrize("rim", [0.0, 0.35])
def test_stamped_agrees_with_its_slow_twin(rim: float) -> None:
    rng = np.random.default_rng(3)
    blobs = some_blobs(60, rng, side=50)
    field = Field(side=50, scale=1.0, rng=rng)

    fast = stamped(field, blobs, edge=1.5, rim=rim)

    assert fast.dtype == np.float32
    np.testing.assert_allclose(
        fast, stamped_slowly(blobs, side=50, edge=1.5, rim=rim), rtol=0, atol=2e-4
    )


def test_stamping_both_is_the_maximum_of_stamping_each() -> None:
    rng = np.random.default_rng(5)
    one, other = some_blobs(12, rng, side=40), some_blobs(9, rng, side=40)
    field = Field(side=40, scale=1.0, rng=rng)

    both = stamped(field, joined(one, other), edge=2.0)

    apart = np.maximum(stamped(field, one, edge=2.0), stamped(field, other, edge=2.0))
    np.testing.assert_array_equal(both, apart)


def test_a_wobbling_outline_keeps_its_area_about() -> None:
    """Twenty discs of radius 12, far apart: area pi 144 = 452 each."""
    row, column = np.mgrid[0:4, 0:5]
    k = row.size
    ones = np.ones(k, np.float32)
    blobs = Blobs(
        x=(25 + 50 * column.ravel()).astype(np.float32),
        y=(25 + 50 * row.ravel()).astype(np.float32),
        long=12 * ones,
        wide=12 * ones,
        angle=0 * ones,
        strength=ones,
    )
    field = Field(side=250, scale=1.0, rng=np.random.default_rng(0))

    even = stamped(field, blobs, edge=1.0)
    wobbling = stamped(field, blobs, edge=1.0, wobble=0.08)

    assert even.sum() == pytest.approx(k * np.pi * 144, rel=0.01)
    assert wobbling.sum() == pytest.approx(even.sum(), rel=0.05)
    assert np.abs(wobbling - even).sum() > 0.03 * even.sum()


def test_no_blobs_cover_nothing() -> None:
    nothing = some_blobs(0, np.random.default_rng(0), side=16)
    field = Field(side=16, scale=1.0, rng=np.random.default_rng(0))

    assert not stamped(field, nothing, edge=1.0, wobble=0.1).any()


def test_noise_is_smooth_at_its_wavelength() -> None:
    field = Field(side=200, scale=1.0, rng=np.random.default_rng(1))

    coarse, fine = noise(field, 60.0), noise(field, 6.0)

    assert coarse.shape == fine.shape == (200, 200)
    assert 0.3 < fine.std() < 1.1
    assert np.abs(np.diff(coarse)).mean() < 0.2 * np.abs(np.diff(fine)).mean()


def test_more_stain_gives_darker_pixels_of_its_colour() -> None:
    look = drawn_look(np.random.default_rng(2))
    amounts = np.linspace(0.0, 1.5, 64, dtype=np.float32).reshape(8, 8)
    none = np.zeros_like(amounts)

    purple = exposed(amounts, none, look, np.random.default_rng(0)).astype(int)
    pink = exposed(none, amounts, look, np.random.default_rng(0)).astype(int)

    for pixels in (purple, pink):
        assert pixels.shape == (8, 8, 3)
        assert pixels[7, 7, 1] < pixels[4, 0, 1] < pixels[0, 0, 1]
    # Haematoxylin takes red light away in proportion; eosin hardly does, so that noise is left.
    row = np.arange(64)
    assert np.corrcoef(purple[:, :, 0].ravel(), row)[0, 1] < -0.95
    assert np.corrcoef(purple[:, :, 0].ravel(), purple[:, :, 1].ravel())[0, 1] > 0.95


def two_levels(rng: np.random.Generator) -> np.ndarray:
    """A third of the pixels dark, as nuclei in a pale field."""
    return np.where(rng.random(6400) < 0.3, 0.4, 0.9) + rng.normal(0, 0.02, 6400)


def skew(rng: np.random.Generator) -> np.ndarray:
    return np.exp(-rng.exponential(0.5, 6400))


@pytest.mark.parametrize("light", [two_levels, skew])
@pytest.mark.parametrize(("mean", "deviation"), [(204.0, 28.0), (120.0, 40.0), (215.0, 28.0)])
def test_imposed_moments_are_those_of_the_plane(
    light: Callable[[np.random.Generator], np.ndarray], mean: float, deviation: float
) -> None:
    """Oracle: mean and standard deviation in float64, after cutting and rounding."""
    plane = light(np.random.default_rng(0)).astype(np.float32).reshape(80, 80)
    order = np.argsort(plane, axis=None)

    impose_moments(plane, mean=mean, deviation=deviation)

    assert plane.min() >= 0
    assert plane.max() <= 255
    assert np.rint(plane).astype(float).mean() == pytest.approx(mean, abs=0.2)
    assert np.rint(plane).astype(float).std() == pytest.approx(deviation, abs=0.2)
    assert (np.diff(plane.ravel()[order]) >= 0).all()  # lighter stays lighter


@pytest.mark.parametrize("strength", [0.4, 2.5])
def test_density_changes_the_skewness_and_not_the_moments(strength: float) -> None:
    rng = np.random.default_rng(8)
    look = drawn_look(rng)
    amounts = rng.uniform(0.0, 1.0, (2, 90, 90)).astype(np.float32)
    other = dataclasses.replace(look, density=look.density * np.float32(strength))

    pixels = exposed(amounts[0], amounts[1], other, rng).reshape(-1, 3).astype(float)

    np.testing.assert_allclose(pixels.mean(axis=0), look.mean, atol=0.3)
    np.testing.assert_allclose(pixels.std(axis=0), look.deviation, atol=0.3)
    third = (((pixels - pixels.mean(axis=0)) / pixels.std(axis=0)) ** 3).mean(axis=0)
    plain = exposed(amounts[0], amounts[1], look, rng).reshape(-1, 3).astype(float)
    plain_third = (((plain - plain.mean(axis=0)) / plain.std(axis=0)) ** 3).mean(axis=0)
    # Light falls as exp(-density): more of it stretches the bright tail.
    assert np.sign(third - plain_third)[1] == np.sign(strength - 1)
