"""What a data set says about its images: path, label, group and split. Nothing is decoded here.

Comes in: Arrow columns, made by a reader. Goes out: numpy views, counts, smaller tables. It knows
no file format and opens no file; it is a value, so every change is a new table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
"""The split names in the order of their codes: 0, 1, 2; -1 stands for "not assigned"."""

# Large strings: 64-bit offsets, because 50 million paths pass the 2 GB of an ordinary column.
_SPLIT_TYPE = pa.dictionary(pa.int8(), pa.string())
SCHEMA = pa.schema(
    [
        ("image", pa.large_string()),
        ("label", pa.int32()),
        ("group", pa.large_string()),
        ("split", _SPLIT_TYPE),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A row that cannot be used; it is never dropped silently.

    Args:
        image: the path or URI as the table would have held it.
        label: the class name that the row gave, or None.
        reason: in plain words: "no such file", "labelled both A and B (rows 3, 17)".
    """

    image: str
    label: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTable:
    """Images with label, group and split, as Arrow columns.

    Args:
        columns: N rows with the columns of `SCHEMA`: image (path or URI), label (int32 index into
            `classes`, null = none), group (null = none), split (train, val, test; null = not
            assigned). Plain strings are accepted and brought to `SCHEMA`; each column is kept as
            one contiguous chunk.
        classes: the class names in label order; empty for images without labels.
        source: what was read, for messages.
        root: what `keys` leaves out at the front of each image path: the folder of the images
            with its trailing slash, or "" to leave out nothing.
        notes: what was guessed or decided while reading, a sentence each.
        set_aside: the rows that cannot be used, each with its reason.
    """

    columns: pa.Table
    classes: tuple[str, ...]
    source: str
    root: str = ""
    notes: tuple[str, ...] = ()
    set_aside: tuple[SetAside, ...] = ()

    def __post_init__(self) -> None:
        """Bring the columns to `SCHEMA`, one chunk each, and the split codes to `SPLITS` order."""
        split = self.columns["split"]
        columns = pa.table(
            {
                "image": _one_chunk(self.columns["image"], pa.large_string()),
                "label": _one_chunk(self.columns["label"], pa.int32()),
                "group": _one_chunk(self.columns["group"], pa.large_string()),
                "split": _fixed_split(split.combine_chunks() if split.num_chunks != 1 else split),
            },
            schema=SCHEMA,
        )
        highest = pc.max(columns["label"]).as_py()
        assert highest is None or highest < len(self.classes), "a label beyond the classes"
        object.__setattr__(self, "columns", columns)

    @classmethod
    def from_lists(
        cls,
        images: Sequence[str],
        labels: Sequence[int | None] | npt.NDArray[np.integer[Any]] | None = None,
        *,
        classes: Sequence[str] = (),
        groups: Sequence[str | None] | None = None,
        splits: Sequence[str | None] | None = None,
        source: str = "",
        root: str = "",
    ) -> ImageTable:
        """Build a table from sequences of equal length; a sequence left out is all missing.

        Example:
            >>> table = ImageTable.from_lists(["a.png", "b.png"], [0, 1], classes=("cat", "dog"))
            >>> table.counts()
            array([1, 1])
        """
        n = len(images)
        columns = pa.table(
            {
                "image": pa.array(images, pa.large_string()),
                "label": pa.nulls(n, pa.int32()) if labels is None else pa.array(labels),
                "group": pa.nulls(n, pa.large_string()) if groups is None else pa.array(groups),
                "split": pa.nulls(n, pa.string()) if splits is None else pa.array(splits),
            }
        )
        return cls(columns=columns, classes=tuple(classes), source=source, root=root)

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    def __repr__(self) -> str:
        labelled = len(self) - self.columns["label"].null_count
        return (
            f"ImageTable({self.source!r}: {len(self):,} images, {labelled:,} labelled, "
            f"{len(self.classes)} classes, {len(self.set_aside):,} set aside)"
        )

    @property
    def images(self) -> ImagePaths:
        """The image paths as a sequence; nothing is copied until an item is asked for."""
        return ImagePaths(self.columns["image"].chunk(0))

    def image(self, row: int) -> str:
        """Path or URI of one row."""
        return str(self.columns["image"][row])

    def keys(self) -> pa.LargeStringArray:
        """The image paths without `root`: what names an image when its folder has moved.

        Returns:
            (N,) Arrow strings. A path that does not begin with `root` is kept whole.
        """
        paths = self.columns["image"].chunk(0)
        if not self.root:
            return paths
        shorter = pc.utf8_slice_codeunits(paths, len(self.root))
        return pc.if_else(pc.starts_with(paths, self.root), shorter, paths)

    def labels(self) -> npt.NDArray[np.int64]:
        """(N,) int64: the index into `classes`; -1 = no label."""
        return np.asarray(pc.fill_null(self.columns["label"].chunk(0), -1), dtype=np.int64)

    def split_codes(self) -> npt.NDArray[np.int8]:
        """(N,) int8: the index into `SPLITS` (0 train, 1 val, 2 test); -1 = not assigned."""
        return np.asarray(pc.fill_null(self.columns["split"].chunk(0).indices, -1), dtype=np.int8)

    def splits(self) -> npt.NDArray[np.str_]:
        """(N,) str: "train", "val" or "test"; "" = not assigned."""
        return np.array([*SPLITS, ""])[self.split_codes()]

    def groups(self) -> npt.NDArray[np.object_]:
        """(N,) object: the group of each row; None = no group."""
        return np.asarray(self.columns["group"].to_pylist() or [], dtype=object)

    def group_codes(self) -> npt.NDArray[np.int64]:
        """(N,) int64: groups numbered from 0 in order of first appearance; -1 = no group."""
        encoded = self.columns["group"].chunk(0).dictionary_encode()
        return np.asarray(pc.fill_null(encoded.indices, -1), dtype=np.int64)

    def has_split(self, name: SplitName) -> bool:
        """Whether any row is in this split."""
        return bool((self.split_codes() == SPLITS.index(name)).any())

    def counts(self, split: SplitName | None = None) -> npt.NDArray[np.int64]:
        """(C,) int64: labelled images of each class, in one split or in the whole table."""
        labels = self.labels()
        if split is not None:
            labels = labels[self.split_codes() == SPLITS.index(split)]
        return np.bincount(labels[labels >= 0], minlength=len(self.classes)).astype(np.int64)

    def take(self, rows: Sequence[int] | npt.NDArray[np.integer[Any]]) -> ImageTable:
        """The table of these rows, in this order; classes, notes and rows set aside stay."""
        indices = pa.array(np.asarray(rows, dtype=np.int64))
        return replace(self, columns=self.columns.take(indices))

    def of_split(self, name: SplitName) -> ImageTable:
        """The rows of one split, in table order. Rows without a split belong to none."""
        return self.take(np.flatnonzero(self.split_codes() == SPLITS.index(name)))

    def with_split(self, values: Sequence[str | None] | npt.NDArray[np.str_]) -> ImageTable:
        """The same rows with these splits ("train", "val", "test"; None or "" = not assigned)."""
        codes: dict[str | None, int] = {None: -1, "": -1}
        codes.update((name, code) for code, name in enumerate(SPLITS))
        return self.with_split_codes(np.array([codes[value] for value in values], dtype=np.int8))

    def with_split_codes(self, codes: npt.NDArray[np.int8]) -> ImageTable:
        """The same rows with these splits, as `split_codes` gives them: (N,) int8, -1 = none."""
        indices = pa.array(codes.astype(np.int8), mask=codes < 0)
        split = pa.DictionaryArray.from_arrays(indices, pa.array(SPLITS))
        place = SCHEMA.get_field_index("split")
        return replace(self, columns=self.columns.set_column(place, SCHEMA.field("split"), split))

    def without(
        self, rows: Sequence[int] | npt.NDArray[np.integer[Any]], reasons: Sequence[str]
    ) -> ImageTable:
        """Move rows to `set_aside`, each with its reason.

        Args:
            rows: distinct row numbers.
            reasons: one for each, in plain words.
        """
        indices = np.asarray(rows, dtype=np.int64)
        assert len(indices) == len(reasons), "a reason for each row"
        labels = self.columns["label"].take(pa.array(indices)).to_pylist()
        moved = tuple(
            SetAside(
                image=self.image(int(row)),
                label=None if label is None else self.classes[label],
                reason=reason,
            )
            for row, label, reason in zip(indices, labels, reasons)
        )
        keep = np.ones(len(self), dtype=bool)
        keep[indices] = False
        kept = self.take(np.flatnonzero(keep))
        return replace(kept, set_aside=self.set_aside + moved)

    def fingerprint(self) -> str:
        """SHA-256 over the classes and every row's key, label, group and split, in table order.

        Two tables with the same fingerprint train the same model from the same files. The key is
        used, not the path, so that a moved folder keeps its fingerprint.

        Returns:
            64 hexadecimal digits.
        """
        digest = hashlib.sha256(json.dumps([self.classes, len(self)]).encode())
        digest.update(self.labels().astype("<i8").tobytes())
        digest.update(self.split_codes().tobytes())
        _hash_strings(digest, self.keys())
        _hash_strings(digest, self.columns["group"].chunk(0))
        return digest.hexdigest()


class ImagePaths(Sequence[str]):
    """The image column read as a sequence of str, without turning all of it into objects."""

    __slots__ = ("_array",)

    def __init__(self, array: pa.LargeStringArray) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> ImagePaths: ...

    def __getitem__(self, index: int | slice) -> str | ImagePaths:
        if isinstance(index, slice):
            return ImagePaths(self._array[index])
        return str(self._array[int(index)])

    def __iter__(self) -> Iterator[str]:
        return (str(value) for value in self._array)


def _one_chunk(column: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> pa.Array:
    column = column.cast(kind)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _fixed_split(column: pa.ChunkedArray | pa.Array) -> pa.DictionaryArray:
    """The split column over the fixed dictionary `SPLITS`, so that its codes can be compared."""
    array = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(array.type) and array.dictionary.to_pylist() == list(SPLITS):
        return array.cast(_SPLIT_TYPE)
    codes = pc.index_in(array.cast(pa.string()), value_set=pa.array(SPLITS))
    assert codes.null_count == array.null_count, "a split that is not train, val or test"
    return pa.DictionaryArray.from_arrays(codes.cast(pa.int8()), pa.array(SPLITS))


def _hash_strings(digest: hashlib._Hash, array: pa.LargeStringArray) -> None:
    """Feed lengths and bytes, a null as length -1, so that no two columns read alike."""
    lengths = pc.fill_null(pc.binary_length(array), -1)
    digest.update(np.asarray(lengths).astype("<i8").tobytes())
    for start in range(0, len(array), 1 << 16):
        part = pc.fill_null(array.slice(start, 1 << 16), "")
        digest.update("".join(part.to_pylist()).encode())
