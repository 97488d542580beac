"""Members of tar archives, read where they lie.

Comes in: an archive, or the address of a member. Goes out: what is in it, in order; a member's
bytes. Of each archive it is remembered where its members lie (24 bytes a member), as long as size
and time of change stay the same, so that any number of threads read any members in any order. A
compressed archive cannot be read so, and is refused.
"""

from __future__ import annotations

import hashlib
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from everyclass.errors import InputError
from everyclass.images.addresses import Address
from everyclass.images.contents import Stamp, check_bytes, stamp_of
from everyclass.images.damage import UnreadableImage
from everyclass.images.listing import file_name, filesystem_of, is_uri, opened

MOST_MEMBERS = 4_000_000
"""Whose places are remembered at once, of all archives: 100 MB."""

_SMALL = 1 << 20
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


class Member(NamedTuple):
    """A file in an archive: its name, where its bytes begin, how many there are."""

    name: str
    offset: int
    size: int


def members_of(
    archive: str, *, read: Callable[[str], bool] = lambda name: False
) -> tuple[list[Member], dict[str, bytes]]:
    """The ordinary files of an archive, in its order; folders, links and devices are left out.

    Args:
        read: which of them to read, by name: small ones, such as labels.
    Returns:
        The members, and the content of those that were read; of several of one name the last.
    Raises:
        InputError: it cannot be read, is compressed, no tar archive, or damaged; a member to read
            is larger than 1 MB.
    """
    name = file_name(archive)
    members, contents = list[Member](), dict[str, bytes]()
    with opened(archive) as file:
        start = file.read(8)
        file.seek(0)
        if start.startswith(_COMPRESSED):
            raise InputError(
                f"{name} is a compressed archive, in which no image can be read by itself.",
                remedy="Decompress it (gunzip, unxz, unzstd): JPEG and PNG gain nothing by it.",
            )
        try:
            # Names that are no UTF-8 stay names that can be written.
            with tarfile.open(fileobj=file, mode="r:", errors="backslashreplace") as tar:
                while (info := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # it would keep all of them
                    if not info.isreg() or info.issparse():
                        continue
                    member = Member(info.name, info.offset_data, info.size)
                    members.append(member)
                    if read(member.name):
                        contents[member.name] = _small(tar, info, name)
        except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
            raise InputError(
                f"{name} is no readable tar archive: {error}.",
                remedy="Copy it once more, or write it again.",
            ) from error
        _refuse_early_end(file, tar.offset, name, members)
    return members, contents


def _refuse_early_end(file: BinaryIO, end: int, archive: str, members: list[Member]) -> None:
    """A header that makes no sense ends an archive for Python; zeros are what should end it."""
    last = f" after {members[-1].name}" if members else ""
    size = file.seek(0, 2)
    if end > size:
        fault = f"truncated: it ends within its last file, {members[-1].name}"
    else:
        file.seek(end)
        block = file.read(512)
        if block and not block.strip(b"\0"):
            return
        fault = (
            f"damaged at byte {end:,}{last}" if block else f"truncated{last}: no end mark follows"
        )
    raise InputError(f"{archive} is {fault}.", remedy="Copy or download it again.")


def _small(tar: tarfile.TarFile, info: tarfile.TarInfo, archive: str) -> bytes:
    if info.size > _SMALL:
        raise InputError(
            f"{info.name} in {archive} has {info.size:,} bytes; labels of up to {_SMALL:,} are "
            "read.",
            remedy="Leave what is no label out of the archive.",
        )
    content = tar.extractfile(info)
    return b"" if content is None else content.read()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Places:
    """Where the members of an archive lie, by a digest of their names, which are sorted by it."""

    stamp: Stamp
    digests: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    @staticmethod
    def of(members: list[Member], stamp: Stamp) -> _Places:
        digests = np.array([_digest(member.name) for member in members], dtype=np.uint64)
        order = np.argsort(digests, kind="stable")
        return _Places(
            stamp=stamp,
            digests=digests[order],
            offsets=np.array([member.offset for member in members], dtype=np.int64)[order],
            sizes=np.array([member.size for member in members], dtype=np.int64)[order],
        )

    def find(self, name: str) -> tuple[int, int] | None:
        """Offset and size."""
        digest = _digest(name)
        place = int(np.searchsorted(self.digests, digest))
        if place == len(self.digests) or self.digests[place] != digest:
            return None
        return int(self.offsets[place]), int(self.sizes[place])


def _digest(name: str) -> np.uint64:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest))


_known: OrderedDict[str, _Places] = OrderedDict()
_turn = threading.Lock()


def read_member(address: Address) -> bytes:
    """The bytes of a member.

    Raises:
        UnreadableImage: no such archive or member, too large, or the archive ends before it does.
        InputError: the archive cannot be read any more.
    """
    found = _places(address.file).find(address.entry)
    if found is None:
        raise UnreadableImage(f"no such member of {file_name(address.file)}")
    offset, size = found
    check_bytes(size)
    if is_uri(address.file):
        filesystem, inner = filesystem_of(address.file)
        content = bytes(filesystem.cat_file(inner, start=offset, end=offset + size))
    else:
        with open(address.file, "rb", buffering=0) as file:
            file.seek(offset)
            content = file.read(size)
    if len(content) < size:
        raise UnreadableImage(f"{file_name(address.file)} ends within it")
    return content


def _places(archive: str) -> _Places:
    # One at a time, so that several threads do not look through one archive at once.
    with _turn:
        known = _known.get(archive)
        # A remote archive is asked once; what a local one costs is a microsecond.
        if known is not None and (is_uri(archive) or known.stamp == stamp_of(archive)):
            _known.move_to_end(archive)
            return known
        try:
            _known[archive] = found = _Places.of(members_of(archive)[0], stamp_of(archive))
        except InputError as error:
            raise UnreadableImage(str(error).removesuffix(".")) from error
        _known.move_to_end(archive)
        while len(_known) > 1 and sum(len(one.digests) for one in _known.values()) > MOST_MEMBERS:
            _known.popitem(last=False)
        return found
