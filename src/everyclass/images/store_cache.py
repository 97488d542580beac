"""Stores of resized images that outlive a training and serve the next one on the same files.

Comes in: a table, a side, a folder for the stores of all data sets, how large it may grow. Goes
out: an `ImageStore` there, or why there is none. A store is named by what is in it: each image's
path or address, its file's size and time of change, in the table's order, the side and the
definition of a pixel. Where one file has changed the name is another, and nothing old is read.

Processes share it without a lock. A store is made beside its place and moved there whole; whoever
comes second takes the one that is there. Every row has a checksum (`store`), and all processes
write the same bytes. What is removed while somebody uses it stays readable to them until they end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from everyclass.images.audit_cache import SETTLED_NS, stats_of
from everyclass.images.pixels import PIXELS_VERSION
from everyclass.images.store import ImageStore
from everyclass.images.table import ImageTable

ABANDONED_SECONDS = 86_400.0
"""Age at which what a killed process left half made is removed."""


def open_shared(
    table: ImageTable, *, side: int, threads: int, folder: Path, limit_bytes: int
) -> tuple[ImageStore | None, str]:
    """The store of these files in the shared folder, made where there is none.

    To make room, the stores that were used longest ago are removed.

    Args:
        table: its row numbers are the store's.
        side: in pixels.
        threads: how many decode what is not stored.
        folder: for the stores of all data sets.
        limit_bytes: of all stores together.
    Returns:
        The store and "", or None and why there is none.
    """
    name = _name(table, side)
    needed = ImageStore.bytes_needed(len(table), side=side)
    if name is None:
        return None, "an image's file cannot tell of changes, or has had one within two seconds"
    if needed > limit_bytes:
        return None, f"{needed / 1e9:.1f} GB of decoded images exceed the {limit_bytes / 1e9:g} GB"
    place = folder / name
    try:
        if not place.exists():
            _make_room(folder, limit_bytes - needed)
            why_not = _make(place, table, side)
            if why_not:
                return None, why_not
        os.utime(place)  # used now
    except OSError as error:
        return None, f"{folder} cannot hold the decoded images: {error.strerror}"
    store = ImageStore(table, side=side, threads=threads, folder=place, identity=name)
    if store.without_file:  # removed by another process just now, and no room since
        store.close()
        return None, store.without_file
    return store, ""


def _name(table: ImageTable, side: int) -> str | None:
    """What the store of these files is called; None where a file cannot be told from what it may
    become."""
    files = stats_of(table.images)
    settled = files["changed"] < time.time_ns() - SETTLED_NS
    if not len(files) or not bool(np.all((files["size"] >= 0) & settled)):
        return None
    digest = hashlib.blake2b(f"{side}.{PIXELS_VERSION}.{len(files)}".encode(), digest_size=12)
    for column in ("path", "size", "changed"):
        digest.update(np.ascontiguousarray(files[column]).tobytes())
    return digest.hexdigest()


def _make(place: Path, table: ImageTable, side: int) -> str:
    """An empty store, moved to its place whole; why there is none."""
    beside = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with ImageStore(table, side=side, threads=1, folder=beside, identity=place.name) as made:
            if made.without_file:
                return made.without_file
        with suppress(FileExistsError, OSError):
            beside.rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return "" if place.exists() else f"{place.parent} cannot hold the decoded images"


def _make_room(folder: Path, limit_bytes: int) -> None:
    """Remove what was used longest ago until the rest fits, and what was never finished."""
    stores: list[tuple[float, int, Path]] = []
    for place in folder.glob("*"):
        with suppress(OSError):  # another process is removing it
            used = place.stat().st_mtime
            if place.suffix != ".tmp":
                stores.append((used, sum(one.stat().st_size for one in place.iterdir()), place))
            elif time.time() - used > ABANDONED_SECONDS:
                shutil.rmtree(place, ignore_errors=True)
    size = 0
    for _, own, place in sorted(stores, reverse=True):
        size += own
        if size > limit_bytes:
            _remove(place)
            size -= own


def _remove(place: Path) -> None:
    """Out of the way in one move, so that nobody opens half a store; then gone."""
    aside = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    with suppress(OSError):
        place.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
