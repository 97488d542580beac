"""Fixtures that several test folders use: small real image files, made on the spot."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_image_folder(
    folder: Path, counts: dict[str, int], *, side: int = 24, seed: int = 0
) -> Path:
    """A folder a class with PNG files that a small network can tell apart: each class has its own
    stripe direction and period, each image its own colours and phase.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side]
    for k, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        angle = np.pi / 2 * k / max(1, len(counts) - 1)  # a mirrored class stays itself
        for i in range(count):
            wave = np.sin(
                (rows * np.cos(angle) + columns * np.sin(angle)) * 1.1 + rng.uniform(0, 6)
            )
            colour = rng.uniform(60, 190, size=3)
            pixels = colour + 50 * wave[..., None] + rng.normal(0, 8, size=(side, side, 3))
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(folder / name / f"{name}_{i:03d}.png")
    return folder


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, 90 / 40 / 18 images of 24 px: ratio 5."""
    folder = tmp_path_factory.mktemp("stripes")
    return write_image_folder(folder, {"ash": 90, "birch": 40, "cedar": 18})


@pytest.fixture(scope="session")
def real_sets() -> Path:
    """The folder of real image sets named by EVERYCLASS_DATA; skips without it."""
    name = os.environ.get("EVERYCLASS_DATA", "")
    if not name or not Path(name).is_dir():
        pytest.skip("EVERYCLASS_DATA names no folder of real image sets")
    return Path(name)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's caches; commands that tests start inherit the place."""
    os.environ["EVERYCLASS_CACHE"] = str(tmp_path_factory.mktemp("cache"))
