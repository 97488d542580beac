"""Logits of many images, a batch at a time: for validation, evaluation and prediction."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import nn

from everyclass.images.pixels import UnreadableImage, load_image
from everyclass.training.batches import ReadImages, Rows, to_images

EVALUATION_BATCH = 256


def make_fabric(*, device: str, precision: str) -> Fabric:
    """Fabric for one device. `precision` is fp32, bf16 or fp16."""
    names = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
    return Fabric(accelerator=device, devices=1, precision=names[precision])


def logits_of(
    model: nn.Module, read: ReadImages, rows: Rows, *, fabric: Fabric
) -> npt.NDArray[np.float32]:
    """(len(rows), C) float32 logits, in evaluation mode; the model's mode is put back."""
    parts = list(logit_batches(model, (read(part) for part in batches_of(rows)), fabric=fabric))
    return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)


def batches_of(rows: Rows) -> Iterator[Rows]:
    """Consecutive rows in batches of `EVALUATION_BATCH`."""
    for start in range(0, len(rows), EVALUATION_BATCH):
        yield rows[start : start + EVALUATION_BATCH]


def logit_batches(
    model: nn.Module, pixels: Iterator[npt.NDArray[np.uint8]], *, fabric: Fabric
) -> Iterator[npt.NDArray[np.float32]]:
    """Logits of each (B, S, S, 3) uint8 batch."""
    training = model.training
    model.eval()
    try:
        for batch in pixels:
            with torch.inference_mode(), fabric.autocast():
                logits = model(fabric.to_device(to_images(batch)))
            yield logits.float().cpu().numpy()
    finally:
        model.train(training)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBatch:
    """Images of consecutive rows, and the ones that could not be read.

    Args:
        rows: (B,) rows that were read, in order.
        pixels: (B, S, S, 3) uint8.
        failed: (row, reason) pairs.
    """

    rows: Rows
    pixels: npt.NDArray[np.uint8]
    failed: tuple[tuple[int, str], ...]


def load_batches(paths: Sequence[str], *, side: int, threads: int) -> Iterator[LoadedBatch]:
    """Decode images in order, a batch ahead of whoever consumes them; memory stays bounded.

    Args:
        paths: files or URIs.
        side: pixels.
        threads: that decode.
    """
    starts = range(0, len(paths), EVALUATION_BATCH)
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:

        def submit(start: int) -> list[Future[npt.NDArray[np.uint8] | str]]:
            stop = min(start + EVALUATION_BATCH, len(paths))
            return [pool.submit(_load, paths[row], side) for row in range(start, stop)]

        waiting: deque[tuple[int, list[Future[npt.NDArray[np.uint8] | str]]]] = deque()
        for start in starts:
            waiting.append((start, submit(start)))
            if len(waiting) > 1:
                yield _collect(*waiting.popleft(), side)
        while waiting:
            yield _collect(*waiting.popleft(), side)


def _load(path: str, side: int) -> npt.NDArray[np.uint8] | str:
    try:
        return load_image(path, side=side)
    except UnreadableImage as error:
        return error.reason


def _collect(
    start: int, futures: list[Future[npt.NDArray[np.uint8] | str]], side: int
) -> LoadedBatch:
    results = [future.result() for future in futures]
    read = [(start + k, found) for k, found in enumerate(results) if not isinstance(found, str)]
    pixels = [found for _, found in read]
    return LoadedBatch(
        rows=np.array([row for row, _ in read], dtype=np.int64),
        pixels=np.stack(pixels) if pixels else np.zeros((0, side, side, 3), dtype=np.uint8),
        failed=tuple(
            (start + k, found) for k, found in enumerate(results) if isinstance(found, str)
        ),
    )
