"""Grey images in batches: what Pillow makes of each, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from everyclass.images.greys import box_reduced, grey_levels

RNG = np.random.default_rng(0)


def test_oracle_grey_levels_are_pillow_s_for_every_colour_of_a_grid_and_for_noise() -> None:
    values = np.arange(0, 256, 5, dtype=np.uint8)
    grid = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(1, -1, 52, 3)
    noise = RNG.integers(0, 256, (4, 300, 300, 3), dtype=np.uint8)
    for batch in (grid, noise):
        wanted = np.stack([np.asarray(Image.fromarray(one).convert("L")) for one in batch])
        np.testing.assert_array_equal(grey_levels(batch), wanted)


@pytest.mark.parametrize(
    "shape", [(64, 64), (32, 32), (96, 96), (224, 224), (64, 128), (48, 48), (8, 8), (90, 33)]
)
def test_oracle_reduction_is_pillow_s_box_filter(shape: tuple[int, int]) -> None:
    greys = RNG.integers(0, 256, (3, *shape), dtype=np.uint8)
    found = box_reduced(greys, side=32)
    wanted = [
        np.asarray(Image.fromarray(grey).resize((32, 32), Image.Resampling.BOX)) for grey in greys
    ]
    # Newer Pillows choose whether rows or columns go first: a rounding apart, at most.
    assert np.abs(found.astype(int) - np.stack(wanted)).max() <= 1
    assert (found == np.stack(wanted)).mean() > 0.8
