"""The two files of a store of images: their pixels, and a checksum a row.

Comes in: a folder. Goes out: the files, mapped into memory. Whole or replaced, never half: see
`store`, which says which images the rows are.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from everyclass.images.pixels import PIXELS_VERSION
from everyclass.images.resizing import RGB

_HEADER, _PIXELS, _CHECKS = "store.json", "pixels.u8", "checks.u32"
_KEPT_FREE = 0.1  # of the free disk space: the run has checkpoints to write


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredPixels:
    """The mapped files.

    Attributes:
        pixels: (N, side, side, 3) uint8.
        checks: (N,) uint32, a CRC-32 a row; 0 = nothing stored.
        verified: (N,) bool, rows whose checksum this process has compared, or written.
    """

    pixels: npt.NDArray[np.uint8]
    checks: npt.NDArray[np.uint32]
    verified: npt.NDArray[np.bool_]

    def holds(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of these rows are stored, whole. Each checksum is computed once a process."""
        for row in rows[~self.verified[rows] & (self.checks[rows] != 0)]:
            self.verified[row] = self.checks[row] == _check(self.pixels[row])
        return self.verified[rows]

    def put(self, row: int, pixels: RGB) -> None:
        """Keep the pixels of a row."""
        self.pixels[row] = pixels
        self.checks[row] = _check(pixels)
        self.verified[row] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFolder:
    """Where the files are, and their shape: what another process needs to open them.

    Attributes:
        folder: of the files.
        n: rows.
        side: in pixels.
    """

    folder: str
    n: int
    side: int

    def open(self) -> StoredPixels:
        """The files, which must be there."""
        shape = (self.n, self.side, self.side, 3)
        folder = Path(self.folder)
        return StoredPixels(
            pixels=np.memmap(folder / _PIXELS, np.uint8, "r+", shape=shape),
            checks=np.memmap(folder / _CHECKS, np.uint32, "r+", shape=(self.n,)),
            verified=np.zeros(self.n, dtype=bool),
        )


def _check(pixels: npt.NDArray[np.uint8]) -> int:
    # 0 means "nothing here", so the one checksum in four billion that is 0 is stored as 1.
    return zlib.crc32(np.ascontiguousarray(pixels).data) or 1


def bytes_needed(n: int, *, side: int) -> int:
    """Size of the files for n images."""
    return n * (side * side * 3 + 4)


def open_files(
    folder: Path, n: int, side: int, identity: str, limit_bytes: int | None
) -> tuple[StoreFolder | None, str]:
    """The files for n images, those that are there or new ones; or None, and why there are none.

    Args:
        identity: tells the rows of one table from those of another.
        limit_bytes: above it, no file is made; None = as much as the disk has room for.
    """
    if n == 0:
        return None, "there are no images"
    header: dict[str, int | str] = {
        "side": side,
        "n": n,
        "table": identity,
        "pixels_version": PIXELS_VERSION,
    }
    if not _is_whole(folder, header):
        why_not = _too_large(folder, bytes_needed(n, side=side), limit_bytes)
        if why_not:
            return None, why_not
        try:
            _make_files(folder, header, n, side)
        except OSError as error:  # the disk filled up meanwhile, or cannot be written
            return None, f"{folder} cannot hold the decoded images: {error.strerror}"
    return StoreFolder(folder=str(folder.resolve()), n=n, side=side), ""


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
