"""What a data set is divided by: groups that stay together, each with a fixed random number.

Comes in: a table, a seed. Goes out: for each row its unit, for each unit a number u in [0, 1).
Decides no side and no fold.

A unit is a group with all its rows, or one image without a group. Its number is drawn from the
seed, the name of the stream and its own name (the group, or the image's path below the table's
root), and from nothing else: it depends on no other row.

Files with the same content are one unit too, and join the groups that they are in: the name of what
is joined is the first of its groups' names, else of its images' paths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from everyclass.images.table import SCHEMA, ImageTable
from everyclass.seeding import stream_seed
from everyclass.stats.hamming import chained

_NAMES_AT_ONCE = 1 << 16
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """What is divided.

    Args:
        of_row: (rows that are divided,) the unit of each row.
        u: (U,) float64 in [0, 1), the fixed number of each unit.
        of_class: for each class its units in order of u.
        share_classes: whether any unit holds more than one class.
    """

    of_row: Integers
    u: npt.NDArray[np.float64]
    of_class: tuple[Integers, ...]
    share_classes: bool


def joined_copies(table: ImageTable, contents: npt.NDArray[np.uint8]) -> ImageTable:
    """The table with groups that hold the copies of their files too.

    Args:
        contents: (N, 16) uint8, a digest of each row's file, zeros where it is not known.
    """
    known = np.flatnonzero(contents.any(axis=1))
    _, first, of_known = np.unique(contents[known], axis=0, return_index=True, return_inverse=True)
    of_known = of_known.reshape(-1)
    copies = np.bincount(of_known)[of_known] > 1
    if not copies.any():
        return table
    groups = table.group_codes()
    grouped = np.flatnonzero(groups >= 0)
    _, first_of_group, of_grouped = np.unique(
        groups[grouped], return_index=True, return_inverse=True
    )
    pairs = np.concatenate(
        [
            np.stack([known[copies], known[first][of_known[copies]]], axis=1),
            np.stack([grouped, grouped[first_of_group][of_grouped]], axis=1),
        ]
    )
    root = chained(pairs, len(table))
    touched = np.isin(root, root[known[copies]])
    rows, group = pa.array(np.flatnonzero(touched)), table.columns["group"].chunk(0)
    roots = root[touched].tolist()
    best: dict[int, tuple[bool, str]] = {}
    for one, name, key in zip(
        roots, group.take(rows).to_pylist(), table.keys().take(rows).to_pylist()
    ):
        own = (name is None, key if name is None else name)
        best[one] = min(best.get(one, own), own)
    joined = pa.array([best[one][1] for one in roots], type=pa.large_string())
    column = pc.replace_with_mask(group, pa.array(touched), joined)
    place = SCHEMA.get_field_index("group")
    columns = table.columns.set_column(place, SCHEMA.field("group"), column)
    return replace(table, columns=columns)


def units_of(table: ImageTable, rows: Integers, seed: int, *, stream: str) -> Units:
    """The units of these rows: groups first, then rows that are in no group.

    Args:
        rows: row numbers of the table.
        seed: another seed gives other numbers.
        stream: what the numbers are for; another one gives other numbers, too.
    """
    group_codes = table.group_codes()[rows]
    alone = group_codes < 0
    _, first, of_grouped = np.unique(group_codes[~alone], return_index=True, return_inverse=True)
    of_row = np.empty(len(rows), dtype=np.int64)
    of_row[~alone] = of_grouped
    of_row[alone] = len(first) + np.arange(alone.sum())
    groups = table.columns["group"].chunk(0).take(pa.array(rows[~alone][first]))
    keys = table.keys().take(pa.array(rows[alone]))
    u = np.concatenate(
        [_numbers(groups, seed, stream, "group"), _numbers(keys, seed, stream, "image")]
    )
    return _with_classes(of_row, u, table.labels()[rows], len(table.classes))


def _numbers(
    names: pa.LargeStringArray, seed: int, stream: str, kind: str
) -> npt.NDArray[np.float64]:
    """u of each name: the top 53 bits of its stream's seed, which a float64 holds exactly."""
    seeds = np.empty(len(names), dtype=np.int64)
    for start in range(0, len(names), _NAMES_AT_ONCE):
        part = names.slice(start, _NAMES_AT_ONCE).to_pylist()
        seeds[start : start + len(part)] = [stream_seed(seed, stream, kind, n) for n in part]
    return (seeds >> 10) / 2.0**53


def _with_classes(
    of_row: Integers, u: npt.NDArray[np.float64], labels: Integers, class_count: int
) -> Units:
    labelled = labels >= 0
    pairs = np.unique(of_row[labelled] * class_count + labels[labelled])
    unit, label = pairs // max(class_count, 1), pairs % max(class_count, 1)
    order = np.lexsort((u[unit], label))
    bounds = np.cumsum(np.bincount(label, minlength=class_count))[:-1]
    return Units(
        of_row=of_row,
        u=u,
        of_class=tuple(np.split(unit[order], bounds)) if class_count else (),
        share_classes=len(np.unique(unit)) < len(unit),
    )
