"""Logits of images that are at hand: in arrays, or in files that must all be readable.

Comes in: a saved model, pixels or paths. Goes out: a row of logits an image, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from everyclass.errors import InputError
from everyclass.images.resizing import resize
from everyclass.models.file import SavedModel
from everyclass.settings import Device
from everyclass.workflows.classify import classify_files
from everyclass.workflows.inference import answering_precision, logits_of, make_fabric
from everyclass.workflows.machine import find_machine


def logits_of_pixels(
    model: SavedModel, pixels: npt.NDArray[np.uint8], *, device: str | None
) -> npt.NDArray[np.float32]:
    """(N, C) logits.

    Args:
        pixels: (N, H, W) greys or (N, H, W, 3) RGB; resized as images from files are.
        device: None for the fastest.
    """
    machine = find_machine(cast(Device | None, device))
    precision = answering_precision(model.precision, machine)
    fabric = make_fabric(device=machine.device, precision=precision)
    side = model.classifier.preprocessing.side

    def read(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return np.stack([resize(_rgb(pixels[row]), side=side) for row in rows])

    classifier = model.classifier.to(fabric.device)
    return logits_of(classifier, read, np.arange(len(pixels), dtype=np.int64), fabric=fabric)


def logits_of_files(
    model: SavedModel, paths: Sequence[str], *, device: str | None
) -> npt.NDArray[np.float32]:
    """(N, C) logits.

    Raises:
        InputError: an image cannot be read (the first one is named).
    """
    machine = find_machine(cast(Device | None, device))
    precision = answering_precision(model.precision, machine)
    fabric = make_fabric(device=machine.device, precision=precision)
    parts = []
    classifier = model.classifier.to(fabric.device)
    for found in classify_files(classifier, paths, threads=machine.threads, fabric=fabric):
        if found.failed:
            row, reason = found.failed[0]
            raise InputError(f"{paths[row]} cannot be used: {reason}.", remedy="Leave it out.")
        parts.append(found.logits)
    return np.concatenate(parts)


def _rgb(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    return np.ascontiguousarray(image)
