"""EXIF orientation: what a header says, and pixels turned upright."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from everyclass.images.damage import DAMAGE

_TAG = 0x0112


def exif_orientation(image: Image.Image) -> int:
    """1 to 8; 1 = upright. Broken EXIF is no reason to lose a picture: it counts as 1."""
    try:
        value = image.getexif().get(_TAG, 1)
    except DAMAGE:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(rgb: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Turn and mirror (H, W, 3) pixels as the orientation asks; C-contiguous.

    Source: EXIF 2.32, tag 0x0112.
    """
    if orientation in (5, 6, 7, 8):
        rgb = rgb.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    return np.ascontiguousarray(rgb)
