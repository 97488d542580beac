"""ImageTable -> the same table with train, val and test: stable, grouped, stratified.

Comes in: a table, two fractions, a seed. Goes out: the table with every row on a side, and in
words what could not be had. It looks at keys, groups and labels only, never at a pixel.

**Units.** What is divided are units (`units`): a group with all its rows, files with the same
content, or one image. A unit never straddles. It has a fixed number u in [0, 1), drawn from the
seed and its name, and from nothing else.

**The rule.** u below `val_fraction` is val, u in the top `test_fraction` is test, the rest train.
So a unit's side depends on no other row, and every class is divided by the fractions up to
chance: of n units val gets n * fraction, with a standard deviation of
sqrt(n * fraction * (1 - fraction)).

**The fix-up.** Chance may leave a class without a unit in train, in val (asked for with two units
or more) or in test (with three). Then, and only then, one unit for each side that lacks one, in
this order, comes from a side that has two or more of the class's units or that is not asked for:
to train the one whose u is nearest to train's stretch of [0, 1), to val the one with the lowest u,
to test the one with the highest. Classes are served from the fewest units to the most, and a class
that was served keeps a unit on each of its sides; so a group of several classes is divided for
its rarest class.

**What is stable.** Where units hold one class each, adding rows moves a unit only if the fix-up
held it before or holds it after. It holds at most two units of a class, and it depends on units of
the same class only. A class whose own numbers put a unit on each side it is asked for needs no
fix-up, and once that is so (three units or more) none of its units ever moves, however many rows
are added. The chance that a class of n units needs it is at most
(1 - val)^n + (1 - test)^n + (val + test)^n: 8 % for 20 units at fractions of 15 % and 15 %, less
than 0.1 % for 50. No rule that sees nothing but the table can do without: if no row ever moved,
each row would have a side once and for all, and a class of rows of one side would lack the other.
A group with several classes can move, too, when the fix-up moves it for any of them.
The order of rows, other rows' paths and other seeds' splits play no part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from everyclass.errors import InputError
from everyclass.images.readers_rules import listed, plural
from everyclass.images.table import SPLITS, ImageTable
from everyclass.images.units import Integers, Units, joined_copies, units_of

_TRAIN, _VAL, _TEST = range(3)


def assign_splits(
    table: ImageTable,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    contents: npt.NDArray[np.uint8] | None = None,
) -> tuple[ImageTable, tuple[str, ...]]:
    """Put every row into train, val or test; the module's text says how, and what is stable.

    Splits that the table brings are kept. Only rows in train or without a split are divided: val
    is cut off where the table has no val, test where it has neither val nor test. What is not cut
    off is train; a row whose group is in the table's own val or test goes there, or stays in
    train if the table has put it there. A table with val and test rows only is left as it is.

    Args:
        table: images, with or without labels.
        val_fraction: in [0, 1), the share of units for val; 0 = none.
        test_fraction: in [0, 1), the share of units for test; 0 = none. Together below 1.
        seed: another seed gives another split.
        contents: (N, 16) uint8, a digest of each row's file, zeros where it is not known: rows with
            the same one go together.
    Returns:
        The table with its split column filled, and a sentence for each thing that could not be
        had (classes that are not on a side, and why).
    Raises:
        InputError: fractions out of range.
    """
    _check_fractions(val_fraction, test_fraction)
    joined = table if contents is None else joined_copies(table, contents)
    given = table.split_codes()
    has_val, has_test = bool((given == _VAL).any()), bool((given == _TEST).any())
    val = 0.0 if has_val else val_fraction
    test = 0.0 if has_val or has_test else test_fraction
    codes, pool = _kept_rows(given, joined.group_codes())
    units = units_of(joined, np.flatnonzero(pool), seed, stream="split")
    sides = np.full(len(units.u), _TRAIN, dtype=np.int8)
    sides[units.u < val] = _VAL
    sides[units.u >= 1.0 - test] = _TEST
    trained = np.bincount(table.labels()[(codes == _TRAIN) & ~pool & (table.labels() >= 0)])
    _fix_up(sides, units, val=val, test=test, trained_anyway=set(np.flatnonzero(trained).tolist()))
    codes[pool] = sides[units.of_row]
    divided = table.with_split_codes(codes)
    shortfalls = _shortfalls(divided, units, val=val, test=test)
    unassigned = int((pool & (given < 0)).sum())
    if has_val and unassigned:
        shortfalls += (f"{plural(unassigned, 'row')} without a split put in train.",)
    return divided, shortfalls


def _check_fractions(val_fraction: float, test_fraction: float) -> None:
    for name, fraction in (("val", val_fraction), ("test", test_fraction)):
        if not 0.0 <= fraction < 1.0:
            raise InputError(
                f"The {name} fraction is {fraction:g}.",
                remedy="Choose one from 0 (no such split) to below 1.",
            )
    if val_fraction + test_fraction >= 1.0:
        raise InputError(
            f"The val fraction {val_fraction:g} and the test fraction {test_fraction:g} leave "
            "nothing for train.",
            remedy="Let them add up to less than 1.",
        )


def _kept_rows(
    given: npt.NDArray[np.int8], groups: Integers
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_]]:
    """Split codes that are settled by the table, and (N,) bool: the rows still to be divided."""
    codes = given.copy()
    grouped = groups >= 0
    side_of_group = np.full(groups.max(initial=-1) + 1, -1, dtype=np.int8)
    settled = grouped & (given > _TRAIN)
    np.maximum.at(side_of_group, groups[settled], given[settled])
    follows = np.zeros(len(given), dtype=bool)
    follows[grouped] = side_of_group[groups[grouped]] > _TRAIN
    followers = follows & (given < 0)
    codes[followers] = side_of_group[groups[followers]]
    return codes, (given <= _TRAIN) & ~follows


def _sides_asked_for(unit_count: int, *, val: float, test: float) -> tuple[int, ...]:
    """Train with one unit, val with two, test with three (with two where no val is cut off)."""
    asked = [_TRAIN]
    for side, fraction in ((_VAL, val), (_TEST, test)):
        if fraction > 0 and unit_count > len(asked):
            asked.append(side)
    return tuple(asked)


def _fix_up(
    sides: npt.NDArray[np.int8],
    units: Units,
    *,
    val: float,
    test: float,
    trained_anyway: set[int],
) -> None:
    """Fill, in place, the sides that chance left without a unit of a class."""
    held = np.zeros(len(sides), dtype=bool)
    distance = np.maximum(val - units.u, units.u - (1.0 - test))
    by_rarity = sorted(range(len(units.of_class)), key=lambda c: (len(units.of_class[c]), c))
    for label in by_rarity:
        members = units.of_class[label]
        asked = _sides_asked_for(len(members), val=val, test=test)
        for side in asked:
            if side == _TRAIN and label in trained_anyway:
                continue
            counts = np.bincount(sides[members], minlength=3)
            if counts[side]:
                continue
            spare = (counts >= 2) | ~np.isin(np.arange(3), asked)
            movable = members[spare[sides[members]] & ~held[members]]
            if len(movable):
                sides[_choice(side, movable, distance)] = side
        if units.share_classes:
            for side in asked:
                held[members[sides[members] == side][:1]] = True


def _choice(side: int, movable: Integers, distance: npt.NDArray[np.float64]) -> int:
    """The unit that moves; `movable` is in order of u, `distance` is from train's stretch."""
    if side == _TRAIN:
        return int(movable[np.argmin(distance[movable])])
    return int(movable[0] if side == _VAL else movable[-1])


def _shortfalls(table: ImageTable, units: Units, *, val: float, test: float) -> tuple[str, ...]:
    """A sentence for each reason why classes are not on a side, with their names."""
    counts = np.stack([table.counts(split) for split in SPLITS])
    there = [_TRAIN] if counts[_TRAIN].any() else []
    there += [side for side in (_VAL, _TEST) if counts[side].any() or (val, test)[side - 1] > 0]
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for label in np.flatnonzero(counts.sum(axis=0)).tolist():
        missing = [side for side in there if counts[side, label] == 0]
        if missing:
            reason = _reason(label, missing, units, counts, val=val, test=test)
            sides = " and ".join(SPLITS[side] for side in missing)
            names[sides, reason].append(table.classes[label])
    return tuple(
        f"{_classes(missing)} not in {sides}: {reason}."
        for (sides, reason), missing in names.items()
    )


def _classes(names: Sequence[str]) -> str:
    return f"Class {listed(names)} is" if len(names) == 1 else f"Classes {listed(names)} are"


def _reason(
    label: int, missing: Sequence[int], units: Units, counts: Integers, *, val: float, test: float
) -> str:
    cut_off = {_VAL: val > 0, _TEST: test > 0, _TRAIN: True}
    if not any(cut_off[side] for side in missing):
        return "so the data set divides its images"
    unit_count = len(units.of_class[label])
    asked = _sides_asked_for(unit_count, val=val, test=test)
    if any(side in asked for side in missing):
        return "rarer classes need its groups where they are"
    if unit_count == 1:
        if counts[:, label].sum() == 1:
            return "one image only, which stays in train"
        return "all images are of one group, or copies of each other, which stay in train"
    return "two different images or groups only, one for train and one for val"
