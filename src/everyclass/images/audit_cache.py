"""Records of images between audits: what has not changed is not read again.

Comes in: a folder and the images of a table. Goes out: the records of those whose file has the size
and the time of change that it had; afterwards the records of all. An image is known by its absolute
path, its URI or its place in a larger file. What is on the web, where nothing says that a file has
changed, is not kept, and neither is a file changed within two seconds of being measured: it may
change again within the same tick of the clock.

One file a data set and size, replaced as a whole. What cannot be read, or belongs to another
version, is no cache.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from everyclass.images.contents import absolute, stamps_of
from everyclass.images.listing import is_uri
from everyclass.images.pixels import PIXELS_VERSION
from everyclass.images.records import RECORD, RECORDS_VERSION, Records

FILE_RECORD = np.dtype(
    [("path", "<u8", 2), ("size", "<i8"), ("changed", "<i8"), ("record", RECORD)]
)
"""BLAKE2b of the absolute path or address, size and change of its file (`contents.Stamp`), the
image's record (its row is of no meaning between audits)."""

SETTLED_NS = 2_000_000_000
"""Coarsest tick of a file system's clock (FAT: two seconds)."""

MOST_FILES = 50
"""Caches that are kept; the ones used longest ago go first."""

_Stats = npt.NDArray[np.void]


class AuditCache:
    """The records of one data set at one size.

    Args:
        folder: for caches of all data sets.
        source: folder or manifest of the data set.
        side: the training size in pixels.

    Attributes:
        remembered: images of the last look-up that need not be read.
    """

    def __init__(self, folder: Path, *, source: str, side: int) -> None:
        version = f"{PIXELS_VERSION}.{RECORDS_VERSION}.{RECORD.itemsize}"
        where = source if is_uri(source) else str(Path(source).resolve())
        name = hashlib.blake2b(f"{where}\n{side}\n{version}".encode(), digest_size=12).hexdigest()
        self._file = folder / f"{name}.npy"
        self._files: _Stats = np.zeros(0, dtype=FILE_RECORD)
        self.remembered = 0

    def look_up(self, images: Sequence[str]) -> Records:
        """The records of the files that are as they were, with their rows of this table."""
        self._files = stats_of(images)
        known = self._read()
        if not len(known) or not len(self._files):
            return np.zeros(0, dtype=RECORD)
        order = np.lexsort((known["path"][:, 1], known["path"][:, 0]))
        known = known[order]
        keys, wanted = _keys(known["path"]), _keys(self._files["path"])
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        there = known[place]
        same = (
            (keys[place] == wanted)
            & (there["size"] == self._files["size"])
            & (there["changed"] == self._files["changed"])
            & (self._files["size"] >= 0)
        )
        found = np.ascontiguousarray(there["record"][same])
        found["row"] = np.flatnonzero(same)
        self.remembered = len(found)
        return found

    def keep(self, records: Records) -> None:
        """Remember these records of the table that was looked up; quietly nothing where the folder
        cannot be written."""
        own = self._files[records["row"]]
        own["record"] = records
        before = time.time_ns() - SETTLED_NS
        own = own[(own["size"] >= 0) & (own["changed"] < before)]
        temporary = self._file.with_name(f"{self._file.name}.{os.getpid()}.tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.save(file, own)
            temporary.replace(self._file)
            _evict(self._file.parent)
        except OSError:
            with suppress(OSError):
                temporary.unlink()

    def _read(self) -> _Stats:
        try:
            found = np.load(self._file, allow_pickle=False)
            os.utime(self._file)
        except (OSError, ValueError, EOFError):
            return np.zeros(0, dtype=FILE_RECORD)
        fits = isinstance(found, np.ndarray) and found.dtype == FILE_RECORD
        return found if fits else np.zeros(0, dtype=FILE_RECORD)


def _keys(paths: npt.NDArray[np.uint64]) -> npt.NDArray[np.void]:
    """Both halves of each path's digest as one value that can be ordered."""
    halves = np.ascontiguousarray(paths)
    return halves.view([("high", "<u8"), ("low", "<u8")])[:, 0]


def stats_of(images: Sequence[str]) -> npt.NDArray[np.void]:
    """(N,) `FILE_RECORD`: digest of what names the image, size and time of change of its file, its
    record left empty; size -1 for what cannot be asked without reading it."""
    files = np.zeros(len(images), dtype=FILE_RECORD)
    if len(files):
        digests = b"".join(
            hashlib.blake2b(os.fsencode(absolute(image)), digest_size=16).digest()
            for image in images
        )
        files["path"] = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
        stamps = np.array(list(stamps_of(images)), dtype=np.int64)
        files["size"], files["changed"] = stamps.T
    return files


def _evict(folder: Path) -> None:
    caches = sorted(folder.glob("*.npy"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in caches[MOST_FILES:]:
        file.unlink(missing_ok=True)
