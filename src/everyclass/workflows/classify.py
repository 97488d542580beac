"""Logits of images in files: for evaluation and prediction.

Comes in: a classifier, paths. Goes out: logits in the order of the paths, a portion at a time, and
what could not be read. Writes nothing; memory stays bounded.

On a processor each thread reads, decodes and classifies portions of its own, with one core: two
threads that share every convolution wait for one another at each of them, which beside other work
on the machine costs more than it gains. For an accelerator threads decode one batch ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from everyclass.images.contents import read_bytes
from everyclass.images.damage import UnreadableImage
from everyclass.images.greys import mean_greys_of
from everyclass.images.pixels import DecodedImage, decode_resized
from everyclass.models.classifier import Classifier
from everyclass.models.folding import folded
from everyclass.training.batches import Rows, to_images
from everyclass.training.fabric import Fabric
from everyclass.workflows.inference import EVALUATION_BATCH, computes_in_half, logit_batches

PORTION = 64
"""Images that one core classifies at a time: larger ones are no faster, and take more memory."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classified:
    """Logits of consecutive images, and the ones that could not be read.

    Args:
        rows: (B,) int64, positions of the images that were read, in order.
        logits: (B, C) float32.
        short_sides: (B,) int64, shorter side in pixels as stored.
        greys: (B,) float64, mean grey in [0, 1] at the network's size.
        failed: (position, reason) pairs.
    """

    rows: Rows
    logits: npt.NDArray[np.float32]
    short_sides: npt.NDArray[np.int64]
    greys: npt.NDArray[np.float64]
    failed: tuple[tuple[int, str], ...]


def classify_files(
    classifier: Classifier, images: Sequence[str], *, threads: int, fabric: Fabric
) -> Iterator[Classified]:
    """Classify images in order.

    Args:
        classifier: in evaluation mode, on the device of `fabric`.
        images: paths or URIs.
        threads: that decode, and on a processor classify.
    Raises:
        InputError: a URI whose protocol needs a package that is not installed.
    """
    if fabric.device.type == "cpu":
        return _on_cores(classifier, images, threads, fabric)
    return _on_accelerator(classifier, images, threads, fabric)


def portion_size(n: int, threads: int) -> int:
    """Images of a portion, of so many: fewer than `PORTION` where threads would have none."""
    return max(1, min(PORTION, -(-n // threads)))


def classify_portion(
    classifier: Classifier, images: Sequence[str], *, start: int, fabric: Fabric
) -> Classified:
    """Classify images together, on the processor and with this thread alone.

    Args:
        classifier: in evaluation mode, as `folded` makes it for the precision of `fabric`.
        start: position of the first image.
    """
    side = classifier.preprocessing.side
    loaded = _join(start, [_load(path, side) for path in images], side)
    if not len(loaded.rows):
        return _classified(loaded, _NO_LOGITS)
    with torch.inference_mode(), fabric.autocast():
        logits = classifier(to_images(loaded.pixels)).float().numpy()
    return _classified(loaded, logits)


def _on_cores(
    classifier: Classifier, images: Sequence[str], threads: int, fabric: Fabric
) -> Iterator[Classified]:
    size = portion_size(len(images), threads)
    classifier = folded(classifier, half=computes_in_half(fabric))

    def classify(start: int) -> Classified:
        torch.set_num_threads(1)
        return classify_portion(
            classifier, images[start : start + size], start=start, fabric=fabric
        )

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, thread_name_prefix="classify") as pool:
            starts = range(0, len(images), size)
            yield from _ahead(pool, classify, starts, most=2 * threads)
    finally:
        # PyTorch takes the last number set anywhere for the threads it meets next.
        torch.set_num_threads(before)


def _on_accelerator(
    classifier: Classifier, images: Sequence[str], threads: int, fabric: Fabric
) -> Iterator[Classified]:
    side = classifier.preprocessing.side
    for loaded in load_batches(images, side=side, threads=threads):
        logits = _NO_LOGITS
        if len(loaded.rows):
            (logits,) = logit_batches(classifier, iter([loaded.pixels]), fabric=fabric)
        yield _classified(loaded, logits)


_NO_LOGITS = np.zeros((0, 0), dtype=np.float32)


def _classified(loaded: LoadedBatch, logits: npt.NDArray[np.float32]) -> Classified:
    return Classified(
        rows=loaded.rows,
        logits=logits,
        short_sides=loaded.short_sides,
        greys=mean_greys_of(loaded.pixels),
        failed=loaded.failed,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedBatch:
    """Images of consecutive rows, and the ones that could not be read.

    Args:
        rows: (B,) rows that were read, in order.
        pixels: (B, S, S, 3) uint8.
        short_sides: (B,) int64, shorter side in pixels as stored.
        failed: (row, reason) pairs.
    """

    rows: Rows
    pixels: npt.NDArray[np.uint8]
    short_sides: npt.NDArray[np.int64]
    failed: tuple[tuple[int, str], ...]


def load_batches(images: Sequence[str], *, side: int, threads: int) -> Iterator[LoadedBatch]:
    """Decode images in order, a batch ahead of whoever consumes them; memory stays bounded.

    Args:
        images: paths or URIs.
        side: pixels.
        threads: that decode.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:

        def submit(start: int) -> tuple[int, list[Future[DecodedImage | str]]]:
            part = images[start : start + EVALUATION_BATCH]
            return start, [pool.submit(_load, path, side) for path in part]

        waiting: deque[tuple[int, list[Future[DecodedImage | str]]]] = deque()
        for start in range(0, len(images), EVALUATION_BATCH):
            waiting.append(submit(start))
            if len(waiting) > 1:
                yield _collect(*waiting.popleft(), side)
        while waiting:
            yield _collect(*waiting.popleft(), side)


def _collect(start: int, futures: list[Future[DecodedImage | str]], side: int) -> LoadedBatch:
    return _join(start, [future.result() for future in futures], side)


def _ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[int], Classified],
    starts: Iterable[int],
    *,
    most: int,
) -> Iterator[Classified]:
    """Results in order, of which at most so many are under way or wait."""
    waiting: deque[Future[Classified]] = deque()
    try:
        for start in starts:
            waiting.append(pool.submit(work, start))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _load(path: str, side: int) -> DecodedImage | str:
    try:
        return decode_resized(read_bytes(path), side=side)
    except UnreadableImage as error:
        return error.reason


def _join(start: int, results: Sequence[DecodedImage | str], side: int) -> LoadedBatch:
    read = [(start + k, found) for k, found in enumerate(results) if not isinstance(found, str)]
    pixels = [found.rgb for _, found in read]
    return LoadedBatch(
        rows=np.array([row for row, _ in read], dtype=np.int64),
        pixels=np.stack(pixels) if pixels else np.zeros((0, side, side, 3), dtype=np.uint8),
        short_sides=np.array([min(found.width, found.height) for _, found in read], dtype=np.int64),
        failed=tuple(
            (start + k, found) for k, found in enumerate(results) if isinstance(found, str)
        ),
    )
