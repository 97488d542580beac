"""The columns of a manifest, as text.

Comes in: a CSV or TSV file and the column names a user gave. Goes out: the image, label, split and
group columns, trimmed, with "" for what is missing. It knows what a column may be called and how
files are broken; it does not know what the values mean. Parquet: `readers_cells`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from everyclass.errors import InputError
from everyclass.images.listing import file_name, opened
from everyclass.images.readers_rules import is_image_name, plural

Role = Literal["image", "label", "split", "group"]
LabelUse = Literal["required", "optional", "ignored"]

COLUMN_NAMES: dict[Role, tuple[str, ...]] = {
    "image": ("image", "path", "filename", "file", "image_id"),
    "label": ("label", "class", "target"),
    "split": ("split",),
    "group": (
        *("group", "patient", "slide", "smear"),
        *("group_id", "patient_id", "slide_id", "smear_id"),
    ),
}
"""What a column may be called when nobody says, without regard to case."""

_HEAD_BYTES = 1 << 20
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextColumns:
    """The columns in use, N rows each.

    Args:
        columns: role -> (N,) Arrow strings without nulls; "" = missing. Only roles in use.
        names: role -> name of the column in the file.
        rows: (N,) what users call each row: from 2 in a CSV file, whose header is row 1, as a
            spreadsheet shows it (blank lines and line breaks inside quotes are not counted); from 1
            in each Parquet or Arrow file.
        notes: what was decided while reading, a sentence each.
        empty: (N,) bool where the image column holds images and not their paths: rows that hold
            none. The column is then the address of each (`everyclass.images.contents`).
    """

    columns: Mapping[Role, pa.LargeStringArray]
    names: Mapping[Role, str]
    rows: npt.NDArray[np.int64]
    notes: tuple[str, ...]
    empty: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """Column names and, for text files, what stands between the values."""

    names: tuple[str, ...]
    delimiter: str


def is_manifest_name(name: str) -> bool:
    """Whether a file name ends in .csv, .tsv or .parquet, in any case."""
    return name.lower().endswith((".csv", ".tsv", ".parquet"))


def has_image_and_label(names: Sequence[str], wanted: Mapping[Role, str]) -> bool:
    """Whether a manifest's header has both columns, by their usual or the wanted names."""
    folded = {name.strip().casefold() for name in names}
    return all(
        wanted[role] in names if role in wanted else not folded.isdisjoint(COLUMN_NAMES[role])
        for role in ("image", "label")
    )


def column_names(path: str) -> tuple[str, ...]:
    """The header of a CSV or TSV file."""
    return _read_header(path).names


def read_columns(path: str, *, wanted: Mapping[Role, str], labels: LabelUse) -> TextColumns:
    """Read the columns that are used.

    CSV files are UTF-8, with or without a byte order mark, with a header; values are separated by
    commas or, when the header has none, by semicolons or tabs. Spaces around values are dropped.
    Only an empty value is missing: `NA` and `None` may be class names.

    Args:
        path: local path or URI ending in .csv or .tsv.
        wanted: role -> column name, as a user gave it.
        labels: "required" refuses a file without label column; "ignored" reads the image column
            only.
    Raises:
        InputError: no such column, two that fit, not UTF-8, a row with another number of values,
            an unclosed quotation mark, no row at all.
    """
    name = file_name(path)
    header = _read_header(path)
    names = choose_columns(header.names, wanted=wanted, labels=labels, manifest=name)
    table = _read_csv(path, header, tuple(names.values()))
    if table.num_rows == 0:
        raise no_rows(name, header.names)
    columns = {role: as_text(table[column], column, name) for role, column in names.items()}
    _refuse_open_quote(columns.values(), table.columns[-1], header, name)
    notes = [columns_note(names)]
    if header.delimiter != ("\t" if path.lower().endswith(".tsv") else ","):
        notes.append(f"{name} is read with {_DELIMITERS[header.delimiter]} between values.")
    rows = np.arange(table.num_rows) + 2
    return TextColumns(columns=columns, names=names, rows=rows, notes=tuple(notes))


def columns_note(names: Mapping[Role, str]) -> str:
    """Which column was taken for what."""
    return f"Columns used: {', '.join(f'{column} as {role}' for role, column in names.items())}."


def no_rows(manifest: str, names: Sequence[str]) -> InputError:
    """The refusal of a file that has a header and nothing below it."""
    return InputError(
        f"{manifest} has column names ({', '.join(names)}) but no rows.",
        remedy="Add a row an image, or name another file.",
    )


def _read_header(path: str) -> _Header:
    with opened(path) as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(
            f"{file_name(path)} is UTF-16 text.", remedy="Save it again as UTF-8 ('CSV UTF-8')."
        )
    if b"\0" in head:
        raise InputError(
            f"{file_name(path)} is not a text file: byte {head.index(0):,} is zero.",
            remedy="Save it again as CSV (UTF-8).",
        )
    lines = [line for line in head.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip()]
    if not lines:
        raise InputError(
            f"{file_name(path)} is empty.",
            remedy="Write it again, with a row an image, or name another file.",
        )
    try:
        text = b"\n".join(lines[:100]).decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    first_line = lines[0].decode()
    delimiter = "\t" if path.lower().endswith(".tsv") else ","
    if delimiter not in first_line:
        delimiter = next((d for d in _DELIMITERS if d in first_line), delimiter)
    names = next(csv.reader(io.StringIO(text), delimiter=delimiter))
    return _Header(names=tuple(names), delimiter=delimiter)


def choose_columns(
    names: Sequence[str],
    *,
    wanted: Mapping[Role, str],
    labels: LabelUse,
    manifest: str,
    typed: Mapping[Role, Sequence[str]] | None = None,
) -> dict[Role, str]:
    """Role -> column, for the roles that the file has and this reading wants.

    Args:
        typed: columns whose type says what they are for: where names leave it open, the only one
            of them is taken.
    Raises:
        InputError: no such column, two that fit, one column for two roles.
    """
    chosen: dict[Role, str] = {}
    for role in COLUMN_NAMES:
        if role != "image" and labels == "ignored":
            continue
        column = _column_for(role, names, wanted.get(role), manifest, (typed or {}).get(role, ()))
        if column is not None:
            chosen[role] = column
        elif role == "image" or (role == "label" and labels == "required"):
            raise _no_column(role, names, taken=tuple(chosen.values()), manifest=manifest)
    by_column: dict[str, Role] = {}
    for role, column in chosen.items():
        if column in by_column:
            raise InputError(
                f"Column '{column}' of {manifest} is named as {by_column[column]} and as {role}.",
                remedy=f"Give another one to --{role}-column.",
            )
        if names.count(column) > 1:
            raise InputError(
                f"{manifest} has {names.count(column)} columns called '{column}'.",
                remedy="Rename all but one.",
            )
        by_column[column] = role
    return chosen


def _column_for(
    role: Role, names: Sequence[str], wanted: str | None, manifest: str, typed: Sequence[str]
) -> str | None:
    if wanted is not None:
        if wanted not in names:
            raise InputError(
                f"{manifest} has no column '{wanted}' (columns: {', '.join(names)}).",
                remedy=f"Give one of them to --{role}-column.",
            )
        return wanted
    fitting = [name for name in names if name.strip().casefold() in COLUMN_NAMES[role]]
    if len(set(fitting)) != 1:
        fitting = _only_one([name for name in fitting if name in typed] or typed) or fitting
    if len(set(fitting)) > 1:
        raise InputError(
            f"{manifest} has {len(fitting)} columns that may be the {role} ({', '.join(fitting)}).",
            remedy=f"Say which: --{role}-column {fitting[0]}.",
        )
    return fitting[0] if fitting else None


def _only_one(names: Sequence[str]) -> list[str]:
    """The names, if they are one."""
    return list(names) if len(names) == 1 else []


def _no_column(
    role: Role, names: Sequence[str], *, taken: Sequence[str], manifest: str
) -> InputError:
    fact = f"{manifest} has no {role} column (columns: {', '.join(names)})."
    if any(is_image_name(name) for name in names):
        return InputError(
            fact, remedy="Its first row looks like data: put a row 'image,label' above it."
        )
    free = [name for name in names if name not in taken]
    # The image tends to be the first column of a file and the label the last.
    example = "NAME" if not free else free[0] if role == "image" else free[-1]
    return InputError(
        fact, remedy=f"Rename one to '{role}' or say which: --{role}-column {example}."
    )


def _read_csv(path: str, header: _Header, names: Sequence[str]) -> pa.Table:
    """The named columns and the last one, which an unclosed quotation mark would fill."""
    columns = list(dict.fromkeys((*names, header.names[-1])))
    ragged: list[pa_csv.InvalidRow] = []

    def stop(row: pa_csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    with opened(path) as file:
        try:
            return pa_csv.read_csv(
                file,
                # One thread: with several, Arrow does not know the number of a ragged row.
                read_options=pa_csv.ReadOptions(use_threads=False),
                parse_options=pa_csv.ParseOptions(
                    delimiter=header.delimiter,
                    newlines_in_values=True,
                    invalid_row_handler=stop,
                ),
                convert_options=pa_csv.ConvertOptions(
                    include_columns=columns,
                    column_types=dict.fromkeys(columns, pa.large_string()),
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as error:
            if ragged:
                raise _ragged(path, ragged[0]) from error
            if "UTF8" in str(error):
                raise _not_utf8(path) from error
            raise InputError(
                f"{file_name(path)} is not a readable table: {error}.",
                remedy="Save it again as CSV (UTF-8).",
            ) from error


def _ragged(path: str, row: pa_csv.InvalidRow) -> InputError:
    text = row.text if len(row.text) <= 60 else f"{row.text[:60]}..."
    return InputError(
        f"Row {row.number:,} of {file_name(path)} has {plural(row.actual_columns, 'value')} where "
        f"the header has {plural(row.expected_columns, 'column')} ('{text}').",
        remedy="Mend the row; a value that contains the separator goes in quotation marks.",
    )


def _not_utf8(path: str) -> InputError:
    """Says where the first byte is that is no UTF-8; the file is read once more to find it."""
    with opened(path) as file:
        content = file.read()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        where = f" (byte {error.start:,}, in line {line:,}, is 0x{content[error.start]:02x})"
    else:
        where = ""
    return InputError(
        f"{file_name(path)} is not UTF-8 text{where}.",
        remedy="Save it again as UTF-8 ('CSV UTF-8' in a spreadsheet).",
    )


def as_text(column: pa.ChunkedArray, name: str, manifest: str) -> pa.LargeStringArray:
    """(N,) trimmed text without nulls; whole numbers without decimals, also where missing values
    made them floats.

    Raises:
        InputError: neither text nor numbers.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_floating(kind):
        # 2**53: beyond it a float no longer tells whole numbers apart.
        whole = pc.and_(pc.equal(column, pc.round(column)), pc.less(pc.abs(column), 2.0**53))
        if pc.all(whole).as_py() in (True, None):
            column, kind = column.cast(pa.int64()), pa.int64()
    readable = (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    if not any(fits(kind) for fits in (*readable, *numeric)):
        raise InputError(
            f"Column '{name}' of {manifest} holds {kind}, not text or numbers.",
            remedy="Write paths and class names into columns of their own.",
        )
    text = column.cast(pa.large_string()).combine_chunks()
    return pc.utf8_trim_whitespace(pc.fill_null(text, ""))


def _refuse_open_quote(
    columns: Iterable[pa.LargeStringArray], last: pa.ChunkedArray, header: _Header, manifest: str
) -> None:
    """An open quotation mark swallows the rows after it, which show as lines inside a value.

    Paths and class names have no lines. The last column may be somebody's remarks, which do; there
    only a line with as many separators as the header gives it away.
    """
    for values in columns:
        broken = pc.index(pc.match_substring(values, "\n"), True).as_py()
        if broken >= 0:
            raise _open_quote(broken, manifest)
    separators = len(header.names) - 1
    if separators == 0:
        return
    for row in np.flatnonzero(pc.match_substring(last, "\n")):
        lines = last[int(row)].as_py().splitlines()
        if any(line.count(header.delimiter) >= separators for line in lines[1:]):
            raise _open_quote(int(row), manifest)


def _open_quote(index: int, manifest: str) -> InputError:
    return InputError(
        f"Row {index + 2:,} of {manifest} has a value that goes on over a line break.",
        remedy="Look for a quotation mark that is never closed.",
    )
