"""Grey images in batches: beside what Pillow makes of each, and means by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from everyclass.images.greys import box_reduced, grey_levels

RNG = np.random.default_rng(0)


def test_oracle_grey_levels_are_pillow_s_within_one_level() -> None:
    values = np.arange(0, 256, 5, dtype=np.uint8)
    grid = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(1, -1, 52, 3)
    noise = RNG.integers(0, 256, (4, 300, 300, 3), dtype=np.uint8)
    for batch in (grid, noise):
        wanted = np.stack([np.asarray(Image.fromarray(one).convert("L")) for one in batch])
        apart = np.abs(grey_levels(batch).astype(int) - wanted)
        assert apart.max() <= 1  # 14 bits there, 16 here
        assert apart.mean() < 0.01


def test_grey_pixels_keep_their_level() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(2, 16, 8)
    assert np.array_equal(grey_levels(np.repeat(levels[..., None], 3, axis=3)), levels)


@pytest.mark.parametrize("shape", [(64, 64), (32, 32), (96, 96), (224, 224), (64, 128), (8, 16)])
def test_oracle_reduction_by_whole_pixels_is_pillow_s_box_filter(shape: tuple[int, int]) -> None:
    greys = RNG.integers(0, 256, (3, *shape), dtype=np.uint8)
    found = box_reduced(greys, side=32)
    wanted = [
        np.asarray(Image.fromarray(grey).resize((32, 32), Image.Resampling.BOX)) for grey in greys
    ]
    # Pillow rounds after each axis.
    assert np.abs(found.astype(int) - np.stack(wanted)).max() <= 1


@pytest.mark.parametrize("shape", [(64, 64), (96, 160), (48, 48), (90, 33), (50, 64)])
def test_oracle_each_pixel_is_the_mean_of_what_it_covers(shape: tuple[int, int]) -> None:
    greys = RNG.integers(0, 256, (3, *shape), dtype=np.uint8)
    cells = []
    for n in shape:
        # Each pixel cut into 32, of which every cell takes n.
        cells.append(np.repeat(np.eye(n), 32, axis=0).reshape(32, n, n).mean(axis=1))
    wanted = np.einsum("ij,bjk,lk->bil", cells[0], greys.astype(float), cells[1])
    assert np.abs(box_reduced(greys, side=32) - wanted).max() <= 0.51
