"""One pass over the images of a table -> Audit.

Comes in: a table. Goes out: an `Audit`. Every image is read and decoded once, by threads, and what
was seen of it goes into an `AuditState`, whose size does not depend on that of the images (one
record of 121 bytes an image). States merge in any order to the same audit, so the same code runs
over threads, processes and machines: `examine` images anywhere, `update` a state, `merge` states,
`finish`. What a cache still knows of a file is not read again.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt

from everyclass.errors import InputError
from everyclass.images.audit_cache import AuditCache
from everyclass.images.audit_summary import KindCounts, Seen, summarise
from everyclass.images.audit_values import SPLITS_OR_NONE, Audit, SplitOrNone
from everyclass.images.contents import NO_SUCH_FILE
from everyclass.images.examine import Chunk, Examined, ImageFault, examine_chunk
from everyclass.images.examiners import Examiners
from everyclass.images.records import (
    DIGEST_BYTES,
    RECORD,
    ImageFacts,
    KindKey,
    Records,
    kind_of,
    records_of,
)
from everyclass.images.store import ImageStore
from everyclass.images.table import ImageTable, SetAside
from everyclass.stats.moments import ChannelMoments

_CHUNK = 64  # images a task: what is measured of them together costs a hundred calls of numpy
_CHUNK_BYTES = 1 << 24  # of pixels: fewer of large ones
_CHUNKS_AHEAD = 4  # chunks a thread: enough that one slow image keeps no thread waiting
_WORTH_PROCESSES = 10_000  # images whose reading takes longer than processes take to start

Elsewhere = Callable[[Iterator[Chunk]], Iterator[Examined]]
"""Chunks -> what was seen of them, in any order and division: other machines, say."""


class AuditState:
    """What has been seen so far. Holds a record an image; no pixels, no paths."""

    def __init__(self) -> None:
        self._blocks: list[Records] = []
        self._faults: list[tuple[int, str]] = []

    def update(self, seen: Iterable[ImageFacts | ImageFault]) -> None:
        """Take in some images. Each row of the table is taken in once, by one of the states."""
        found = list(seen)
        images = [facts for facts in found if isinstance(facts, ImageFacts)]
        faults = [fault for fault in found if isinstance(fault, ImageFault)]
        self.take(records_of(images) if images else np.zeros(0, dtype=RECORD), faults)

    def take(self, records: Records, faults: Iterable[ImageFault]) -> None:
        """Take in images that were measured elsewhere."""
        self._faults.extend((fault.row, fault.reason) for fault in faults)
        if len(records):
            self.add(records)

    def add(self, records: Records) -> None:
        """Take in records that were made before, with their rows of this table."""
        self._blocks.append(records)
        # Blocks double in size, so that adding costs n log n copies and merging leaves few of them.
        while len(self._blocks) > 1 and len(self._blocks[-2]) <= len(self._blocks[-1]):
            last = self._blocks.pop()
            self._blocks[-1] = _joined([self._blocks[-1], last])

    def merge(self, other: AuditState) -> None:
        """Take in all that another state has seen. The order of merging changes nothing."""
        for block in other._blocks:
            self.add(block)
        self._faults.extend(other._faults)

    def records(self) -> Records:
        """All of them by row."""
        joined = _joined(self._blocks)
        return joined[np.argsort(joined["row"])]

    def contents(self, n: int) -> npt.NDArray[np.uint8]:
        """(n, 16) uint8: BLAKE2b of each row's file; zeros for rows that could not be read."""
        digests = np.zeros((n, DIGEST_BYTES), dtype=np.uint8)
        for block in self._blocks:
            own = np.ascontiguousarray(block["digest"])
            digests[block["row"]] = own.view(np.uint8).reshape(-1, DIGEST_BYTES)
        return digests

    def finish(self, table: ImageTable, *, side: int) -> Audit:
        """The audit of a table, every row of which this state has seen once.

        Args:
            table: the one that was examined.
            side: the size at which the images were examined.
        Raises:
            InputError: not one image can be read.
        """
        records, faults = self.records(), sorted(self._faults)
        rows = np.ascontiguousarray(records["row"])
        all_rows = np.concatenate([rows, np.array([row for row, _ in faults], dtype=np.int64)])
        assert np.array_equal(np.sort(all_rows), np.arange(len(table))), "each row seen once"
        if len(rows) == 0:
            raise InputError(
                f"{table.source} has no image that can be read.{_examples(table, faults)}",
                remedy="Restore these files, or name another data set.",
            )
        tells, blank, looks = records["tells"], records["blank"], records["look"]
        sizes = zip(looks["width"].tolist(), looks["height"].tolist())
        seen = Seen(
            rows=rows,
            digests=np.ascontiguousarray(records["digest"]),
            likeness_rows=rows[tells],
            likeness=np.ascontiguousarray(records["likeness"][tells]),
            looks=np.ascontiguousarray(looks),
            moments=_moments(records, table.split_codes()[rows], side=side),
            sizes=Counter(sizes),
            kinds=_kinds(records),
            blank=tuple(zip(rows[blank].tolist(), records["level"][blank].tolist())),
            faults=tuple(faults),
            reduced=int(records["reduced"].sum()),
        )
        return summarise(seen, table, side=side)


def _joined(blocks: list[Records]) -> Records:
    if not blocks:
        return np.zeros(0, dtype=RECORD)
    # Left to itself, NumPy joins in the byte order of the machine, and a digest is bytes.
    joined: Records = np.concatenate(blocks, dtype=RECORD)
    return joined


def _moments(
    records: Records, codes: npt.NDArray[np.int8], *, side: int
) -> dict[SplitOrNone, ChannelMoments]:
    """Of the pixels of each split that has images."""
    found: dict[SplitOrNone, ChannelMoments] = {}
    for code in np.unique(codes):
        own = records[codes == code]
        found[SPLITS_OR_NONE[code]] = ChannelMoments(
            n_pixels=len(own) * side**2,
            sums=_triple(own["sums"].sum(axis=0, dtype=np.uint64)),
            squares=_triple(own["squares"].sum(axis=0, dtype=np.uint64)),
        )
    return found


def _triple(totals: npt.NDArray[np.uint64]) -> tuple[int, int, int]:
    red, green, blue = totals.tolist()
    return red, green, blue


def _kinds(records: Records) -> dict[KindKey, KindCounts]:
    kinds, of_kind = np.unique(records["kind"], return_inverse=True)
    found = {}
    for place, kind in enumerate(kinds.tolist()):
        own = records[of_kind == place]
        found[kind_of(kind)] = KindCounts(
            n=len(own),
            blank=int(own["blank"].sum()),
            low=int(own["low"].min()),
            high=int(own["high"].max()),
        )
    return found


def audit_images(
    table: ImageTable,
    *,
    side: int,
    threads: int,
    max_unreadable: float = 0.01,
    store: ImageStore | None = None,
    cache: AuditCache | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Read every image of a table once, and say what is in it.

    Args:
        table: its images are read where its paths say.
        side: the training size in pixels, at which statistics are taken.
        threads: the audit does not depend on their number.
        max_unreadable: largest share of missing and unreadable images to go on with, in [0, 1].
        store: of the same table and side; is filled on the way.
        cache: of the same side: what it knows is not read again; it learns the rest.
        on_progress: called with (images done, images in all).
    Raises:
        InputError: more images are missing or unreadable than `max_unreadable` allows.
    """
    state = examine_images(
        table, side=side, threads=threads, store=store, cache=cache, on_progress=on_progress
    )
    audit = state.finish(table, side=side)
    refuse_unreadable(audit, max_unreadable)
    return audit


def examine_images(
    table: ImageTable,
    *,
    side: int,
    threads: int,
    store: ImageStore | None = None,
    cache: AuditCache | None = None,
    elsewhere: Elsewhere | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> AuditState:
    """The pass alone, for whoever needs the contents' digests too; arguments as `audit_images`.

    Args:
        elsewhere: examines the chunks in the place of threads of this process; without a store.
    """
    assert store is None or elsewhere is None, "pixels stay where they are decoded"
    assert store is None or (len(store), store.side) == (len(table), side), "another table's store"
    state = AuditState()
    known = np.zeros(0, dtype=RECORD) if cache is None else cache.look_up(table.images)
    if store is not None and len(known):
        # What the store lacks has to be decoded anyhow.
        known = known[store.stored()[known["row"]]]
    if len(known):
        state.add(known)
    left = np.setdiff1d(np.arange(len(table)), known["row"], assume_unique=True)
    done = len(known)
    most = min(len(left) // (threads * _CHUNKS_AHEAD), _CHUNK_BYTES // (3 * side**2))
    size = min(_CHUNK, max(8, most))
    chunks = _chunks(table, left, size, side, store)
    found = (
        _examined(chunks, threads=threads, n=len(left), store=store)
        if elsewhere is None
        else elsewhere(chunks)
    )
    for records, faults in found:
        state.take(records, faults)
        done += len(records) + len(faults)
        if on_progress is not None:
            on_progress(done, len(table))
    if cache is not None and len(left):
        cache.keep(state.records())
    return state


def _chunks(
    table: ImageTable,
    rows: npt.NDArray[np.int64],
    size: int,
    side: int,
    store: ImageStore | None,
) -> Iterator[Chunk]:
    kept = store is not None and store.files is not None
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size].tolist()
        whole = chosen[-1] - chosen[0] + 1 == len(chosen)
        images = (
            table.images[chosen[0] : chosen[-1] + 1]
            if whole
            else [table.images[row] for row in chosen]
        )
        places = store.places(chosen) if store is not None and kept else ()
        yield Chunk(rows=chosen, images=images, side=side, places=places)


def _examined(
    chunks: Iterator[Chunk], *, threads: int, n: int, store: ImageStore | None
) -> Iterator[Examined]:
    """Chunks examined in their order, by threads; of many images, by a process a thread."""
    if threads > 1 and n >= _WORTH_PROCESSES and sys.executable:
        with Examiners(None if store is None else store.folder) as workers:
            yield from _in_threads(workers.examine, chunks, threads=threads)
    else:
        pixels = None if store is None else store.files
        here = partial(examine_chunk, pixels=pixels)
        yield from _in_threads(here, chunks, threads=threads)


def _in_threads(
    examine: Callable[[Chunk], Examined], chunks: Iterator[Chunk], *, threads: int
) -> Iterator[Examined]:
    """Results in the order of the chunks, of which only a bounded number is under way or waits."""
    with ThreadPoolExecutor(threads, thread_name_prefix="audit") as pool:
        waiting: deque[Future[Examined]] = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(examine, chunk))
                if len(waiting) >= threads * _CHUNKS_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def refuse_unreadable(audit: Audit, max_unreadable: float) -> None:
    """Raise InputError when more than this share of images is missing or unreadable."""
    gone = [found for found in audit.set_aside if found.reason.startswith(NO_SUCH_FILE)]
    bad = [*gone, *audit.unreadable]
    total = audit.n + len(bad)
    if len(bad) <= max_unreadable * total:
        return
    share = len(bad) / total
    raise InputError(
        f"{len(bad):,} of {total:,} images ({share:.1%}) cannot be read; up to "
        f"{max_unreadable:.1%} are set aside.{_first(bad)}",
        where=audit.source,
        remedy="Restore or remove these files, or allow more: "
        f"--max-unreadable {np.ceil(share * 1000) / 1000:g}.",
    )


def _examples(table: ImageTable, faults: list[tuple[int, str]]) -> str:
    bad = [
        SetAside(image=table.image(row), label=None, reason=reason) for row, reason in faults[:3]
    ]
    return _first([*bad, *table.set_aside])


def _first(bad: list[SetAside]) -> str:
    if not bad:
        return ""
    return " First: " + "; ".join(f"{found.image}: {found.reason}" for found in bad[:3]) + "."
