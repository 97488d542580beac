"""What lies in a folder, on this machine or behind an fsspec URI.

Comes in: a path. Goes out: names, each folder listed once, never a question per file. It knows
nothing of classes or labels; it decides only which names are worth showing to anybody.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, BinaryIO, Literal, cast

from everyclass.errors import InputError
from everyclass.images.addresses import KINDS, address_of

# Written by file managers and archive tools, never by the owner of the images.
_LITTER = frozenset({"__MACOSX", "Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini", "@eaDir"})

_CLIENTS = frozenset(
    ("aiobotocore", "aiohttp", "botocore", "gcsfs", "google", "requests", "s3fs", "urllib3")
)
"""Packages whose errors may come out of an fsspec file system."""
_UNLISTED = frozenset(("http", "https", *KINDS))
_CLOUDS = ("s3", "gs", "gc")
"""First letters of the URIs that the extra `cloud` reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A folder and everything below it.

    Args:
        root: the folder with a trailing slash; `root + folder + name` is a file's path.
        folders: the file names of each folder; the key is the folder's path below the root with
            a trailing slash, "" for the root itself. Folders and names are sorted, and folders
            without files are there.
        broken: (path below the root, reason) of names that stand for no readable file: links to
            nothing and names that are not valid UTF-8.
        repeated_links: linked folders that had been read already and were left out.
    """

    root: str
    folders: dict[str, tuple[str, ...]]
    broken: tuple[tuple[str, str], ...] = ()
    repeated_links: tuple[str, ...] = ()

    def children(self, folder: str) -> tuple[str, ...]:
        """Names of the folders directly in this one, sorted."""
        inside = (path[len(folder) :] for path in self.folders if path.startswith(folder))
        return tuple(sorted({path.partition("/")[0] for path in inside if path}))


def plain_path(path: str | PurePath) -> str:
    """The path as text: forward slashes from a Path, `file://` taken off, no trailing slash."""
    text = path.as_posix() if isinstance(path, PurePath) else path
    for scheme in ("file://", "local://"):
        text = text.removeprefix(scheme)
    return text.rstrip("/") or text[:1]


def is_uri(path: str) -> bool:
    """Whether a path names its file system, as in `s3://bucket/cells`."""
    return "://" in path


def can_be_listed(folder: str) -> bool:
    """Whether what lies in a folder can be asked; not so for web addresses, chained URIs and the
    addresses of entries in larger files."""
    return "::" not in folder and folder.partition("://")[0] not in _UNLISTED


def join(folder: str, name: str) -> str:
    """A path below a folder; the name alone in the folder "."."""
    if folder == ".":
        return name
    return folder + name if folder.endswith("/") else f"{folder}/{name}"


def parent(path: str) -> str:
    """The folder of a file: "." for a bare name, "/" at the top."""
    folder, slash, _ = path.rpartition("/")
    return folder or slash or "."


def file_name(path: str) -> str:
    """The last part of a path, for messages."""
    return path.rstrip("/").rpartition("/")[2] or path


def what_is(path: str) -> Literal["folder", "file"] | None:
    """Whether a path is a folder, a file or nothing; an entry of a larger file counts as a file."""
    if address_of(path) is not None:
        return "file"
    if not is_uri(path):
        return "folder" if os.path.isdir(path) else "file" if os.path.isfile(path) else None
    filesystem, inner = filesystem_of(path)
    with readable(path):
        return "folder" if filesystem.isdir(inner) else "file" if filesystem.isfile(inner) else None


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A file opened for reading bytes."""
    with readable(path):
        if is_uri(path):
            filesystem, inner = filesystem_of(path)
            with filesystem.open(inner, "rb") as file:
                yield cast(BinaryIO, file)
        else:
            with open(path, "rb") as file:
                yield file


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Turn a refusal of the file system into an InputError which names the path."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or path} cannot be read: {error.strerror or error}.",
            remedy="Give yourself permission to read it, or name another.",
        ) from error
    except Exception as error:
        if not is_of_client(error):
            raise
        raise InputError(
            f"{path} cannot be read: {error}.".replace("..", "."),
            remedy="See to credentials, endpoint and name, or copy the files to a folder.",
        ) from error


def is_of_client(error: Exception) -> bool:
    """Whether an error comes from the package that talks to a store, which knows no OSError:
    no credentials, no such endpoint, a refusal in words of its own."""
    return type(error).__module__.partition(".")[0] in _CLIENTS


def file_names(folder: str) -> list[str]:
    """Names of the files directly in a folder, hidden ones too; none where no folder is."""
    if not is_uri(folder):
        with readable(folder):
            try:
                with os.scandir(folder) as entries:
                    return [e.name for e in entries if _kind_of(e) == "file" and _is_text(e.name)]
            except (FileNotFoundError, NotADirectoryError):
                return []
    filesystem, inner = filesystem_of(folder)
    with readable(folder):
        try:
            listed = filesystem.ls(inner, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
    return [file_name(entry["name"]) for entry in listed if entry["type"] == "file"]


def walk(root: str) -> Tree:
    """List a folder and everything below it, each folder once.

    Left out: names that begin with a dot, `__MACOSX`, `Thumbs.db`, `desktop.ini`, `@eaDir`.
    Links to files count as files. Links to folders are followed after all real folders, in order
    of their path, and only when the folder they lead to has not been read yet; so a link to a
    parent, or two links to one folder, end. Behind a URI links are left to the file system.

    Raises:
        InputError: a folder that cannot be read, or a URI whose file system is not installed.
    """
    return _walk_uri(root) if is_uri(root) else _walk_local(root)


def _walk_local(root: str) -> Tree:
    prefix = root if root.endswith("/") else f"{root}/"
    folders: dict[str, tuple[str, ...]] = {}
    broken: list[tuple[str, str]] = []
    repeated: list[str] = []
    seen: set[str] = set()
    real_folders = [("", os.path.realpath(root))]
    links: list[str] = []
    while real_folders or links:
        if real_folders:
            folder, real = real_folders.pop()
        else:
            folder = heapq.heappop(links)
            real = os.path.realpath(prefix + folder)
        if real in seen:
            repeated.append(folder)
            continue
        seen.add(real)
        names: list[str] = []
        with readable(prefix + folder), os.scandir(prefix + folder) as entries:
            for entry in entries:
                if _is_litter(entry.name):
                    continue
                if not _is_text(folder + entry.name):
                    broken.append((_escaped(folder + entry.name), "its name is not valid UTF-8"))
                    continue
                match _kind_of(entry):
                    case "folder" if entry.is_symlink():
                        heapq.heappush(links, f"{folder}{entry.name}/")
                    case "folder":
                        real_folders.append(
                            (f"{folder}{entry.name}/", os.path.join(real, entry.name))
                        )
                    case "file":
                        names.append(entry.name)
                    case "broken link":
                        broken.append((folder + entry.name, "a link to nothing"))
        folders[folder] = tuple(sorted(names))
    return Tree(
        root=prefix,
        folders=dict(sorted(folders.items())),
        broken=tuple(sorted(broken)),
        repeated_links=tuple(sorted(repeated)),
    )


def _kind_of(entry: os.DirEntry[str]) -> Literal["folder", "file", "broken link", "other"]:
    """What a name leads to; sockets and devices are "other". A link to itself raises ELOOP."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError:
        return "broken link"
    return "broken link" if entry.is_symlink() else "other"


def _walk_uri(root: str) -> Tree:
    """One `find` for the whole tree: an object store answers it in pages of a thousand names."""
    filesystem, inner = filesystem_of(root)
    with readable(root):
        filesystem.invalidate_cache(inner)  # a session that lists it again wants what is there now
        found = filesystem.find(inner, withdirs=True, detail=True)
    start = inner.rstrip("/") + "/"
    folders: dict[str, list[str]] = {"": []}
    for path, entry in sorted(found.items()):
        below = path.removeprefix(start) if path.startswith(start) else ""
        if not below or any(_is_litter(part) for part in below.split("/")):
            continue
        if entry["type"] == "directory":
            folders.setdefault(below.rstrip("/") + "/", [])
        else:
            folder, slash, name = below.rpartition("/")
            folders.setdefault(folder + slash, []).append(name)
    return Tree(
        root=root if root.endswith("/") else f"{root}/",
        folders={folder: tuple(sorted(names)) for folder, names in sorted(folders.items())},
    )


def filesystem_of(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URI and the path inside it."""
    if "::" in uri:
        raise InputError(
            f"{uri} goes through a chain of file systems.",
            remedy="Unpack the archive and name the folder it gives.",
        )
    import fsspec.core  # as in `everyclass.images.pixels`: only where a URI is read

    try:
        filesystem, inner = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise not_installed(uri, error) from error
    except Exception as error:
        # Some open what they are to list while they are made: archives, repositories, servers.
        raise InputError(
            f"{uri} cannot be opened: {error}.".replace("..", "."),
            remedy="See to credentials, endpoint and name, or copy the files to a folder.",
        ) from error
    return filesystem, str(inner)


def not_installed(uri: str, error: ImportError | ValueError) -> InputError:
    """What is wrong when fsspec knows no such protocol, or lacks the package that speaks it."""
    remedy = "pip install 'everyclass[cloud]' reads s3:// and gs://." if uri[:2] in _CLOUDS else ""
    return InputError(f"{uri} cannot be opened: {error}.".replace("..", "."), remedy=remedy)


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name in _LITTER


def _is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8: other bytes reach Python as lone surrogates."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(name: str) -> str:
    """The name with its odd bytes written as \\udc.. so that it can be shown and stored."""
    return name.encode(errors="backslashreplace").decode()
