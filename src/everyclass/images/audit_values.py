"""What an audit found, as values, and their JSON form. Measures nothing.

An `Audit` is what the recipe decides from, what the terminal and the report show, and what
`audit.json` holds. Rows that are listed are listed whole: every unreadable image, every duplicate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from everyclass import notebook
from everyclass.errors import InputError
from everyclass.images.table import SPLITS, ImageTable, SetAside

Harm = Literal["invalid", "harmful", "notable"]
"""How much a warning matters, worst first.

- `invalid`: figures measured on these data mean something else than they seem to.
- `harmful`: it costs recall of some class, or images.
- `notable`: it may matter; the reader has to judge.
"""
HARMS: tuple[Harm, ...] = ("invalid", "harmful", "notable")

SplitOrNone = Literal["train", "val", "test", ""]
"""A split, or "" for images that are in none."""
SPLITS_OR_NONE: tuple[SplitOrNone, ...] = (*SPLITS, "")
"""In the order in which they are listed; -1, the code of "no split", indexes the last."""

_MOST_SHOWN = 50  # classes in a notebook, the largest ones

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditWarning:
    """Something that a user should know or mend.

    Args:
        id: a stable name, such as "duplicates-across-splits".
        sentence: what is so, with its numbers and the first example.
        remedy: what to do.
        evidence: the numbers, by name.
    """

    id: str
    harm: Harm
    sentence: str
    remedy: str
    evidence: Mapping[str, int | float | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFacts:
    """The readable images of one split.

    Args:
        split: "" = images in no split.
        n: images, with and without a label.
        counts: (C,) labelled images of each class.
        n_pixels: at the training size.
        mean, std: by channel in [0, 1], at the training size, pooled over pixels.
    """

    split: SplitOrNone
    n: int
    counts: tuple[int, ...]
    n_pixels: int
    mean: Colour
    std: Colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Smallest, middle (the lower of two) and largest value."""

    low: int
    median: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSizes:
    """Sizes in pixels as stored, after the EXIF rotation.

    Args:
        distinct: how many pairs of width and height occur.
        common: (width, height, images) of the most frequent, at most five.
        smaller: images with a side shorter than the training size: these are enlarged.
    """

    width: Spread
    height: Spread
    distinct: int
    common: tuple[tuple[int, int, int], ...]
    smaller: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelKind:
    """Images of one format, mode and depth.

    Args:
        format, mode, bit_depth: as stored; see `everyclass.images.pixels`.
        n: images.
        blank: images among them that show one colour only.
        low, high: smallest and largest RGB value at the training size, 0..255.
    """

    format: str
    mode: str
    bit_depth: int
    n: int
    blank: int
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """An image in a finding. `label` is the class name, None without one."""

    image: str
    label: str | None
    split: SplitOrNone


@dataclass(frozen=True, slots=True, kw_only=True)
class BlankImage:
    """An image of one colour: no channel's deviation at the training size reaches 2 of 255.

    Args:
        level: mean of all channels, 0 (black) to 255 (white).
    """

    found: FoundImage
    level: int


Oddity = Literal[
    "dark",
    "light",
    "low-information",
    "blurred",
    "grey-among-coloured",
    "odd-size",
    "stretched",
]
"""How an image looks odd; the rules are in `everyclass.images.audit_looks`."""
ODDITIES: tuple[Oddity, ...] = get_args(Oddity)


@dataclass(frozen=True, slots=True, kw_only=True)
class OddImages:
    """Images that look odd in one way, in table order. Of blank images nothing else is said."""

    oddity: Oddity
    images: tuple[FoundImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateGroup:
    """Files with the same content, byte for byte, or files that look alike; in table order."""

    images: tuple[FoundImage, ...]

    @property
    def across_labels(self) -> bool:
        """Whether they carry different labels."""
        return len({found.label for found in self.images if found.label is not None}) > 1

    @property
    def across_splits(self) -> bool:
        """Whether they lie in different splits."""
        return len({found.split for found in self.images if found.split}) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StraddlingGroup:
    """A group (patient, slide, ...) with images in more than one split.

    Args:
        counts: (split, images) for each split it has images in.
    """

    group: str
    counts: tuple[tuple[SplitOrNone, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelOrder:
    """Whether the table lists one class after the other.

    Args:
        alike: share of neighbouring training images that have the same label.
        alike_if_shuffled: the share to expect in random order.
    """

    alike: float
    alike_if_shuffled: float

    @property
    def is_sorted(self) -> bool:
        """Whether the order is nearer to sorted than to shuffled."""
        return self.alike > (1 + self.alike_if_shuffled) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Everything seen in one pass over the images of a table.

    Args:
        source: what was audited, for messages.
        side: the training size in pixels at which statistics were taken.
        classes: in label order; empty without labels.
        n: images that can be read; all figures are about these.
        splits: what is known of each split that has images, in the order train, val, test, none.
        unlabelled: readable images without a label.
        imbalance_ratio: largest over smallest nonzero count of the training images; None when
            none of them has a label.
        effective_classes: exp of the entropy of the class frequencies of the training images: so
            many equally frequent classes would be as hard to guess. None as above.
        mean, std: of the training images, by channel in [0, 1], at the training size, *pooled over
            pixels*: every pixel counts once, the deviation is from the mean of all images.
        kinds: formats, modes and depths, the most frequent first.
        reduced: giants that were decoded at a fraction of their size.
        unreadable: images that the pass could not read, with the decoder's reason.
        set_aside: rows that the reader had set aside before.
        duplicates: files with the same content, byte for byte.
        near_duplicates: different files that look alike, chained: in a group each is alike to
            another one, not to all (`everyclass.images.likeness`).
        odd_images: those that look odd, by how; an image may be in several.
        label_order: None with fewer than two labelled training images.
        warnings: by harm, the worst first.
        meaning: what it comes to, in plain sentences.
        notes: what was guessed or decided while reading the table.
    """

    source: str
    side: int
    classes: tuple[str, ...]
    n: int
    splits: tuple[SplitFacts, ...]
    unlabelled: int
    imbalance_ratio: float | None
    effective_classes: float | None
    mean: Colour
    std: Colour
    sizes: ImageSizes
    kinds: tuple[PixelKind, ...]
    reduced: int
    unreadable: tuple[SetAside, ...]
    set_aside: tuple[SetAside, ...]
    blank: tuple[BlankImage, ...]
    duplicates: tuple[DuplicateGroup, ...]
    straddling: tuple[StraddlingGroup, ...]
    label_order: LabelOrder | None
    near_duplicates: tuple[DuplicateGroup, ...] = ()
    odd_images: tuple[OddImages, ...] = ()
    warnings: tuple[AuditWarning, ...] = ()
    meaning: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_train(self) -> bool:
        """Whether any image is in the train split; if none is, all count as training images."""
        return self.splits[0].split == "train"

    @property
    def n_train(self) -> int:
        """Images that the statistics are about: the train split, or all where there is none."""
        return self.splits[0].n if self.has_train else self.n

    @property
    def train_counts(self) -> tuple[int, ...]:
        """(C,) labelled training images of each class."""
        return self.splits[0].counts if self.has_train else self.class_counts

    @property
    def class_counts(self) -> tuple[int, ...]:
        """(C,) labelled images of each class, over all splits."""
        return tuple(sum(column) for column in zip(*(part.counts for part in self.splits)))

    def of_split(self, split: SplitOrNone) -> SplitFacts | None:
        """What is known of a split; None when it has no readable images."""
        return next((part for part in self.splits if part.split == split), None)

    @property
    def judging_split(self) -> SplitFacts | None:
        """The split that figures will be read on: test, else val, beside a train split."""
        if not self.has_train:
            return None
        return self.of_split("test") or self.of_split("val")

    def usable_rows(self, table: ImageTable) -> npt.NDArray[np.int64]:
        """The rows of the audited table that can be read, for `table.take` and `store.take`."""
        return np.flatnonzero(~self._is_unreadable(table))

    def drop_unreadable(self, table: ImageTable) -> ImageTable:
        """The audited table with what could not be read among the rows set aside."""
        rows = np.flatnonzero(self._is_unreadable(table))
        reasons = {found.image: found.reason for found in self.unreadable}
        return table.without(rows, [reasons[table.image(int(row))] for row in rows])

    def _is_unreadable(self, table: ImageTable) -> npt.NDArray[np.bool_]:
        images = pa.array([found.image for found in self.unreadable], pa.large_string())
        return np.asarray(pc.is_in(table.columns["image"].chunk(0), value_set=images))

    def _repr_html_(self) -> str:
        """For a notebook: warnings with their remedies, what they come to, the classes."""
        counts = self.class_counts
        order = sorted(range(len(counts)), key=lambda k: -counts[k])
        total, largest = max(sum(counts), 1), max(counts, default=1)
        splits = [part.split or "no split" for part in self.splits]
        rows = [
            (
                self.classes[k],
                notebook.bar(counts[k] / max(largest, 1)),
                f"{counts[k]:,}",
                f"{counts[k] / total:.1%}",
                *(f"{part.counts[k]:,}" for part in self.splits),
            )
            for k in order[:_MOST_SHOWN]
        ]
        warned = [(one.harm, one.sentence, one.remedy) for one in self.warnings]
        head = ("class", "", "images", "share", *splits)
        return notebook.headed(
            f"{self.source}: {self.n:,} images, {len(self.classes)} classes",
            notebook.listed(self.meaning),
            notebook.table(("harm", "warning", "what to do"), warned, words=3) if warned else "",
            notebook.table(head, rows, words=2) if rows else "",
            notebook.more(len(order) - _MOST_SHOWN, "classes, with fewer images"),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, `audit.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object, *, where: str = "audit.json") -> Audit:
        """The audit that `to_dict` gave.

        Raises:
            InputError: a field is missing or has another type, with its name.
        """
        # Read only when a file is: the import takes a tenth of a second.
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise InputError(
                f"{field}: {first['msg']}.", where=where, remedy="Run the audit again."
            ) from error
