"""Images in arrays -> 8-bit pixels, and files of them that a training can read.

Comes in: numbers of any kind, as scikit-learn's users hold them. Goes out: (N, H, W) or
(N, H, W, 3) uint8, and a manifest beside PNG files. Guesses a shape only where one alone fits, and
says which range of values it took.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from everyclass.errors import InputError

Pixels = npt.NDArray[np.uint8]

_PLAIN_NAME = re.compile(r"(0|[1-9][0-9]*|[A-Za-z_]([\w -]*\w)?)", re.ASCII)
"""What a label looks like that a manifest gives back letter by letter."""


def shape_of_rows(
    n_features: int, image_shape: Sequence[int] | None
) -> tuple[tuple[int, ...], str]:
    """Height, width and perhaps 3 of the image in each flat row; a sentence where it is a guess.

    Args:
        n_features: numbers in a row.
        image_shape: as the user gave it; None takes a square where it is one, else a row of pixels.
    Raises:
        InputError: a shape that is none, or has another number of values.
    """
    if image_shape is None:
        side = math.isqrt(n_features)
        if side * side == n_features:
            return (side, side), ""
        return (1, n_features), (
            f"Each row of X has {n_features} values, which make no square: it is taken as an image "
            f"of 1 x {n_features} pixels. Say image_shape=(height, width) or (height, width, 3)."
        )
    shape = tuple(int(size) for size in image_shape)
    if len(shape) not in (2, 3) or min(shape) < 1 or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise InputError(
            f"image_shape is {image_shape!r}.", remedy="Give (height, width) or (height, width, 3)."
        )
    if math.prod(shape) != n_features:
        raise InputError(
            f"image_shape {shape} makes {math.prod(shape)} values, and each row of X has "
            f"{n_features}.",
            remedy="Correct image_shape.",
        )
    return shape, ""


def value_range_of(values: npt.NDArray[Any]) -> tuple[float, float]:
    """What becomes black and white: 0 and 255 of bytes, 0 and 1 of truth values and of floats
    within; else the least and the largest value."""
    if values.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(values.min()), float(values.max())
    unit = values.dtype == np.bool_ or (values.dtype.kind == "f" and low >= 0 and high <= 1)
    if unit:
        return 0.0, 1.0
    return low, high if high > low else low + 1.0


def to_pixels(values: npt.NDArray[Any], value_range: tuple[float, float]) -> Pixels:
    """The same shape as uint8; values outside the range become its ends."""
    low, high = value_range
    if values.dtype == np.uint8 and (low, high) == (0.0, 255.0):
        return values
    shares = (values.astype(np.float64) - low) / (high - low)
    pixels: Pixels = np.rint(255 * shares.clip(0, 1)).astype(np.uint8)
    return pixels


def as_images(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(N, H, W) or (N, H, W, 3), a last axis of 1 left out.

    Raises:
        InputError: no such shape.
    """
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if (values.ndim == 3 or (values.ndim == 4 and values.shape[3] == 3)) and min(values.shape) > 0:
        return values
    hint = ""
    if values.ndim == 4 and values.shape[1] in (1, 3):
        hint = "Channels come last: X.transpose(0, 2, 3, 1). "
    raise InputError(
        f"X has shape {values.shape}.",
        remedy=f"{hint}Give (images, height, width), (images, height, width, 3), flat rows with "
        "image_shape, or paths.",
    )


def write_pixels(folder: Path, pixels: Pixels) -> list[str]:
    """A PNG file an image, in order; their paths."""
    folder.mkdir(parents=True)
    paths = [str(folder / f"{number:07d}.png") for number in range(len(pixels))]
    for path, image in zip(paths, pixels):
        Image.fromarray(np.ascontiguousarray(image)).save(path, compress_level=1)
    return paths


def write_labels(path: Path, images: Sequence[str], labels: Sequence[str]) -> None:
    """A Parquet manifest of images and the names of their classes."""
    columns = {"image": pa.array(images, pa.string()), "label": pa.array(labels, pa.string())}
    parquet.write_table(pa.table(columns), path)


def class_names(classes: Sequence[Any]) -> tuple[str, ...]:
    """A name for each class: as it prints, where that is plain and tells them apart."""
    names = tuple(str(one) for one in classes)
    plain = all(_PLAIN_NAME.fullmatch(name) for name in names)
    if plain and len(set(names)) == len(names):
        return names
    return tuple(f"class {number}" for number in range(len(names)))
