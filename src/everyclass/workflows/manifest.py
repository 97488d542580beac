"""What a run was trained on, row by row, so that going on with other data is noticed.

Comes in: the table in use. Goes out: `manifest.parquet`, and later the sentences that say how
today's data differ from it.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from everyclass.errors import InputError
from everyclass.images.contents import read_bytes, stamps_of
from everyclass.images.damage import UnreadableImage
from everyclass.images.records import DIGEST_BYTES
from everyclass.images.table import ImageTable
from everyclass.run_folder import write_atomically
from everyclass.workflows.looks import Looks

_CLASSES = b"classes"
SHOWN = 3


def write_manifest(
    path: Path, table: ImageTable, contents: npt.NDArray[np.uint8], looks: Looks
) -> None:
    """Write key, label, group, split, size, time of change, content digest, shorter side and mean
    grey of every row.

    Args:
        contents: (N, 16) uint8, BLAKE2b of each file, as the audit computed it on its way.
        looks: of the same rows, likewise.
    """
    size, changed = _file_facts(table)
    columns = {
        "image": table.keys(),
        "label": pa.array(table.labels(), pa.int64()),
        "group": table.columns["group"].chunk(0),
        "split": pa.array(table.split_codes(), pa.int8()),
        "bytes": pa.array(size),
        "changed_ns": pa.array(changed),
        "content": pa.array([digest.tobytes() for digest in contents], pa.binary()),
        "short_side": pa.array(looks.short_sides, pa.int64()),
        "grey": pa.array(looks.greys, pa.float64()),
    }
    written = pa.table(columns)
    names = json.dumps(table.classes).encode()
    written = written.replace_schema_metadata({_CLASSES: names})
    buffer = io.BytesIO()
    pq.write_table(written, buffer)
    write_atomically(path, buffer.getvalue())


def refuse_other_data(path: Path, table: ImageTable, *, run: str) -> None:
    """Refuse to continue a run on data that differ from those it began with.

    A file of the same size and time of change is taken as unchanged; one with another time is
    read and compared by its content.

    Raises:
        InputError: what differs: classes, images, labels, groups, splits or contents.
    """
    began = _read(path)
    classes = tuple(json.loads(began.schema.metadata[_CLASSES]))
    difference = (
        _class_difference(classes, table.classes)
        or _row_difference(began, table)
        or _content_difference(began, table)
    )
    if difference:
        raise InputError(
            f"{run} was started with other data: {difference}.",
            remedy="--resume continues the same training: restore the data, or choose a new --out.",
        )


def contents_of_run(path: Path, table: ImageTable) -> npt.NDArray[np.uint8]:
    """The digest that each image's file had when a run began: (N, 16) uint8, zeros where the run
    did not use the image.

    Raises:
        InputError: the manifest cannot be read.
    """
    began = _read(path)
    contents = dict(zip(began["image"].to_pylist(), began["content"].to_pylist()))
    found = np.zeros((len(table), DIGEST_BYTES), dtype=np.uint8)
    for row, key in enumerate(table.keys().to_pylist()):
        if key in contents:
            found[row] = np.frombuffer(contents[key], dtype=np.uint8)
    return found


def looks_of_run(path: Path, rows: npt.NDArray[np.int64]) -> Looks | None:
    """Shorter side and brightness of these rows of a run; None where it was begun by a version
    that did not keep them.

    Raises:
        InputError: the manifest cannot be read.
    """
    began = _read(path)
    if "grey" not in began.column_names:
        return None
    return Looks(
        short_sides=began["short_side"].to_numpy()[rows], greys=began["grey"].to_numpy()[rows]
    )


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{path} cannot be read ({error}).", remedy="Restore it, or train again."
        ) from error


def splits_of_run(path: Path, table: ImageTable) -> npt.NDArray[np.int8]:
    """The split that a run gave each image: (N,) int8 as `split_codes`, -1 for other images.

    An image is the run's own when its key and its content are: another folder may well have files
    of the same names.
    """
    began = pq.read_table(path)
    row_of = {key: row for row, key in enumerate(began["image"].to_pylist())}
    theirs = np.array([row_of.get(key, -1) for key in table.keys().to_pylist()], dtype=np.int64)
    codes = np.full(len(table), -1, dtype=np.int8)
    named = np.flatnonzero(theirs >= 0)
    if len(named) == 0:
        return codes
    touched = set(_touched(began.take(theirs[named]), table.take(named)).tolist())
    splits, contents = began["split"].to_numpy(), began["content"]
    for place, row in enumerate(named):
        own = int(theirs[row])
        if place not in touched or _content(table.image(int(row))) == contents[own].as_py():
            codes[row] = splits[own]
    return codes


def _class_difference(then: tuple[str, ...], now: tuple[str, ...]) -> str:
    if then == now:
        return ""
    new = [name for name in now if name not in then]
    gone = [name for name in then if name not in now]
    if not new and not gone:
        return f"its classes were in the order {', '.join(then)}; now it is {', '.join(now)}"
    parts = [f"it had {len(then)} classes, now there are {len(now)}"]
    parts += [f"new: {_listed(new)}"] if new else []
    parts += [f"gone: {_listed(gone)}"] if gone else []
    return "; ".join(parts)


def _row_difference(began: pa.Table, table: ImageTable) -> str:
    then, now = began["image"].to_pylist(), table.keys().to_pylist()
    if then != now:
        before, after = set(then), set(now)
        new = [key for key in now if key not in before]
        gone = [key for key in then if key not in after]
        if not new and not gone:
            return "the same images come in another order"
        parts = [f"{len(new):,} images are new ({_listed(new)})"] if new else []
        parts += [f"{len(gone):,} are gone ({_listed(gone)})"] if gone else []
        return ", ".join(parts)
    facts: tuple[tuple[str, list[Any]], ...] = (
        ("label", table.labels().tolist()),
        ("group", table.columns["group"].to_pylist()),
        ("split", table.split_codes().tolist()),
    )
    for name, values in facts:
        old = began[name].to_pylist()
        changed = [key for key, was, now_is in zip(now, old, values) if was != now_is]
        if changed:
            return f"{len(changed):,} images have another {name} ({_listed(changed)})"
    return ""


def _content_difference(began: pa.Table, table: ImageTable) -> str:
    contents = began["content"]
    different = [
        table.image(int(row))
        for row in _touched(began, table)
        if _content(table.image(int(row))) != contents[int(row)].as_py()
    ]
    if not different:
        return ""
    return f"{len(different):,} files have another content ({_listed(different)})"


def _touched(began: pa.Table, table: ImageTable) -> npt.NDArray[np.int64]:
    """Rows whose file has another size or time of change than it had: only these need reading."""
    size, changed = _file_facts(table)
    unlike = (size != began["bytes"].to_numpy()) | (changed != began["changed_ns"].to_numpy())
    return np.flatnonzero(unlike | (size < 0))


def _file_facts(table: ImageTable) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Size and change of each image's file, as `everyclass.images.contents.Stamp` has them."""
    stamps = np.array(list(stamps_of(table.images)), dtype=np.int64).reshape(-1, 2)
    return stamps[:, 0], stamps[:, 1]


def _content(path: str) -> bytes:
    try:
        return hashlib.blake2b(read_bytes(path), digest_size=16).digest()
    except UnreadableImage:
        return b""


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
