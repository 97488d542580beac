"""Real images for an export: to compare answers on, to calibrate with. At the size of their files.

Comes in: a run, or what a user names. Goes out: paths with labels, and their pixels batch by batch.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from everyclass.errors import InputError
from everyclass.images.contents import read_bytes
from everyclass.images.damage import UnreadableImage
from everyclass.images.pixels import decode
from everyclass.images.readers_rules import plural
from everyclass.images.table import SPLITS
from everyclass.run_folder import RunFolder
from everyclass.serving.artifact import Images
from everyclass.workflows.data_source import DataSource

MOST_IMAGES = 1000
"""That answers are compared on; of more, as many evenly apart."""

MOST_CALIBRATION = 256
"""Training images that ranges are measured on."""

BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RealImages:
    """Paths, and what they show.

    Args:
        paths: local paths or URIs.
        labels: (N,) int64, position in the model's classes; -1 where none is known.
        words: "348 test images".
    """

    paths: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunImages:
    """The images that a run was trained and judged on.

    Args:
        keys: (N,) what names each in the manifest.
        labels: (N,) int64.
        splits: (N,) int8, as `ImageTable.split_codes`.
        root: what stands before the keys that are relative.
    """

    keys: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    splits: npt.NDArray[np.int8]
    root: str

    @classmethod
    def of(cls, run: RunFolder, moved_to: str | None) -> RunImages:
        """As `manifest.parquet` has them.

        Args:
            moved_to: a folder that holds the images now, if they are there; else where they were.
        Raises:
            InputError: the manifest is missing or damaged.
        """
        try:
            rows = pq.read_table(run.manifest, columns=["image", "label", "split"])
        except (OSError, ValueError) as error:
            raise InputError(
                f"{run.manifest} cannot be read ({error}).", remedy="Restore it, or train again."
            ) from None
        keys = tuple(rows["image"].to_pylist())
        root = _root(run.predictions, keys)
        if moved_to is not None and Path(moved_to, keys[0]).is_file():
            root = f"{moved_to.rstrip('/')}/"
        return cls(
            keys=keys, labels=rows["label"].to_numpy(), splits=rows["split"].to_numpy(), root=root
        )

    def judged(self) -> RealImages:
        """Test images, or validation images where there are none.

        Raises:
            InputError: they are no longer where they were.
        """
        for split in ("test", "val"):
            rows = np.flatnonzero(self.splits == SPLITS.index(split))
            if len(rows):
                name = "test" if split == "test" else "validation"
                return self._at(evenly(rows, MOST_IMAGES), f"{name} image", len(rows))
        raise InputError(
            "The run has neither test nor validation images.", remedy="Name some with --images."
        )

    def calibrating(self) -> RealImages:
        """Training images, as many of each class as there are, up to `MOST_CALIBRATION` in all."""
        rows = np.flatnonzero(self.splits == SPLITS.index("train"))
        by_class = [rows[self.labels[rows] == label] for label in np.unique(self.labels[rows])]
        share = -(-MOST_CALIBRATION // max(len(by_class), 1))
        chosen = np.concatenate([evenly(found, share) for found in by_class])
        return self._at(evenly(chosen, MOST_CALIBRATION), "training image", len(rows))

    def _at(self, rows: npt.NDArray[np.int64], noun: str, of: int) -> RealImages:
        paths = tuple(_path(self.root, self.keys[row]) for row in rows)
        if "://" not in paths[0] and not Path(paths[0]).is_file():
            raise InputError(
                f"The run's images are gone: there is no file {paths[0]}.",
                remedy="Put them back, or name the folder that they are in with --images.",
            )
        return RealImages(paths=paths, labels=self.labels[rows], words=_words(len(rows), noun, of))


def given_images(source: str, classes: Sequence[str]) -> RealImages:
    """The images of a folder or manifest, with labels where their classes are the model's.

    Raises:
        InputError: it cannot be read, or holds no images.
    """
    table = DataSource(source=source).read(require_labels=False)
    position = {name: k for k, name in enumerate(classes)}
    # A label of -1 (none) takes the last entry, -1 again.
    order = np.array([position.get(name, -1) for name in table.classes] + [-1], dtype=np.int64)
    rows = evenly(np.arange(len(table)), MOST_IMAGES)
    if not len(rows):
        raise InputError(f"{source} holds no images.", remedy="Name others with --images.")
    return RealImages(
        paths=tuple(table.image(int(row)) for row in rows),
        labels=order[table.labels()[rows]],
        words=f"{_words(len(rows), 'image', len(table))} of {source}",
    )


def raw_batches(paths: Sequence[str]) -> Iterator[tuple[npt.NDArray[np.int64], Images]]:
    """Consecutive images of one size, undiminished; unreadable ones are left out.

    Yields:
        positions in `paths`, and (B, 3, H, W) uint8 RGB, B at most `BATCH`.
    """
    rows, waiting = list[int](), list[npt.NDArray[np.uint8]]()
    for row, path in enumerate(paths):
        try:
            rgb = decode(read_bytes(path)).rgb
        except UnreadableImage:
            continue
        if waiting and (len(waiting) == BATCH or waiting[0].shape != rgb.shape):
            yield np.array(rows), _as_batch(waiting)
            rows, waiting = [], []
        rows.append(row)
        waiting.append(rgb)
    if waiting:
        yield np.array(rows), _as_batch(waiting)


def evenly(rows: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """At most so many of the rows, evenly apart."""
    if len(rows) <= most:
        return rows
    return rows[np.arange(most) * len(rows) // most]


def _as_batch(images: Sequence[npt.NDArray[np.uint8]]) -> Images:
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))


def _words(n: int, noun: str, of: int) -> str:
    return plural(of, noun) if n == of else f"{n:,} of {plural(of, noun)}"


def _path(root: str, key: str) -> str:
    return key if "://" in key or Path(key).is_absolute() else root + key


def _root(predictions: Path, keys: Sequence[str]) -> str:
    """What stands before the keys, read from an image whose whole path the run wrote down."""
    known = set(keys)
    try:
        with open(predictions, newline="", encoding="utf-8") as file:
            images = [row["image"] for row, _ in zip(csv.DictReader(file), range(1))]
    except (OSError, KeyError, ValueError, csv.Error):
        return ""
    for image in images:
        for start in [0, *(k + 1 for k, letter in enumerate(image) if letter in "/\\")]:
            if image[start:] in known:
                return image[:start]
    return ""
