"""Resized images, decoded once: a memory-mapped file in a folder.

Comes in: a table and a side. Goes out: batches of (B, side, side, 3) uint8, from the file where
it holds them and from the images themselves where it does not. It knows no labels and no order.

A row counts as stored when the checksum written after its pixels is theirs. Hence a process may be
killed at any moment, or the machine lose power: a half-written row fails its checksum and is
decoded again. Several processes may fill one store: they write the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from everyclass.errors import InputError
from everyclass.images.pixels import PIXELS_VERSION, UnreadableImage, load_image
from everyclass.images.resizing import RGB
from everyclass.images.table import ImageTable

Rows = Sequence[int] | npt.NDArray[np.integer[Any]]

_HEADER, _PIXELS, _CHECKS = "store.json", "pixels.u8", "checks.u32"
_KEPT_FREE = 0.1  # of the free disk space: the run has checkpoints to write


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Files:
    """The two mapped files: pixels, and a CRC-32 a row (0 = nothing stored)."""

    pixels: npt.NDArray[np.uint8]
    checks: npt.NDArray[np.uint32]
    verified: npt.NDArray[np.bool_]  # rows whose checksum this process has compared, or written

    def holds(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of these rows are stored, whole. Each checksum is computed once a process."""
        for row in rows[~self.verified[rows] & (self.checks[rows] != 0)]:
            self.verified[row] = self.checks[row] == _check(self.pixels[row])
        return self.verified[rows]

    def put(self, row: int, pixels: RGB) -> None:
        self.pixels[row] = pixels
        self.checks[row] = _check(pixels)
        self.verified[row] = True


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
        self._files: _Files | None = None
        self.without_file = "no folder for the decoded images was given"
        if folder is not None:
            self._files, self.without_file = _open_files(
                folder, len(table), side, identity or table.fingerprint(), limit_bytes
            )

    @staticmethod
    def bytes_needed(n: int, *, side: int) -> int:
        """Size of the files for n images."""
        return n * (side * side * 3 + 4)

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


def _check(pixels: npt.NDArray[np.uint8]) -> int:
    # 0 means "nothing here", so the one checksum in four billion that is 0 is stored as 1.
    return zlib.crc32(np.ascontiguousarray(pixels).data) or 1


def _open_files(
    folder: Path, n: int, side: int, identity: str, limit_bytes: int | None
) -> tuple[_Files | None, str]:
    """The files, and why there are none."""
    if n == 0:
        return None, "there are no images"
    header: dict[str, int | str] = {
        "side": side,
        "n": n,
        "table": identity,
        "pixels_version": PIXELS_VERSION,
    }
    if not _is_whole(folder, header):
        why_not = _too_large(folder, ImageStore.bytes_needed(n, side=side), limit_bytes)
        if why_not:
            return None, why_not
        try:
            _make_files(folder, header, n, side)
        except OSError as error:  # the disk filled up meanwhile, or cannot be written
            return None, f"{folder} cannot hold the decoded images: {error.strerror}"
    shape = (n, side, side, 3)
    return _Files(
        pixels=np.memmap(folder / _PIXELS, np.uint8, "r+", shape=shape),
        checks=np.memmap(folder / _CHECKS, np.uint32, "r+", shape=(n,)),
        verified=np.zeros(n, dtype=bool),
    ), ""


def _is_whole(folder: Path, header: dict[str, int | str]) -> bool:
    """Whether the folder holds a store with this header and files of the size it implies."""
    n, side = int(header["n"]), int(header["side"])
    try:
        stated = json.loads((folder / _HEADER).read_text())
        sizes = [(folder / name).stat().st_size for name in (_PIXELS, _CHECKS)]
    except (FileNotFoundError, ValueError):
        return False
    return bool(stated == header and sizes == [n * side * side * 3, n * 4])


def _too_large(folder: Path, needed: int, limit_bytes: int | None) -> str:
    if limit_bytes is not None and needed > limit_bytes:
        return f"{needed / 1e9:.1f} GB of decoded images exceed the limit of {limit_bytes / 1e9:g}"
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free * (1 - _KEPT_FREE):
        return f"{needed / 1e9:.1f} GB of decoded images; {folder} has {free / 1e9:.1f} GB free"
    return ""


def _make_files(folder: Path, header: dict[str, int | str], n: int, side: int) -> None:
    """New files of full size, filled with zeros, and then the header that makes them valid.

    A new file takes the place of an old one instead of emptying it: whoever still has the old one
    mapped keeps it. The space is reserved now, because a full disk would later kill the process
    (a bus error) in the middle of a write to the map.
    """
    (folder / _HEADER).unlink(missing_ok=True)
    for name, size in ((_PIXELS, n * side * side * 3), (_CHECKS, n * 4)):
        _replace(folder / name, b"", size)
    _replace(folder / _HEADER, json.dumps(header, indent=1).encode(), 0)


def _replace(path: Path, content: bytes, size: int) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            if size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            elif size:
                file.truncate(size)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
