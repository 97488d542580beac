"""Cells of Parquet and Arrow files, read where they lie.

Comes in: a file, or the address of a cell. Goes out: which columns hold images, in which rows; a
cell's bytes. A cell is binary, or a struct with `bytes` (and `path`) as Hugging Face writes images.
Rows are counted from 1.

Arrow files are mapped into memory: any cell costs what its bytes cost. Of Parquet a row group is
decompressed as a whole; the last ones are kept (at most KEPT_BYTES, but always one), so that
reading in order decompresses each once. What is kept is dropped when the file has another size or
time of change.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from everyclass.errors import InputError
from everyclass.images.addresses import Address
from everyclass.images.contents import Stamp, check_bytes, stamp_of
from everyclass.images.damage import UnreadableImage
from everyclass.images.listing import file_name, filesystem_of, is_uri, readable

KEPT_BYTES = 256 << 20
"""Of decompressed row groups, of all Parquet files together."""
MOST_FILES = 256
"""Files whose layout is kept open at once."""


def holds_images(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold encoded images."""
    return _is_binary(kind) or _bytes_field(kind) is not None


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _bytes_field(kind: pa.DataType) -> int | None:
    """The place of `bytes` in a struct of an image."""
    if not pa.types.is_struct(kind):
        return None
    place = kind.get_field_index("bytes")
    return place if place >= 0 and _is_binary(kind.field(place).type) else None


def path_field(kind: pa.DataType) -> int | None:
    """The place of `path` in a struct of an image."""
    if not pa.types.is_struct(kind):
        return None
    place = kind.get_field_index("path")
    return place if place >= 0 and pa.types.is_string(kind.field(place).type) else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellFile:
    """A file of rows, opened: its schema, and where its rows begin.

    Args:
        stamp: of the file when it was opened.
        schema: of its columns.
        n: rows.
        starts: (G + 1,) the first row of each row group of a Parquet file, and n.
        table: of an Arrow file, mapped.
        metadata: of a Parquet file.
    """

    file: str
    stamp: Stamp
    schema: pa.Schema
    n: int
    starts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    table: pa.Table | None = None
    metadata: Any = None


def open_cells(file: str) -> CellFile:
    """Open a Parquet file (local or a URI), or an Arrow file on this machine.

    Raises:
        InputError: it cannot be read, is neither, or damaged.
    """
    if file.lower().endswith(".parquet"):
        return _open_parquet(file)
    if is_uri(file):
        raise InputError(
            f"{file} is an Arrow file behind a URI, which cannot be mapped into memory.",
            remedy="Copy its folder to this machine.",
        )
    with _arrow_faults(file), readable(file), pa.memory_map(file) as mapped:
        start = mapped.read(6)
        mapped.seek(0)
        opened = pa.ipc.open_file if start == b"ARROW1" else pa.ipc.open_stream
        table = opened(mapped).read_all()
        table.validate()
        _decode_names(table.schema)
        return CellFile(
            file=file, stamp=stamp_of(file), schema=table.schema, n=table.num_rows, table=table
        )


def _open_parquet(file: str) -> CellFile:
    with _arrow_faults(file), readable(file), _parquet(file, None) as parquet:
        metadata = parquet.metadata
        counts = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
        starts = np.cumsum([0, *counts], dtype=np.int64)
        _decode_names(parquet.schema_arrow)
        return CellFile(
            file=file,
            stamp=stamp_of(file),
            schema=parquet.schema_arrow,
            n=int(starts[-1]),
            starts=starts,
            metadata=metadata,
        )


def _decode_names(schema: pa.Schema) -> None:
    """Raise now what names that are no text raise whenever one is asked for."""
    for field_ in schema:
        str(field_.name), str(field_.type)


@contextmanager
def _parquet(file: str, metadata: Any) -> Iterator[Any]:
    """A reader of its own for each use: two threads must not share one."""
    import pyarrow.parquet as pq

    if is_uri(file):
        filesystem, inner = filesystem_of(file)
        with filesystem.open(inner, "rb") as remote:
            yield pq.ParquetFile(remote, metadata=metadata)
    else:
        with open(file, "rb") as local, pq.ParquetFile(local, metadata=metadata) as parquet:
            yield parquet


@contextmanager
def _arrow_faults(file: str) -> Iterator[None]:
    """What Arrow raises on damaged files, as an InputError that names the file."""
    try:
        yield
    except (pa.ArrowException, MemoryError, UnicodeDecodeError, OverflowError) as error:
        kind = "Parquet" if file.lower().endswith(".parquet") else "Arrow"
        reason = " ".join(str(error).split()).partition(".")[0] or type(error).__name__
        raise InputError(
            f"{file_name(file)} is not a readable {kind} file: {reason}.",
            remedy="Write it again, or leave it out.",
        ) from error


def read_table_of(cells: CellFile, columns: list[str]) -> pa.Table:
    """These columns of all rows, checked through and through.

    Raises:
        InputError: they are damaged.
    """
    with _arrow_faults(cells.file), readable(cells.file):
        if cells.table is not None:
            table = cells.table.select(columns)
        else:
            with _parquet(cells.file, cells.metadata) as parquet:
                table = parquet.read(columns=columns)
        table.validate(full=True)
        return table


def empty_cells(cells: CellFile, column: str) -> tuple[npt.NDArray[np.bool_], list[str | None]]:
    """(N,) bool: the cells without bytes; and the path that each of these gives instead.

    A Parquet file whose statistics tell that there is none is not read for it.

    Raises:
        InputError: the column is damaged.
    """
    kind = cells.schema.field(column).type
    leaf = column if _is_binary(kind) else f"{column}.bytes"
    if cells.metadata is not None and _has_no_nulls(cells.metadata, leaf):
        return np.zeros(cells.n, dtype=bool), []
    masks, paths = [np.zeros(0, dtype=bool)], list[str | None]()
    with _arrow_faults(cells.file), readable(cells.file):
        for part in _parts(cells, column):
            part.validate(full=True)
            values = part if _is_binary(kind) else pc.struct_field(part, _bytes_field(kind))
            empty = np.asarray(pc.is_null(values))
            masks.append(empty)
            place = path_field(kind)
            if place is None:
                paths.extend([None] * int(empty.sum()))
            else:
                rows = pa.array(np.flatnonzero(empty))
                paths.extend(pc.struct_field(part, place).take(rows).to_pylist())
    return np.concatenate(masks), paths


def _parts(cells: CellFile, column: str) -> Iterator[pa.Array]:
    if cells.table is not None:
        yield from cells.table[column].chunks
        return
    with _parquet(cells.file, cells.metadata) as parquet:
        for group in range(cells.metadata.num_row_groups):
            yield from parquet.read_row_group(group, columns=[column])[column].chunks


def _has_no_nulls(metadata: Any, leaf: str) -> bool:
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = [group.column(k) for k in range(group.num_columns)]
        known = [
            chunk.statistics.null_count
            for chunk in chunks
            if chunk.path_in_schema == leaf
            and chunk.is_stats_set
            and chunk.statistics.has_null_count
        ]
        if known != [0]:
            return False
    return True


def cell_entry(column: str, row: int) -> str:
    """The entry of an address: the column and the row, counted from 1."""
    return f"{column}:{row}"


_files: OrderedDict[str, CellFile] = OrderedDict()
_groups: OrderedDict[tuple[str, Stamp, str, int], Future[pa.ChunkedArray]] = OrderedDict()
_turn = threading.Lock()


def read_cell(address: Address) -> bytes:
    """The bytes of a cell.

    Raises:
        UnreadableImage: no such file, column or row, an empty cell, or the file is damaged there.
    """
    column, _, number = address.entry.rpartition(":")
    try:
        cells = _opened(address.file)
        row = int(number) - 1 if number.isascii() and number.isdigit() else -1
        if not 0 <= row < cells.n or column not in cells.schema.names:
            raise UnreadableImage(f"{file_name(address.file)} has no such cell")
        with _arrow_faults(address.file):
            content = _value(cells, column, row)
    except InputError as error:
        raise UnreadableImage(str(error).removesuffix(".")) from error
    if content is None:
        raise UnreadableImage("its cell is empty")
    check_bytes(len(content))
    return content


def _value(cells: CellFile, column: str, row: int) -> bytes | None:
    if cells.table is not None:
        values = cells.table[column]
    else:
        group = int(np.searchsorted(cells.starts, row, side="right")) - 1
        values = _group(cells, column, group)
        row -= int(cells.starts[group])
    value = values[row]
    if pa.types.is_struct(values.type):
        value = value["bytes"] if value.is_valid else value
    found = value.as_py()
    return bytes(found) if isinstance(found, bytes) else None


def _opened(file: str) -> CellFile:
    with _turn:
        known = _files.get(file)
        if known is None or (not is_uri(file) and known.stamp != stamp_of(file)):
            known = _files[file] = open_cells(file)
        _files.move_to_end(file)
        while len(_files) > MOST_FILES:
            _files.popitem(last=False)
        return known


def _group(cells: CellFile, column: str, group: int) -> pa.ChunkedArray:
    """A column of a row group; whoever asks for it first reads it, the others wait."""
    key = (cells.file, cells.stamp, column, group)
    with _turn:
        future = _groups.get(key)
        mine = future is None
        if future is None:
            future = _groups[key] = Future()
        _groups.move_to_end(key)
    if not mine:
        return future.result()
    try:
        with readable(cells.file), _parquet(cells.file, cells.metadata) as parquet:
            values = parquet.read_row_group(group, columns=[column])[column]
            values.validate(full=True)
        future.set_result(values)
    except BaseException as error:
        future.set_exception(error)
        with _turn:
            _groups.pop(key, None)
        raise
    _drop_old_groups()
    return values


def _drop_old_groups() -> None:
    with _turn:
        done = {
            key: one.result().nbytes
            for key, one in _groups.items()
            if one.done() and one.exception() is None
        }
        total = sum(done.values())
        for key, size in done.items():
            if total <= KEPT_BYTES or len(_groups) == 1:
                return
            del _groups[key]
            total -= size
