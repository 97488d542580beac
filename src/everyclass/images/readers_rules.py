"""The rules that folders and manifests share: image names, split names, class order, sound classes.

Comes in: names and tables. Goes out: an order, or a refusal in words. It opens no file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from everyclass.errors import InputError
from everyclass.images.table import SPLITS, ImageTable, SplitName

SLIDE_EXTENSIONS = (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".svslide", ".vms", ".vmu")
"""Of whole-slide images, which are read in parts (`slides`)."""

IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png"),
    *(".webp", ".tif", ".tiff", ".bmp"),
    *(".dcm", ".dicom"),
    *SLIDE_EXTENSIONS,
)
"""What a file must end in, in any case, to be taken for an image when a folder is read."""

SPLIT_ALIASES: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What a split may be called, in lower case, and its name here."""

_SMALLEST_ID_COLUMN = 50
"""With up to this many rows, a class of its own for every row is taken for a tiny example."""


def is_image_name(name: str) -> bool:
    """Whether a file name ends like an image; `.JPG` as well as `.jpg`."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in natural order: numbers inside names count as numbers.

    Whole numbers come in numerical order (-1, 2, 10); other names by their parts, letters
    without regard to case (a2, A10, b1). A reader that sorts plain strings, such as
    torchvision's ImageFolder, would give 1, 10, 2.

    Example:
        >>> class_order(["10", "1", "2"])
        ('1', '2', '10')
    """
    distinct = set(names)
    if all(re.fullmatch(r"-?[0-9]+", name) for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    return tuple(sorted(distinct, key=_natural_key))


def _natural_key(name: str) -> tuple[list[str | int], str]:
    """Text and number parts in turn, so that like is compared with like; then the name itself."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)], name


def listed(names: Sequence[str], *, at_most: int = 5) -> str:
    """Names in quotes for a message: 'a', 'b' and 7 more."""
    shown = ", ".join(f"'{name}'" for name in names[:at_most])
    more = len(names) - at_most
    return f"{shown} and {more:,} more" if more > 0 else shown


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun: 1 row, 2,000 rows."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def case_notes(classes: Sequence[str]) -> tuple[str, ...]:
    """A sentence when class names differ in nothing but capital letters: often one class."""
    folded = Counter(name.casefold() for name in classes)
    alike = [name for name in classes if folded[name.casefold()] > 1]
    if not alike:
        return ()
    return (f"Classes that differ only in capital letters are kept apart: {listed(alike)}.",)


def check_classes(
    table: ImageTable, *, labels_from: str, place: Callable[[int], str], remedy_for_one: str = ""
) -> None:
    """Refuse a table from which no classifier can be trained or measured.

    Args:
        table: as read, with labels.
        labels_from: where labels come from, for messages: "column 'label'", "class folders".
        place: how a user finds a row of the table: "row 812, 0812.jpg".
        remedy_for_one: what to do when there is only one class, where the reader knows.
    Raises:
        InputError: no usable row; one class only; a class none of whose rows can be used; more
            than 50 rows and each its own class; a class in val or test that is not in train,
            when any row may be trained on.
    """
    if len(table) == 0:
        first = table.set_aside[0]
        raise InputError(
            f"{table.source} has no usable row; {plural(len(table.set_aside), 'row')} set aside "
            f"(first: {first.image or 'no image named'}: {first.reason}).",
            remedy="Mend these rows.",
        )
    counts = table.counts()
    _refuse_lost_classes(table)
    if len(table.classes) == 1:
        raise InputError(
            f"{table.source} has one class only, '{table.classes[0]}' "
            f"({plural(int(counts[0]), 'image')}, from {labels_from}).",
            remedy=remedy_for_one or "A classifier needs two or more.",
        )
    if len(table.classes) == len(table) > _SMALLEST_ID_COLUMN:
        raise InputError(
            f"In {table.source} each of {len(table):,} images has a class of its own, "
            f"from {labels_from} (first: {listed(table.classes, at_most=3)}).",
            remedy="That looks like an identifier, not a label: say which column holds the class, "
            "--label-column NAME.",
        )
    _refuse_untrained_classes(table, place)


def _refuse_lost_classes(table: ImageTable) -> None:
    lost = [name for name, n in zip(table.classes, table.counts()) if n == 0]
    if not lost:
        return
    rows = [row for row in table.set_aside if row.label == lost[0]]
    first = f" (first: {rows[0].image}: {rows[0].reason})" if rows else ""
    others = f" The same holds for {listed(lost[1:])}." if lost[1:] else ""
    raise InputError(
        f"Class '{lost[0]}' has {plural(len(rows), 'row')} in {table.source}, "
        f"but none can be used{first}.{others}",
        remedy="Mend these rows, or remove them if the class is not wanted.",
    )


def _refuse_untrained_classes(table: ImageTable, place: Callable[[int], str]) -> None:
    """Rows without a split may yet be trained on, so they count as train here.

    A table without any train row is there to be evaluated, and is left alone.
    """
    codes, labels = table.split_codes(), table.labels()
    trained = np.bincount(labels[(codes <= 0) & (labels >= 0)], minlength=len(table.classes))
    if not trained.any():
        return
    for code in (1, 2):
        inside = codes == code
        for label in np.flatnonzero(trained == 0):
            rows = np.flatnonzero(inside & (labels == label))
            if len(rows):
                raise InputError(
                    f"Class '{table.classes[label]}' is in split {SPLITS[code]} "
                    f"({plural(len(rows), 'row')}, first: {place(int(rows[0]))}) "
                    "but not in train.",
                    remedy="Move at least one to train, or remove these rows.",
                )
