import numpy as np
from sklearn.datasets import load_digits


def load_images(root):
    """Digits with a long tail: 178 zeros down to about 9 nines, 16 x 16."""
    digits = load_digits()
    images = (digits.images * 255 / 16).astype(np.uint8)
    images = images.repeat(2, axis=1).repeat(2, axis=2)[..., None]
    keep = []
    for digit in range(10):
        found = np.flatnonzero(digits.target == digit)
        keep.extend(found[: int(len(found) * 20 ** (-digit / 9))])
    return images[keep], digits.target[keep], [str(digit) for digit in range(10)]
