import numpy as np
from sklearn.datasets import load_digits


def load_images(root):
    """The 1,797 handwritten digits of scikit-learn, enlarged to 16 x 16."""
    digits = load_digits()
    images = (digits.images * 255 / 16).astype(np.uint8)
    images = images.repeat(2, axis=1).repeat(2, axis=2)[..., None]
    return images, digits.target, [str(digit) for digit in range(10)]
