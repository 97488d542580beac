"""Where an image's bytes are, and how to know that they have changed.

Comes in: what the image column of a table holds. Goes out: bytes; size and time of change. All that
decodes an image asks here, so that audit, training, evaluation and prediction work alike on

    path or URI                  a file on this machine, or behind fsspec (s3://, gs://, https://)
    tar://FILE#MEMBER            a member of a tar archive           (`tar_members`)
    parquet://FILE#COLUMN:ROW    a cell, rows counted from 1         (`cells`)
    arrow://FILE#COLUMN:ROW      a cell of an Arrow file             (`cells`)
    slide://FILE#PART            a thumbnail or tile of a slide      (`slides`)

FILE is a path or URI itself. `addresses` says how these are written and taken apart.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from everyclass.errors import EveryclassError
from everyclass.images.addresses import Address, address_of
from everyclass.images.damage import UnreadableImage
from everyclass.images.listing import (
    can_be_listed,
    file_name,
    filesystem_of,
    is_of_client,
    is_uri,
    not_installed,
    parent,
)

MAX_FILE_BYTES = 2 << 30
NO_SUCH_FILE = "no such file"
"""The reason of a missing file, which readers give as well."""

_FIRST_READ = 1 << 16  # most images of a training set are smaller than this
_END_OF_JPEG = b"\xff\xd9"


def read_bytes(path_or_uri: str) -> bytes:
    """The content of an image: of a file, or of an entry in a larger one.

    Raises:
        UnreadableImage: no such file, no permission, a folder, larger than 2 GiB, a read error.
        InputError: a URI or entry that needs a package which is not installed.
    """
    try:
        if is_uri(path_or_uri):
            address = address_of(path_or_uri)
            return _read_uri(path_or_uri) if address is None else _read_entry(address)
        return _read_file(path_or_uri)
    except FileNotFoundError as error:
        raise UnreadableImage(NO_SUCH_FILE) from error
    except PermissionError as error:
        raise UnreadableImage("no permission to read it") from error
    except IsADirectoryError as error:
        raise UnreadableImage("a folder, not a file") from error
    except OSError as error:
        raise UnreadableImage(f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a path with a null byte
        raise UnreadableImage(f"not a possible path: {error}") from error
    except Exception as error:
        if not is_of_client(error):
            raise
        raise UnreadableImage(f"cannot be read: {error}") from error


def _read_file(path: str) -> bytes:
    # Three system calls for a small JPEG where open(path).read() makes eight: between threads, each
    # is a change of turns that costs more than the call. Of other files a short read alone does not
    # say that they end there: some file systems give them out in parts.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        parts = [os.read(descriptor, _FIRST_READ)]
        if len(parts[0]) < _FIRST_READ and parts[0].endswith(_END_OF_JPEG):
            return parts[0]
        if len(parts[0]) == _FIRST_READ:
            check_bytes(os.fstat(descriptor).st_size)
        while part := os.read(descriptor, _FIRST_READ if len(parts) == 1 else 1 << 24):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _read_uri(uri: str) -> bytes:
    import fsspec  # with all that it loads, a tenth of a small audit: only where a URI is read

    try:
        opened = fsspec.open(uri, "rb")
    except (ImportError, ValueError) as error:  # fsspec names the package or the protocol
        raise not_installed(uri, error) from error
    with opened as file:
        check_bytes(getattr(file, "size", None) or 0)
        return bytes(file.read())


def _read_entry(address: Address) -> bytes:
    # Each kind with what it loads, only where one is read.
    match address.kind:
        case "tar":
            from everyclass.images.tar_members import read_member

            return read_member(address)
        case "parquet" | "arrow":
            from everyclass.images.cells import read_cell

            return read_cell(address)
        case "slide":
            from everyclass.images.slides import read_part

            return read_part(address)


def check_bytes(size: int) -> None:
    """Refuse an image of more bytes than are read.

    Raises:
        UnreadableImage: larger than 2 GiB.
    """
    if size > MAX_FILE_BYTES:
        raise UnreadableImage(
            f"a file of {size / 1e9:.1f} GB; images up to {MAX_FILE_BYTES / 1e9:.1f} GB are read"
        )


def absolute(image: str) -> str:
    """What names an image wherever a program was started: local paths made absolute."""
    address = address_of(image)
    if address is not None and not is_uri(address.file):
        return str(address._replace(file=os.path.abspath(address.file)))
    return image if is_uri(image) else os.path.abspath(image)


class Stamp(NamedTuple):
    """What tells that a file is the one it was.

    Args:
        size: in bytes; -1 = nothing is known, so that it has to be read.
        changed: time of change in ns since 1970. Of an object in a store that names its versions
            (ETag, generation) a negative number made of that name, which changes with the content.
    """

    size: int
    changed: int


UNKNOWN = Stamp(-1, 0)


def stamps_of(images: Iterable[str]) -> Iterator[Stamp]:
    """The stamp of each image's file; of the larger file where it is an entry of one.

    Local files are asked one by one, larger ones and remote folders once a call.
    """
    files = _Files()
    for image in images:
        if not is_uri(image):
            yield _local(image)
            continue
        address = address_of(image)
        yield files.stamp(image if address is None else address.file)


def stamp_of(image: str) -> Stamp:
    """As `stamps_of`, of one image."""
    return next(stamps_of([image]))


def _local(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return UNKNOWN
    return Stamp(found.st_size, found.st_mtime_ns)


class _Files:
    """Stamps of files that are asked for again and again, and of remote ones by their folder."""

    def __init__(self) -> None:
        self._known: dict[str, Stamp] = {}
        self._folders: dict[str, dict[str, Stamp]] = {}

    def stamp(self, file: str) -> Stamp:
        if file not in self._known:
            self._known[file] = self._remote(file) if is_uri(file) else _local(file)
        return self._known[file]

    def _remote(self, uri: str) -> Stamp:
        folder = parent(uri)
        if folder not in self._folders:
            self._folders[folder] = _stamps_in(folder)
        return self._folders[folder].get(file_name(uri), UNKNOWN)


def _stamps_in(folder: str) -> dict[str, Stamp]:
    if not can_be_listed(folder):
        return {}
    try:
        filesystem, inner = filesystem_of(folder)
        entries = filesystem.ls(inner, detail=True)
    except (EveryclassError, OSError):
        return {}
    except Exception as error:
        if not is_of_client(error):
            raise
        return {}
    return {file_name(entry["name"]): _stamp_of_entry(entry) for entry in entries}


def _stamp_of_entry(entry: Mapping[str, Any]) -> Stamp:
    """From what a file system says of a file; each says it in words of its own."""
    size = entry.get("size")
    if not isinstance(size, int) or size < 0:
        return UNKNOWN
    for name in ("ETag", "etag", "generation", "md5Hash"):
        if entry.get(name):
            digest = hashlib.blake2b(str(entry[name]).encode(), digest_size=7).digest()
            return Stamp(size, -1 - int.from_bytes(digest))
    for name in ("LastModified", "mtime", "updated"):
        when = entry.get(name)
        if isinstance(when, datetime):
            when = when.timestamp()
        if isinstance(when, (int, float)):
            return Stamp(size, int(when * 1e9))
    return UNKNOWN
