"""One pass over the images of a table -> Audit.

Comes in: a table. Goes out: an `Audit`. Every image is read and decoded once, by threads, and what
was seen of it goes into an `AuditState`, whose size does not depend on that of the images (65
bytes an image). States merge in any order to the same audit, so the same code runs over threads,
processes and machines: `examine` images anywhere, `update` a state, `merge` states, `finish`.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from everyclass.errors import InputError
from everyclass.images.audit_summary import KindCounts, KindKey, Seen, summarise
from everyclass.images.audit_values import SPLITS_OR_NONE, Audit, SplitOrNone
from everyclass.images.likeness import Greys, grey_square, likeness_codes
from everyclass.images.looks import LOOK, Tones, looks_of, tones_of
from everyclass.images.pixels import (
    NO_SUCH_FILE,
    UnreadableImage,
    decode_resized,
    read_bytes,
)
from everyclass.images.store import ImageStore
from everyclass.images.table import ImageTable, SetAside
from everyclass.stats.moments import ChannelMoments, channel_histogram, largest_deviation

BLANK_DEVIATION = 2.0
"""Of 255: an image whose channels deviate less from their means shows nothing. One black pixel on
white at 64 px deviates by 4."""

_DIGEST_BYTES = 16
_CHUNK = 32  # images a task: enough that handing out tasks costs nothing
_CHUNKS_AHEAD = 4  # tasks a thread: enough that one slow image keeps no thread waiting


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageFacts:
    """What one image contributes to an audit.

    Args:
        row: of the table.
        split: the row's split, "" = none.
        digest: 16 bytes, BLAKE2b of the file's content.
        width, height: in pixels as stored, after the EXIF rotation.
        kind: format, mode and bits of a channel as stored.
        reduced: a giant, decoded at a fraction of its size.
        histogram: (3, 256) int64, pixel values at the training size.
        grey: (32, 32) uint8, what alike images are found by.
        tones: what odd images are found by.
    """

    row: int
    split: SplitOrNone
    digest: bytes
    width: int
    height: int
    kind: KindKey
    reduced: bool
    histogram: npt.NDArray[np.int64]
    grey: Greys
    tones: Tones


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFault:
    """An image that cannot be read, and why."""

    row: int
    reason: str


def examine(
    image: str, *, row: int, split: SplitOrNone, side: int, store: ImageStore | None = None
) -> ImageFacts | ImageFault:
    """Read, decode and measure one image.

    Args:
        image: path or URI.
        row: its row, which the facts carry along.
        split: its split.
        side: the training size in pixels.
        store: keeps the resized pixels.
    """
    try:
        content = read_bytes(image)
        decoded = decode_resized(content, side=side)
    except UnreadableImage as error:
        return ImageFault(row=row, reason=error.reason)
    if store is not None:
        store.put(row, decoded.rgb)
    grey = Image.fromarray(decoded.rgb).convert("L")
    return ImageFacts(
        row=row,
        split=split,
        digest=hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest(),
        width=decoded.width,
        height=decoded.height,
        kind=(decoded.format, decoded.mode, decoded.bit_depth),
        reduced=decoded.reduced_by > 1,
        histogram=channel_histogram(decoded.rgb),
        grey=grey_square(grey),
        tones=tones_of(grey),
    )


class AuditState:
    """What has been seen so far. Holds sums, counts and a digest an image; no pixels, no paths."""

    def __init__(self) -> None:
        self._rows = array("q")
        self._digests = bytearray()
        self._likeness_rows = array("q")
        self._likeness = bytearray()
        self._looks = bytearray()
        self._histograms: dict[SplitOrNone, npt.NDArray[np.int64]] = {}
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._kinds: dict[KindKey, KindCounts] = {}
        self._blank: list[tuple[int, int]] = []
        self._faults: list[tuple[int, str]] = []
        self._reduced = 0

    def update(self, seen: Iterable[ImageFacts | ImageFault]) -> None:
        """Take in some images. Each row of the table is taken in once, by one of the states."""
        images: list[ImageFacts] = []
        for facts in seen:
            if isinstance(facts, ImageFault):
                self._faults.append((facts.row, facts.reason))
            else:
                images.append(facts)
                self._rows.append(facts.row)
                self._digests += facts.digest
                self._sizes[facts.width, facts.height] += 1
                self._reduced += facts.reduced
        if images:
            self._add_pixels(images, np.stack([facts.histogram for facts in images]))
            codes, tell = likeness_codes(np.stack([facts.grey for facts in images]))
            self._likeness_rows.extend(images[place].row for place in np.flatnonzero(tell))
            self._likeness += codes[tell].tobytes()
            self._looks += _looks(images).tobytes()

    def _add_pixels(self, images: Sequence[ImageFacts], histograms: npt.NDArray[np.int64]) -> None:
        """Add what the histograms, (B, 3, 256), say of these images."""
        for split in {facts.split for facts in images}:
            mine = np.array([facts.split == split for facts in images])
            self._add_histogram(split, histograms[mine].sum(axis=0))
        occurs = histograms.max(axis=1) > 0
        lowest = occurs.argmax(axis=1).tolist()
        highest = (255 - occurs[:, ::-1].argmax(axis=1)).tolist()
        blank = (largest_deviation(histograms) < BLANK_DEVIATION).tolist()
        for place, facts in enumerate(images):
            self._add_kind(
                facts.kind,
                KindCounts(n=1, blank=int(blank[place]), low=lowest[place], high=highest[place]),
            )
            if blank[place]:
                mean = ChannelMoments.of(facts.histogram).mean
                self._blank.append((facts.row, round(sum(mean) / 3 * 255)))

    def merge(self, other: AuditState) -> None:
        """Take in all that another state has seen. The order of merging changes nothing."""
        self._rows.extend(other._rows)
        self._digests += other._digests
        self._likeness_rows.extend(other._likeness_rows)
        self._likeness += other._likeness
        self._looks += other._looks
        for split, histogram in other._histograms.items():
            self._add_histogram(split, histogram)
        self._sizes.update(other._sizes)
        for kind, counts in other._kinds.items():
            self._add_kind(kind, counts)
        self._blank.extend(other._blank)
        self._faults.extend(other._faults)
        self._reduced += other._reduced

    def _add_histogram(self, split: SplitOrNone, histogram: npt.NDArray[np.int64]) -> None:
        if split in self._histograms:
            self._histograms[split] += histogram
        else:
            self._histograms[split] = histogram.copy()

    def _add_kind(self, kind: KindKey, counts: KindCounts) -> None:
        before = self._kinds.get(kind)
        self._kinds[kind] = counts if before is None else before.with_more(counts)

    def contents(self, n: int) -> npt.NDArray[np.uint8]:
        """(n, 16) uint8: BLAKE2b of each row's file; zeros for rows that could not be read."""
        digests = np.zeros((n, _DIGEST_BYTES), dtype=np.uint8)
        digests[np.asarray(self._rows, dtype=np.int64)] = np.frombuffer(
            self._digests, dtype=np.uint8
        ).reshape(-1, _DIGEST_BYTES)
        return digests

    def finish(self, table: ImageTable, *, side: int) -> Audit:
        """The audit of a table, every row of which this state has seen once.

        Args:
            table: the one that was examined.
            side: the size at which the images were examined.
        Raises:
            InputError: not one image can be read.
        """
        rows = np.array(self._rows, dtype=np.int64)
        faults = sorted(self._faults)
        all_rows = np.concatenate([rows, np.array([row for row, _ in faults], dtype=np.int64)])
        assert np.array_equal(np.sort(all_rows), np.arange(len(table))), "each row seen once"
        if len(rows) == 0:
            raise InputError(
                f"{table.source} has no image that can be read.{_examples(table, faults)}"
            )
        order = np.argsort(rows)
        digests = np.frombuffer(self._digests, dtype=[("high", ">u8"), ("low", ">u8")])
        codes = np.frombuffer(self._likeness, dtype=np.uint64).reshape(-1, 2)
        likeness_rows = np.array(self._likeness_rows, dtype=np.int64)
        by_row = np.argsort(likeness_rows)
        seen = Seen(
            rows=rows[order],
            digests=digests[order],
            likeness_rows=likeness_rows[by_row],
            likeness=codes[by_row],
            looks=np.frombuffer(self._looks, dtype=LOOK)[order],
            histograms=self._histograms,
            sizes=self._sizes,
            kinds=self._kinds,
            blank=tuple(sorted(self._blank)),
            faults=tuple(faults),
            reduced=self._reduced,
        )
        return summarise(seen, table, side=side)


def _looks(images: Sequence[ImageFacts]) -> npt.NDArray[np.void]:
    return looks_of(
        np.stack([facts.tones.greys for facts in images]),
        np.stack([facts.tones.edges for facts in images]),
        np.stack([facts.histogram for facts in images]),
        np.array([(facts.width, facts.height) for facts in images]),
    )


def audit_images(
    table: ImageTable,
    *,
    side: int,
    threads: int,
    max_unreadable: float = 0.01,
    store: ImageStore | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Read every image of a table once, and say what is in it.

    Args:
        table: its images are read where its paths say.
        side: the training size in pixels, at which statistics are taken.
        threads: the audit does not depend on their number.
        max_unreadable: largest share of missing and unreadable images to go on with, in [0, 1].
        store: of the same table and side; is filled on the way.
        on_progress: called with (images done, images in all).
    Raises:
        InputError: more images are missing or unreadable than `max_unreadable` allows.
    """
    state = examine_images(table, side=side, threads=threads, store=store, on_progress=on_progress)
    audit = state.finish(table, side=side)
    refuse_unreadable(audit, max_unreadable)
    return audit


def examine_images(
    table: ImageTable,
    *,
    side: int,
    threads: int,
    store: ImageStore | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> AuditState:
    """The pass alone, for whoever needs the contents' digests too; arguments as `audit_images`."""
    assert store is None or (len(store), store.side) == (len(table), side), "another table's store"
    state, done = AuditState(), 0
    for part in _in_threads(_tasks(table, side, store), threads=threads):
        state.merge(part.state)
        done += part.n
        if on_progress is not None:
            on_progress(done, len(table))
    return state


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    state: AuditState
    n: int


def _tasks(table: ImageTable, side: int, store: ImageStore | None) -> Iterator[Callable[[], _Part]]:
    codes = table.split_codes()

    def task(start: int) -> Callable[[], _Part]:
        def run() -> _Part:
            images = tuple(table.images[start : start + _CHUNK])
            state = AuditState()
            state.update(
                examine(image, row=row, split=SPLITS_OR_NONE[codes[row]], side=side, store=store)
                for row, image in enumerate(images, start)
            )
            return _Part(state=state, n=len(images))

        return run

    return map(task, range(0, len(table), _CHUNK))


def _in_threads(tasks: Iterator[Callable[[], _Part]], *, threads: int) -> Iterator[_Part]:
    """Results in the order of the tasks, of which only a bounded number is under way or waits."""
    with ThreadPoolExecutor(threads, thread_name_prefix="audit") as pool:
        waiting: deque[Future[_Part]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(task))
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
