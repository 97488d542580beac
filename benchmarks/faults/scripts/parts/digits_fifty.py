import numpy as np
from sklearn.datasets import load_digits


def load_images(root):
    """50 classes: each digit upright, inverted, turned left, turned right, and shaded. 16 x 16."""
    digits = load_digits()
    upright = (digits.images * 255 / 16).astype(np.uint8)
    shade = np.linspace(0, 127, 8).astype(np.uint8)
    versions = [
        upright,
        255 - upright,
        np.rot90(upright, 1, axes=(1, 2)),
        np.rot90(upright, 3, axes=(1, 2)),
        upright // 2 + shade,
    ]
    images = np.concatenate(versions).repeat(2, axis=1).repeat(2, axis=2)[..., None]
    labels = np.concatenate([digits.target + 10 * k for k in range(len(versions))])
    return images, labels, [f"{digit}-{k}" for k in range(len(versions)) for digit in range(10)]
