"""Smaller training sets out of one: nested, stratified, groups whole.

Comes in: a table with splits. Goes out: rows. Validation and test images always stay. Looks at
names, groups and labels only.

What is drawn are units: a group with all its rows, or one image without a group, since new images
come as new groups too. Each unit has a number drawn from the seed and its name, and from nothing
else; within a class the units of the lowest numbers come first, until the class has the share asked
for. So a smaller share is part of a larger one. A group of several classes counts for the rarest of
them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from everyclass.images.table import SPLITS, ImageTable
from everyclass.seeding import stream_seed

_Integers = npt.NDArray[np.int64]


def nested_subset(table: ImageTable, *, share: float, seed: int) -> _Integers:
    """The rows with a share of the training images of every class.

    Args:
        table: labelled training rows, with splits.
        share: in (0, 1]; a class keeps one unit at least.
        seed: another seed draws other units.
    Returns:
        (M,) rising rows: all that are not training rows, and those that were drawn.
    """
    return _kept(table, share=share, seed=seed, only=None)


def one_class_subset(table: ImageTable, *, label: int, share: float, seed: int) -> _Integers:
    """The rows with a share of the training images of one class; other classes stay whole.

    Of a group that is not drawn only the images of this class go.

    Args:
        table: labelled training rows, with splits.
        label: of the class.
        share: in (0, 1].
        seed: another seed draws other units.
    Returns:
        (M,) rising rows.
    """
    return _kept(table, share=share, seed=seed, only=label)


def _kept(table: ImageTable, *, share: float, seed: int, only: int | None) -> _Integers:
    assert 0 < share <= 1, "a share of the images"
    train = table.split_codes() == SPLITS.index("train")
    keep = np.ones(len(table), dtype=bool)
    rows = np.flatnonzero(train if only is None else train & (table.labels() == only))
    labels = table.labels()[rows]
    units, numbers = _units(table, rows, seed)
    of_unit = _rarest_class(units, labels, len(numbers))
    for label in np.unique(labels).tolist():
        members = np.flatnonzero(of_unit == label)
        members = members[np.argsort(numbers[members], kind="stable")]
        if not len(members):
            continue  # all its images are in groups that count for rarer classes
        sizes = np.bincount(units[labels == label], minlength=len(numbers))[members]
        reached = np.cumsum(sizes)
        # The number of units whose images are nearest to the share.
        taken = 1 + int(np.argmin(np.abs(reached - share * reached[-1])))
        keep[rows[np.isin(units, members[taken:])]] = False
    return np.flatnonzero(keep)


def _units(
    table: ImageTable, rows: _Integers, seed: int
) -> tuple[_Integers, npt.NDArray[np.float64]]:
    """The unit of each row, and the number of each unit in [0, 1)."""
    keys = table.keys().take(rows).to_pylist()
    groups = table.columns["group"].chunk(0).take(rows).to_pylist()
    names = [
        ("image", key) if group is None else ("group", group) for key, group in zip(keys, groups)
    ]
    place = {name: k for k, name in enumerate(dict.fromkeys(names))}
    numbers = np.array([stream_seed(seed, "subset", *name) for name in place], dtype=np.float64)
    return np.array([place[name] for name in names], dtype=np.int64), numbers / 2.0**63


def _rarest_class(units: _Integers, labels: _Integers, n_units: int) -> _Integers:
    """(U,) the class of each unit that has the fewest images in all."""
    counts = np.bincount(labels)
    order = np.argsort(-counts[labels], kind="stable")  # rarest last: it is what stays written
    found = np.zeros(n_units, dtype=np.int64)
    found[units[order]] = labels[order]
    return found
