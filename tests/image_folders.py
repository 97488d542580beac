"""Small image files that a small network can tell apart, made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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
