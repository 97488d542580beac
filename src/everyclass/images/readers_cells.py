"""Parquet and Arrow files -> the columns of a manifest.

Comes in: one file or several of the same columns (shards), and the column names a user gave. Goes
out: text columns as those of a CSV file. The image column may hold paths, or the images themselves
(bytes, or Hugging Face's struct of bytes and path): its text is then the address of each. What
Hugging Face wrote of the columns beside them, the names of classes, is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from everyclass.errors import InputError
from everyclass.images.addresses import Kind, escaped, front
from everyclass.images.cells import (
    CellFile,
    cell_entry,
    empty_cells,
    holds_images,
    open_cells,
    read_table_of,
)
from everyclass.images.listing import file_name, is_uri, join, parent
from everyclass.images.readers_columns import (
    LabelUse,
    Role,
    TextColumns,
    as_text,
    choose_columns,
    columns_note,
    no_rows,
)
from everyclass.images.readers_rules import plural
from everyclass.images.table import SplitName

_FEATURES = b"huggingface"
_TEXT = pa.large_string()


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of a data set, and the split that its place or name tells."""

    path: str
    split: SplitName | None = None


def read_cell_files(
    shards: Sequence[Shard], *, wanted: Mapping[Role, str], labels: LabelUse, source: str
) -> TextColumns:
    """Read the columns that are used, of all files one after the other.

    Beyond `readers_columns.read_columns`: a column that holds images is the image column where
    names leave it open, and the only one with Hugging Face's class names is that of the labels. An
    image that is only named, by the struct's path, is that file.

    Args:
        shards: local paths or URIs; at least one.
        wanted: role -> column name, as a user gave it.
        labels: "required" refuses a file without label column; "ignored" reads the image column
            only.
        source: what they are together, for messages.
    Raises:
        InputError: no such column, two that fit, other columns in one file than in the first, a
            damaged file, no row at all.
    """
    files = [open_cells(shard.path) for shard in shards]
    first, name = files[0], file_name(source)
    typed: dict[Role, list[str]] = {
        "image": [f.name for f in first.schema if holds_images(f.type)],
        "label": [f.name for f in first.schema if _class_names(first.schema, f.name)],
    }
    names = choose_columns(
        first.schema.names, wanted=wanted, labels=labels, manifest=name, typed=typed
    )
    if sum(file.n for file in files) == 0:
        raise no_rows(name, first.schema.names)
    parts = [_part(file, names, shard, source) for file, shard in zip(files, shards) if file.n]
    if len({part.empty is None for part in parts}) > 1:
        raise InputError(
            f"In some files of {source} column '{names['image']}' holds images, in others not.",
            remedy="Read them apart.",
        )
    columns: dict[Role, pa.LargeStringArray] = {
        role: pa.concat_arrays([part.columns[role] for part in parts]) for role in parts[0].columns
    }
    if "split" not in names and labels != "ignored" and any(shard.split for shard in shards):
        columns["split"] = pa.concat_arrays(
            [
                pa.array([shard.split or ""] * file.n, _TEXT)
                for file, shard in zip(files, shards)
                if file.n
            ]
        )
    notes = [columns_note(names)]
    if len(files) > 1:
        notes.insert(0, f"Read from {plural(len(files), 'file')}.")
    return TextColumns(
        columns=columns,
        names=names,
        rows=np.concatenate([np.arange(file.n) + 1 for file in files]),
        notes=tuple(notes),
        empty=_all_empty(parts),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """The text columns of one file; `empty` where it holds images."""

    columns: Mapping[Role, pa.LargeStringArray]
    empty: npt.NDArray[np.bool_] | None


def _all_empty(parts: Sequence[_Part]) -> npt.NDArray[np.bool_] | None:
    masks = [part.empty for part in parts if part.empty is not None]
    return np.concatenate(masks) if masks else None


def _part(cells: CellFile, names: Mapping[Role, str], shard: Shard, source: str) -> _Part:
    file = file_name(shard.path)
    for role, column in names.items():
        if cells.schema.names.count(column) != 1:
            raise InputError(
                f"{file} of {source} has no column '{column}' "
                f"(columns: {', '.join(cells.schema.names)}), or has it twice.",
                remedy=f"All its files need it: it is read as {role}.",
            )
    embedded = holds_images(cells.schema.field(names["image"]).type)
    table = read_table_of(
        cells, [column for role, column in names.items() if not (embedded and role == "image")]
    )
    columns: dict[Role, pa.LargeStringArray] = {}
    empty = None
    if embedded:
        columns["image"], empty = _addresses(cells, names["image"])
    for role, column in names.items():
        if role not in columns:
            values = table[column]
            classes = _class_names(cells.schema, column) if role == "label" else ()
            columns[role] = _named(values, classes) if classes else as_text(values, column, file)
    return _Part(columns=columns, empty=empty)


def _addresses(cells: CellFile, column: str) -> tuple[pa.LargeStringArray, npt.NDArray[np.bool_]]:
    """Where the image of each row is, and the rows that have none."""
    kind: Kind = "parquet" if cells.table is None else "arrow"
    start = front(kind, cells.file) + escaped(cell_entry(column, 0))[:-1]
    numbers = pa.array(np.arange(cells.n) + 1).cast(_TEXT)
    addresses = pc.binary_join_element_wise(pa.scalar(start, _TEXT), numbers, pa.scalar("", _TEXT))
    empty, named = empty_cells(cells, column)
    rows = np.flatnonzero(empty)
    paths = [_beside(cells.file, path) if path else None for path in named]
    has_path = np.array([path is not None for path in paths], dtype=bool)
    if has_path.any():
        mask = np.zeros(cells.n, dtype=bool)
        mask[rows[has_path]] = True
        files = pa.array([path for path in paths if path], _TEXT)
        addresses = pc.replace_with_mask(addresses, pa.array(mask), files)
        empty = empty & ~mask
    return addresses, empty


def _beside(file: str, path: str) -> str:
    """A path that a row gives, from the folder of its file where it is relative."""
    return path if path.startswith("/") or is_uri(path) else join(parent(file), path)


def _class_names(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """Hugging Face's names for the numbers in a column; none where it has none."""
    try:
        features = json.loads((schema.metadata or {})[_FEATURES])["info"]["features"]
        names: Any = features[column]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
    fine = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    whole = column in schema.names and schema.names.count(column) == 1
    return tuple(names) if fine and whole and _is_integer(schema, column) else ()


def _is_integer(schema: pa.Schema, column: str) -> bool:
    return bool(pa.types.is_integer(schema.field(column).type))


def _named(values: pa.ChunkedArray, classes: Sequence[str]) -> pa.LargeStringArray:
    """Class names of numbers; "" for what is none of them, as -1 in a test split."""
    numbers = pc.cast(values, pa.int64(), safe=False).combine_chunks()
    known = pc.and_(pc.greater_equal(numbers, 0), pc.less(numbers, len(classes)))
    return pc.fill_null(pa.array([*classes], _TEXT).take(pc.if_else(known, numbers, None)), "")
