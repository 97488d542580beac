"""Resized images, decoded once: a memory-mapped file in a folder.

Comes in: a table and a side. Goes out: batches of (B, side, side, 3) uint8, from the file where
it holds them and from the images themselves where it does not. It knows no labels and no order.

A row counts as stored when the checksum written after its pixels is theirs. Hence a process may be
killed at any moment, or the machine lose power: a half-written row fails its checksum and is
decoded again. Several processes may fill one store: they write the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from everyclass.errors import InputError
from everyclass.images.damage import UnreadableImage
from everyclass.images.pixels import load_image
from everyclass.images.resizing import RGB
from everyclass.images.store_files import StoredPixels, StoreFolder, bytes_needed, open_files
from everyclass.images.table import ImageTable

Rows = Sequence[int] | npt.NDArray[np.integer[Any]]


class ImageStore:
    """The resized images of a table's rows.

    Safe to use from several threads. Close it, or use it in a `with` statement.

    Attributes:
        side: in pixels.
        without_file: why each image is decoded at each use; "" when there is a file.
    """

    def __init__(
        self,
        table: ImageTable,
        *,
        side: int,
        threads: int,
        folder: Path | None = None,
        limit_bytes: int | None = None,
        identity: str | None = None,
    ) -> None:
        """Open the store in `folder`, or make it there.

        Args:
            table: its row numbers are the store's. A store made for another table, side or
                definition of a pixel is replaced, never reused.
            side: in pixels.
            threads: how many decode what is not stored.
            folder: for the files; None = no file.
            limit_bytes: above it, no file is made; None = as much as the disk has room for.
            identity: tells the rows of one table from those of another; None = its fingerprint.
        """
        self.side = side
        self._images = table.images
        self._rows: npt.NDArray[np.int64] = np.arange(len(table))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._where: StoreFolder | None = None
        self.without_file = "no folder for the decoded images was given"
        if folder is not None:
            self._where, self.without_file = open_files(
                folder, len(table), side, identity or table.fingerprint(), limit_bytes
            )
        self._files: StoredPixels | None = None if self._where is None else self._where.open()

    @staticmethod
    def bytes_needed(n: int, *, side: int) -> int:
        """Size of the files for n images."""
        return bytes_needed(n, side=side)

    def __enter__(self) -> ImageStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding threads. The files need no closing: what was put is in them."""
        self._pool.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, rows: Rows) -> ImageStore:
        """The store seen through another table: row i of the result is `rows[i]` of this one.

        Files and threads are shared, so that one store serves a table, its usable rows and their
        splits: `store.take(kept).take(train_rows)`.
        """
        view = object.__new__(ImageStore)
        view.__dict__.update(self.__dict__)
        view._rows = self._rows[np.asarray(rows, dtype=np.int64)]
        return view

    def stored(self) -> npt.NDArray[np.bool_]:
        """(N,) bool: the rows that need no decoding any more."""
        if self._files is None:
            return np.zeros(len(self), dtype=bool)
        return self._files.holds(self._rows)

    @property
    def files(self) -> StoredPixels | None:
        """The files, for who fills them by `places`; None when there are none."""
        return self._files

    @property
    def folder(self) -> StoreFolder | None:
        """Where the files are, for another process; None when there are none."""
        return self._where

    def places(self, rows: Rows) -> list[int]:
        """The rows of the files that these rows are."""
        found: list[int] = self._rows[np.asarray(rows, dtype=np.int64)].tolist()
        return found

    def put(self, row: int, pixels: RGB) -> None:
        """Keep the pixels of a row, (side, side, 3) uint8; without a file, do nothing."""
        if self._files is not None:
            self._files.put(int(self._rows[row]), pixels)

    def gather(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """The images of these rows, in this order; what is not stored is decoded, and kept.

        Returns:
            (B, side, side, 3) uint8, a copy.
        Raises:
            InputError: an image that cannot be read (any more); the others are not returned.
        """
        where = self._rows[np.asarray(rows, dtype=np.int64)]
        if self._files is None:
            batch = np.empty((len(where), self.side, self.side, 3), dtype=np.uint8)
            missing = np.arange(len(where))
        else:
            missing = np.flatnonzero(~self._files.holds(where))
            batch = self._files.pixels[where]
        for place, pixels in zip(missing, self._pool.map(self._decode, where[missing])):
            batch[place] = pixels
        return batch

    def _decode(self, row: np.int64) -> RGB:
        path = self._images[int(row)]
        try:
            pixels = load_image(path, side=self.side)
        except UnreadableImage as error:
            raise InputError(
                f"{error.reason}.",
                where=path,
                remedy="It was in the data set when the run began: put it back, or run the audit "
                "again to set it aside.",
            ) from error
        if self._files is not None:
            self._files.put(int(row), pixels)
        return pixels
