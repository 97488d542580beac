"""What was seen of the images, put beside what the table says of them -> Audit.

Comes in: sums and digests by row, and the table. Goes out: the audit. It opens no file; whatever
is listed is in table order, so that the order in which images were read leaves no trace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from everyclass.images.audit_findings import find_warnings
from everyclass.images.audit_looks import odd_rows
from everyclass.images.audit_meaning import say_meaning
from everyclass.images.audit_values import (
    SPLITS_OR_NONE,
    Audit,
    BlankImage,
    DuplicateGroup,
    FoundImage,
    ImageSizes,
    LabelOrder,
    OddImages,
    PixelKind,
    SplitFacts,
    SplitOrNone,
    Spread,
    StraddlingGroup,
)
from everyclass.images.likeness import alike_pairs
from everyclass.images.records import KindKey
from everyclass.images.table import ImageTable, SetAside
from everyclass.stats.hamming import chained
from everyclass.stats.moments import ChannelMoments, pooled


class KindCounts(NamedTuple):
    """Images of a kind, blank ones among them, and their lowest and highest value."""

    n: int
    blank: int
    low: int
    high: int


_COMMON_SIZES = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """All that the pass has seen, in row order.

    Args:
        rows: (R,) int64, the readable rows, ascending.
        digests: (R,) of two 8-byte fields, content digests of these rows.
        likeness_rows: (L,) int64, those rows that have enough contrast, ascending.
        likeness: (L, 2) uint64, their codes (`likeness.likeness_codes`).
        looks: (R,) of `looks.LOOK`, of the readable rows.
        moments: of the pixels of each split that has images, at the training size.
        sizes: (width, height) -> images.
        kinds: format, mode and depth -> what is known of them.
        blank: (row, mean level) of images of one colour.
        faults: (row, reason) of the unreadable rows.
        reduced: images decoded at a fraction of their size.
    """

    rows: npt.NDArray[np.int64]
    digests: npt.NDArray[np.void]
    likeness_rows: npt.NDArray[np.int64]
    likeness: npt.NDArray[np.uint64]
    looks: npt.NDArray[np.void]
    moments: Mapping[SplitOrNone, ChannelMoments]
    sizes: Counter[tuple[int, int]]
    kinds: Mapping[KindKey, KindCounts]
    blank: tuple[tuple[int, int], ...]
    faults: tuple[tuple[int, str], ...]
    reduced: int


def summarise(seen: Seen, table: ImageTable, *, side: int) -> Audit:
    """The audit, with its warnings and what they come to."""
    labels, codes = table.labels()[seen.rows], table.split_codes()[seen.rows]
    splits = _splits(seen, labels, codes, len(table.classes))
    trains = splits[0].split == "train"
    train_labels = labels[codes == 0] if trains else labels
    counts = np.bincount(train_labels[train_labels >= 0], minlength=len(table.classes))
    moments = pooled(tuple(seen.moments[part.split] for part in splits[: 1 if trains else None]))
    audit = Audit(
        source=table.source,
        side=side,
        classes=table.classes,
        n=len(seen.rows),
        splits=splits,
        unlabelled=int((labels < 0).sum()),
        imbalance_ratio=_ratio(counts),
        effective_classes=_effective(counts),
        mean=moments.mean,
        std=moments.std,
        sizes=_sizes(seen.sizes, side),
        kinds=_kinds(seen.kinds),
        reduced=seen.reduced,
        unreadable=tuple(_set_aside(table, row, reason) for row, reason in seen.faults),
        set_aside=table.set_aside,
        blank=tuple(BlankImage(found=_found(table, row), level=level) for row, level in seen.blank),
        duplicates=_duplicates(seen, table),
        near_duplicates=_near_duplicates(seen, table),
        odd_images=_odd_images(seen, table),
        straddling=_straddling(seen.rows, table),
        label_order=_label_order(train_labels[train_labels >= 0]),
        notes=table.notes,
    )
    audit = replace(audit, warnings=find_warnings(audit))
    return replace(audit, meaning=say_meaning(audit))


def _splits(
    seen: Seen, labels: npt.NDArray[np.int64], codes: npt.NDArray[np.int8], n_classes: int
) -> tuple[SplitFacts, ...]:
    def facts(split: SplitOrNone) -> SplitFacts:
        code = SPLITS_OR_NONE.index(split) if split else -1
        inside = labels[codes == code]
        counts = np.bincount(inside[inside >= 0], minlength=n_classes)
        moments = seen.moments[split]
        return SplitFacts(
            split=split,
            n=len(inside),
            counts=tuple(int(count) for count in counts),
            n_pixels=moments.n_pixels,
            mean=moments.mean,
            std=moments.std,
        )

    return tuple(facts(split) for split in SPLITS_OR_NONE if split in seen.moments)


def _ratio(counts: npt.NDArray[np.int64]) -> float | None:
    present = counts[counts > 0]
    return float(present.max() / present.min()) if len(present) else None


def _effective(counts: npt.NDArray[np.int64]) -> float | None:
    present = counts[counts > 0]
    if len(present) == 0:
        return None
    prior = present / present.sum()
    return float(np.exp(-(prior * np.log(prior)).sum()))


def _sizes(sizes: Counter[tuple[int, int]], side: int) -> ImageSizes:
    common = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    return ImageSizes(
        width=_spread(sizes, axis=0),
        height=_spread(sizes, axis=1),
        distinct=len(sizes),
        common=tuple((width, height, n) for (width, height), n in common[:_COMMON_SIZES]),
        smaller=sum(n for size, n in sizes.items() if min(size) < side),
    )


def _spread(sizes: Counter[tuple[int, int]], *, axis: int) -> Spread:
    lengths: Counter[int] = Counter()
    for size, n in sizes.items():
        lengths[size[axis]] += n
    ordered = np.array(sorted(lengths))
    total = np.cumsum([lengths[int(length)] for length in ordered])
    median = ordered[np.searchsorted(total, (total[-1] + 1) // 2)]
    return Spread(low=int(ordered[0]), median=int(median), high=int(ordered[-1]))


def _kinds(kinds: Mapping[KindKey, KindCounts]) -> tuple[PixelKind, ...]:
    ordered = sorted(kinds.items(), key=lambda item: (-item[1].n, item[0]))
    return tuple(
        PixelKind(
            format=name,
            mode=mode,
            bit_depth=depth,
            n=counts.n,
            blank=counts.blank,
            low=counts.low,
            high=counts.high,
        )
        for (name, mode, depth), counts in ordered
    )


def _duplicates(seen: Seen, table: ImageTable) -> tuple[DuplicateGroup, ...]:
    """Groups of two or more rows with one digest, by their first row.

    A digest of 128 bits stands for the content: for two of 50 million different files to share
    one has a probability of about 4e-24.
    """
    high, low = seen.digests["high"], seen.digests["low"]
    order = np.lexsort((seen.rows, low, high))
    high, low, rows = high[order], low[order], seen.rows[order]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    starts = np.flatnonzero(new)
    sizes = np.diff(starts, append=len(rows))
    groups = [rows[start : start + size] for start, size in zip(starts, sizes) if size > 1]
    return tuple(
        DuplicateGroup(images=tuple(_found(table, int(row)) for row in group))
        for group in sorted(groups, key=lambda group: int(group[0]))
    )


def _near_duplicates(seen: Seen, table: ImageTable) -> tuple[DuplicateGroup, ...]:
    """Groups of files that look alike, by their first row; of identical files the first stands
    for all."""
    _, first = np.unique(seen.digests, return_index=True)
    distinct = np.isin(seen.likeness_rows, seen.rows[first])
    rows = seen.likeness_rows[distinct]
    group_of = chained(alike_pairs(seen.likeness[distinct]), len(rows))
    sizes = np.bincount(group_of, minlength=len(rows))
    order = np.argsort(group_of, kind="stable")
    together = order[sizes[group_of[order]] > 1]
    starts = np.flatnonzero(np.diff(group_of[together], prepend=-1))
    return tuple(
        DuplicateGroup(images=tuple(_found(table, int(row)) for row in group))
        for group in np.split(rows[together], starts[1:])
        if len(group)
    )


def _odd_images(seen: Seen, table: ImageTable) -> tuple[OddImages, ...]:
    blank = np.isin(seen.rows, [row for row, _ in seen.blank])
    return tuple(
        OddImages(oddity=oddity, images=tuple(_found(table, int(row)) for row in seen.rows[places]))
        for oddity, places in odd_rows(seen.looks, blank).items()
    )


def _straddling(rows: npt.NDArray[np.int64], table: ImageTable) -> tuple[StraddlingGroup, ...]:
    groups, codes = table.group_codes()[rows], table.split_codes()[rows]
    placed = (groups >= 0) & (codes >= 0)
    if not placed.any():
        return ()
    counts = np.zeros((groups.max() + 1, 3), dtype=np.int64)
    np.add.at(counts, (groups[placed], codes[placed]), 1)
    guilty = np.flatnonzero((counts > 0).sum(axis=1) > 1)
    if len(guilty) == 0:
        return ()
    # Codes count groups in order of appearance: the first row with a code has its name.
    _, first = np.unique(table.group_codes(), return_index=True)
    offset = int((table.group_codes() < 0).any())
    names = table.columns["group"]
    return tuple(
        StraddlingGroup(
            group=str(names[int(first[code + offset])]),
            counts=tuple(
                (SPLITS_OR_NONE[split], int(counts[code, split]))
                for split in np.flatnonzero(counts[code])
            ),
        )
        for code in guilty
    )


def _label_order(labels: npt.NDArray[np.int64]) -> LabelOrder | None:
    n = len(labels)
    if n < 2:
        return None
    counts = np.bincount(labels)
    return LabelOrder(
        alike=float((labels[1:] == labels[:-1]).mean()),
        alike_if_shuffled=float((counts * (counts - 1)).sum() / (n * (n - 1))),
    )


def _found(table: ImageTable, row: int) -> FoundImage:
    return FoundImage(
        image=table.image(row), label=_label(table, row), split=_split_name(table, row)
    )


def _set_aside(table: ImageTable, row: int, reason: str) -> SetAside:
    return SetAside(image=table.image(row), label=_label(table, row), reason=reason)


def _label(table: ImageTable, row: int) -> str | None:
    label = table.columns["label"][row].as_py()
    return None if label is None else table.classes[label]


def _split_name(table: ImageTable, row: int) -> SplitOrNone:
    split: SplitOrNone = table.columns["split"][row].as_py() or ""
    return split
