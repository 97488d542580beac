import numpy as np
from sklearn.datasets import load_digits


def load_images(root):
    """Is it an eight? One image in ten is. 16 x 16."""
    digits = load_digits()
    images = (digits.images * 255 / 16).astype(np.uint8)
    images = images.repeat(2, axis=1).repeat(2, axis=2)[..., None]
    return images, (digits.target == 8).astype(int), ["other", "eight"]
