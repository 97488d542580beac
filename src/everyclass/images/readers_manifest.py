"""A manifest (CSV, TSV or Parquet) -> ImageTable.

Comes in: a file with a row per image. Goes out: a table, and the row of the file that each of its
rows came from. Rows are handled in Arrow and numpy; Python objects are made only for the few that
are repeated or set aside, so that a million rows take seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from everyclass.errors import InputError
from everyclass.images.addresses import Kind, common_front
from everyclass.images.cells import open_cells
from everyclass.images.listing import Tree, can_be_listed, file_name, is_uri, parent, what_is
from everyclass.images.readers_cells import Shard, read_cell_files
from everyclass.images.readers_columns import (
    LabelUse,
    Role,
    TextColumns,
    column_names,
    has_image_and_label,
    is_manifest_name,
    read_columns,
)
from everyclass.images.readers_locate import Located, locate
from everyclass.images.readers_rules import (
    SPLIT_ALIASES,
    class_order,
    is_image_name,
    listed,
    plural,
)
from everyclass.images.table import SPLITS, ImageTable, SetAside

_Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestTable:
    """A table as read from a manifest.

    Args:
        table: N rows.
        rows: (N,) the number of each row in its file, as `TextColumns.rows` counts.
        label_column: where the labels are from; None without labels.
    """

    table: ImageTable
    rows: _Rows
    label_column: str | None


def read_manifest(
    path: str, *, wanted: Mapping[Role, str], image_root: str | None, labels: LabelUse
) -> ManifestTable:
    """Read a manifest and find its images.

    - Labels may be names or whole numbers; classes are in natural order (`class_order`), so
      numbers in numerical order, and their names are the numbers as text. Numbers written as
      1.0, which spreadsheets make of a column with gaps, are whole numbers.
    - Rows that are equal in every column in use are one row. Rows of one image that differ in
      label or group are all set aside: nobody can say which is right. One image in two splits is
      refused, because it would be measured on what it was trained on.
    - Rows without image, without label (when labels are required) and without file are set aside.

    Args:
        path: local path or URI.
        wanted: role -> column name, as a user gave it.
        image_root: folder that image paths are relative to; None = the manifest's folder.
        labels: "required", "optional" or "ignored".
    Raises:
        InputError: what `read_columns` refuses; an unknown split; an image in two splits; not one
            image found.
    """
    if path.lower().endswith(".parquet"):
        return read_cells([Shard(path)], source=path, wanted=wanted, labels=labels, root=image_root)
    columns = read_columns(path, wanted=wanted, labels=labels)
    return table_of_rows(columns, _located(columns, path, image_root), source=path, labels=labels)


def read_cells(
    shards: Sequence[Shard],
    *,
    source: str,
    wanted: Mapping[Role, str],
    labels: LabelUse,
    root: str | None = None,
) -> ManifestTable:
    """Read Parquet or Arrow files as one manifest; arguments and errors as `read_manifest`.

    Args:
        shards: files with the same columns, in order.
        source: what they are together.
        root: folder that image paths are relative to, where they hold paths.
    """
    columns = read_cell_files(shards, wanted=wanted, labels=labels, source=source)
    if columns.empty is None:
        located = _located(columns, shards[0].path, root)
    elif root is not None:
        raise InputError(
            f"{file_name(source)} holds the images themselves.", remedy="Leave --image-root out."
        )
    else:
        kind: Kind = "parquet" if shards[0].path.lower().endswith(".parquet") else "arrow"
        located = Located(
            paths=columns.columns["image"],
            found=~columns.empty,
            root=common_front(kind, [shard.path for shard in shards]),
            notes=(),
            reason="its row holds no image",
        )
    return table_of_rows(columns, located, source=source, labels=labels)


def table_of_rows(
    columns: TextColumns, located: Located, *, source: str, labels: LabelUse
) -> ManifestTable:
    """The table of rows that were read and whose images were looked for.

    Args:
        columns: N rows.
        located: of the rows that name an image.
        source: what was read.
    Raises:
        InputError: an unknown split; an image in two splits.
    """
    has_name = np.asarray(pc.not_equal(columns.columns["image"], ""))
    named = np.flatnonzero(has_name)
    label = _label_codes(columns, named)
    set_aside = tuple(
        SetAside(image="", label=None, reason=f"row {row:,} names no image")
        for row in columns.rows[~has_name]
    )
    rows = columns.rows[named]
    table = ImageTable(
        columns=pa.table(
            {
                "image": located.paths,
                "label": pa.array(label.codes, mask=label.codes < 0),
                "group": _groups(columns, named),
                "split": _splits(columns, named, rows, file_name(source)),
            }
        ),
        classes=label.classes,
        source=source,
        root=located.root,
        notes=columns.notes + label.notes + located.notes,
        set_aside=set_aside,
    )
    table, rows = _clean(table, rows, located, label_required=labels == "required")
    return ManifestTable(table=table, rows=rows, label_column=columns.names.get("label"))


def _located(columns: TextColumns, path: str, image_root: str | None) -> Located:
    """Where the images are that rows name, for the rows that do."""
    if image_root is not None and can_be_listed(image_root) and what_is(image_root) != "folder":
        raise InputError(f"The image root {image_root} is no folder.", remedy="See --image-root.")
    named = np.flatnonzero(pc.not_equal(columns.columns["image"], ""))
    values = columns.columns["image"].take(pa.array(named))
    if len(values) == 0:
        raise InputError(
            f"Column '{columns.names['image']}' of {file_name(path)} is empty in all "
            f"{plural(len(columns.columns['image']), 'row')}.",
            remedy="Name another one: --image-column NAME.",
        )
    base = parent(path) if image_root is None else image_root
    located = locate(values, base=base, column=columns.names["image"], manifest=file_name(path))
    if not located.found.any():
        value, tried = values[0].as_py(), located.paths[0].as_py()
        shown = value if len(value) <= 80 else f"{value[:80]}..."
        searched = "" if value.startswith("/") or is_uri(value) else " and in the folders below"
        if searched and not is_image_name(value):
            searched = f", with or without an image extension,{searched}"
        raise InputError(
            f"{file_name(path)}: none of its {plural(len(values), 'image')} was found. Row "
            f"{columns.rows[named[0]]:,} ('{shown}') was looked for at "
            f"{tried}{searched}.",
            remedy="Say where the images are: --image-root FOLDER.",
        )
    return located


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labels:
    """(N,) int32 codes into the classes, -1 = none."""

    codes: npt.NDArray[np.int32]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def _label_codes(columns: TextColumns, named: _Rows) -> _Labels:
    if "label" not in columns.columns:
        return _Labels(codes=np.full(len(named), -1, dtype=np.int32), classes=())
    encoded = columns.columns["label"].take(pa.array(named)).dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    notes: tuple[str, ...] = ()
    if any(texts) and all(re.fullmatch(r"(-?[0-9]+\.0+)?", text) for text in texts):
        texts = [text.partition(".")[0] for text in texts]
        notes = (f"Labels such as '{encoded.dictionary[0]}' are read as whole numbers.",)
    classes = class_order(text for text in texts if text)
    code_of = {name: code for code, name in enumerate(classes)}
    codes = np.array([code_of.get(text, -1) for text in texts], dtype=np.int32)
    return _Labels(codes=codes[np.asarray(encoded.indices)], classes=classes, notes=notes)


def _groups(columns: TextColumns, named: _Rows) -> pa.LargeStringArray:
    if "group" not in columns.columns:
        return pa.nulls(len(named), pa.large_string())
    groups = columns.columns["group"].take(pa.array(named))
    return pc.if_else(pc.equal(groups, ""), None, groups)


def _splits(
    columns: TextColumns, named: _Rows, rows: _Rows, source: str
) -> pa.DictionaryArray | pa.Array:
    if "split" not in columns.columns:
        return pa.nulls(len(named), pa.string())
    encoded = columns.columns["split"].take(pa.array(named)).dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    indices = np.asarray(encoded.indices)
    codes = np.full(len(texts), -1, dtype=np.int8)
    for index, text in enumerate(texts):
        if text.lower() in SPLIT_ALIASES:
            codes[index] = SPLITS.index(SPLIT_ALIASES[text.lower()])
        elif text:
            first = rows[np.argmax(indices == index)]
            raise InputError(
                f"Row {first:,} of {source}: split '{text}' is none of train, val and test.",
                remedy="Rename it (training, valid, validation, dev and testing are understood "
                "too), or name another column: --split-column NAME.",
            )
    split = codes[indices]
    return pa.DictionaryArray.from_arrays(pa.array(split, mask=split < 0), pa.array(SPLITS))


def _clean(
    table: ImageTable, rows: _Rows, located: Located, *, label_required: bool
) -> tuple[ImageTable, _Rows]:
    """Collapse repeated rows, set aside those that cannot be used; rows keep their numbers."""
    reasons: dict[int, str] = {}
    if label_required:
        reasons.update((int(row), "no label") for row in np.flatnonzero(table.labels() < 0))
    repeated: list[tuple[int, int]] = []
    for same in _repeated_images(table, ignored=reasons):
        conflict = _conflict(table, same, rows)
        if conflict:
            reasons.update((row, conflict) for row in same)
        else:
            repeated.extend((row, same[0]) for row in same[1:])
    kept = np.ones(len(table), dtype=bool)
    kept[[row for row, _ in repeated]] = False
    for row in np.flatnonzero(kept & ~located.found):
        reasons.setdefault(int(row), located.reason)
    aside = np.array(sorted(reasons), dtype=np.int64)
    kept[aside] = False
    usable = np.flatnonzero(kept)
    without = table.without(aside, [reasons[int(row)] for row in aside])
    cleaned = replace(
        without,
        columns=table.columns.take(pa.array(usable)) if repeated else without.columns,
        notes=table.notes + tuple(_repeat_note(repeated, rows)),
    )
    return cleaned, rows[usable]


def _repeat_note(repeated: Sequence[tuple[int, int]], rows: _Rows) -> Iterator[str]:
    if repeated:
        row, original = min(repeated)
        yield (
            f"{plural(len(repeated), 'row')} left out that repeat an earlier one "
            f"(first: row {rows[row]:,} repeats row {rows[original]:,})."
        )


def _repeated_images(table: ImageTable, *, ignored: Mapping[int, str]) -> Iterator[list[int]]:
    """Rows that name the same image, for each image named more than once."""
    encoded = table.columns["image"].chunk(0).dictionary_encode()
    if len(encoded.dictionary) == len(encoded):
        return
    codes = np.asarray(encoded.indices)
    several = np.flatnonzero(np.bincount(codes)[codes] > 1)
    several = several[np.argsort(codes[several], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[several])) + 1
    for group in np.split(several, starts):
        rows = [int(row) for row in group if int(row) not in ignored]
        if len(rows) > 1:
            yield rows


def _conflict(table: ImageTable, same: Sequence[int], rows: _Rows) -> str:
    """Why rows of one image cannot all be true; "" when they say the same."""
    part = table.columns.take(pa.array(same)).to_pydict()
    numbers = _listed_rows([int(rows[row]) for row in same])
    labels = sorted({-1 if label is None else label for label in part["label"]})
    if len(labels) > 1:
        names = [table.classes[label] if label >= 0 else "nothing" for label in labels]
        return f"labelled {_both(names)} ({numbers})"
    groups = sorted({group or "none" for group in part["group"]})
    if len(groups) > 1:
        return f"in groups {_both(groups)} ({numbers})"
    splits = sorted({split or "none" for split in part["split"]})
    if len(splits) > 1:
        raise InputError(
            f"{part['image'][0]} is in split {_both(splits)} ({numbers} of {table.source}).",
            remedy="Keep one of the rows: an image must not be measured on what it trained.",
        )
    return ""


def _both(names: Sequence[str]) -> str:
    """both A and B; A, B and C."""
    start = "both " if len(names) == 2 else ""
    return f"{start}{', '.join(names[:-1])} and {names[-1]}"


def _listed_rows(numbers: Sequence[int]) -> str:
    """rows 3, 17; rows 1, 2, 3, 4, 5 and 7 more."""
    shown = ", ".join(f"{number:,}" for number in numbers[:5])
    more = len(numbers) - 5
    return f"rows {shown}" + (f" and {more:,} more" if more > 0 else "")


def manifest_in(tree: Tree, wanted: Mapping[Role, str]) -> str | None:
    """The manifest that stands for a folder: train.csv before the only one that fits.

    Raises:
        InputError: several fit, or there are several and none fits.
    """
    names = [name for name in tree.folders[""] if is_manifest_name(name)]
    training = [
        name for name in names if SPLIT_ALIASES.get(name.lower().partition(".")[0]) == "train"
    ]
    for candidates in (training, names):
        if len(candidates) == 1:
            return candidates[0]
    if not names:
        return None
    fitting = [name for name in names if has_image_and_label(_header(tree.root + name), wanted)]
    if len(fitting) == 1:
        return fitting[0]
    fits = "more than one has" if fitting else "none has"
    raise InputError(
        f"{tree.root} holds {plural(len(names), 'manifest')} ({listed(names)}); "
        f"{fits} an image and a label column.",
        remedy="Name the one to read.",
    )


def _header(path: str) -> Sequence[str]:
    if path.lower().endswith(".parquet"):
        return tuple(open_cells(path).schema.names)
    return column_names(path)
