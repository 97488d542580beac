"""ImageTable -> k folds: stable, grouped, stratified.

Comes in: a table, how many folds, a seed. Goes out: a fold for each row that may be judged, and in
words what could not be had. It looks at keys, groups and labels only, never at a pixel.

**The rule.** A unit (`units`: a group, copies of a file, or one image) has a fixed number u in
[0, 1), drawn from the seed and its name. Its fold is floor(u k): it depends on no other row, and
every class is divided evenly up to chance.

**The fix-up.** A class of k units or more is to be in every fold, one of fewer in as many folds as
it has units. Where chance leaves a fold without, the unit with the lowest u of the fold that has
most of the class's units goes there. Classes are served from the fewest units to the most, and a
class that was served keeps a unit in each of its folds; so a group of several classes is divided
for its rarest class.

**Never judged.** Whoever judges a fold has trained on the others. So a class with one unit is in no
fold: it is always trained on. The same goes for a class that groups of several classes hold
together in one fold.

**What is stable.** Where units hold one class each, adding rows moves a unit only if the fix-up
moved it before or moves it after, and this depends on units of the same class only. A class whose
own numbers put a unit in each fold needs none, however many rows are added; that it needs one has a
chance of at most k (1 - 1/k)^n: 6 % for 20 units and 5 folds, 0.01 % for 50.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from everyclass.errors import InputError
from everyclass.images.readers_rules import listed, plural
from everyclass.images.table import SPLITS, ImageTable
from everyclass.images.units import Integers, Units, joined_copies, units_of

NEVER_JUDGED = -1
LEFT_OUT = -2

_TEST = SPLITS.index("test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Folds:
    """A table divided.

    Attributes:
        of_row: (N,) int64, the fold of each row from 0; `NEVER_JUDGED` for what is trained on in
            every fold, `LEFT_OUT` for the table's own test split.
        n_folds: k.
        sentences: what could not be had, and which rows were left out.
    """

    of_row: Integers
    n_folds: int
    sentences: tuple[str, ...]


def assign_folds(
    table: ImageTable,
    *,
    n_folds: int,
    seed: int,
    contents: npt.NDArray[np.uint8] | None = None,
) -> Folds:
    """Put every row outside the table's test split into a fold; the module's text says how.

    Rows of a group that the table has in test, too, stay in their fold: which images were to be
    kept apart is the table's own decision.

    Args:
        table: images, with or without labels.
        n_folds: k, 2 or more.
        seed: another seed gives other folds.
        contents: (N, 16) uint8, a digest of each row's file, zeros where it is not known: rows with
            the same one go together.
    Raises:
        InputError: fewer than 2 folds, or a fold without any image.
    """
    if n_folds < 2:
        raise InputError(
            f"{n_folds} folds were asked for; the images of a fold are judged by a model that was "
            "trained on the other folds.",
            remedy="Ask for 2 or more; 5 is usual.",
        )
    rows = np.flatnonzero(table.split_codes() != _TEST)
    joined = table if contents is None else joined_copies(table, contents)
    units = units_of(joined, rows, seed, stream="folds")
    folds = np.minimum((units.u * n_folds).astype(np.int64), n_folds - 1)
    _fix_up(folds, units, n_folds)
    _set_apart(folds, units)
    of_row = np.full(len(table), LEFT_OUT, dtype=np.int64)
    of_row[rows] = folds[units.of_row]
    filled = np.unique(of_row[of_row >= 0]).size
    if filled < n_folds:
        raise InputError(
            f"{table.source} has {plural(len(units.u), 'image or group', 'images or groups')} that "
            f"can be told apart, which fill {filled} of {n_folds} folds.",
            remedy="Ask for fewer --folds, or add images.",
        )
    return Folds(
        of_row=of_row, n_folds=n_folds, sentences=_sentences(table, units, folds, of_row, n_folds)
    )


def _fix_up(folds: Integers, units: Units, n_folds: int) -> None:
    """Spread, in place, each class over as many folds as it can be in."""
    held = np.zeros(len(folds), dtype=bool)
    by_rarity = sorted(range(len(units.of_class)), key=lambda c: (len(units.of_class[c]), c))
    for label in by_rarity:
        members = units.of_class[label]
        counts = np.bincount(folds[members], minlength=n_folds)
        while np.count_nonzero(counts) < min(len(members), n_folds):
            movable = members[(counts[folds[members]] >= 2) & ~held[members]]
            if not len(movable):
                break
            fullest = folds[movable[np.argmax(counts[folds[movable]])]]
            chosen = movable[folds[movable] == fullest][0]  # members are in order of u
            folds[chosen] = int(np.argmin(counts > 0))
            counts = np.bincount(folds[members], minlength=n_folds)
        if units.share_classes:
            for fold in range(n_folds):
                held[members[folds[members] == fold][:1]] = True


def _set_apart(folds: Integers, units: Units) -> None:
    """Take out of their fold, in place, the units of a class that only this fold has."""
    for members in units.of_class:
        if len(members) and np.unique(folds[members]).size == 1:
            folds[members] = NEVER_JUDGED


def _sentences(
    table: ImageTable, units: Units, folds: Integers, of_row: Integers, n_folds: int
) -> tuple[str, ...]:
    told = list[str]()
    left_out = int((of_row == LEFT_OUT).sum())
    if left_out:
        told.append(f"{plural(left_out, 'image')} of the data set's own test split are left alone.")
    never, fewer = list[str](), list[str]()
    for label, members in enumerate(units.of_class):
        judged = np.unique(folds[members][folds[members] >= 0]).size
        if len(members) and not judged:
            never.append(table.classes[label])
        elif judged and judged < n_folds:
            fewer.append(table.classes[label])
    if never:
        told.append(
            f"Trained on in every fold and judged in none: {listed(never)}, for want of a second "
            "image or group to learn it from."
        )
    if fewer:
        told.append(
            f"In fewer than {n_folds} folds, for want of images or groups: {listed(fewer)}."
        )
    return tuple(told)
