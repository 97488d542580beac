"""Which files make up a data set that comes in several: archives, Parquet and Arrow shards.

Comes in: what a user named, or a listed folder. Goes out: the files in order, each with the split
that its place tells. Known are `.tar` archives, brace patterns (`train-{000..009}.tar`), folders of
shards, folders that Hugging Face's `save_to_disk` wrote, and data sets of its hub (`hf://`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from everyclass.errors import InputError
from everyclass.images.listing import (
    Tree,
    can_be_listed,
    file_name,
    file_names,
    join,
    opened,
    parent,
    what_is,
)
from everyclass.images.readers_cells import Shard
from everyclass.images.readers_locate import split_of
from everyclass.images.readers_rules import SPLIT_ALIASES, listed, plural

MOST_SHARDS = 100_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_CELL_SHARD = re.compile(r"(?:.*-\d+-of-\d+|part-\d+.*|\d+)\.parquet", re.IGNORECASE)
_ALL_SPLITS, _ONE_SPLIT = "dataset_dict.json", "state.json"
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharded:
    """A data set in several files.

    Args:
        kind: of what they hold.
        shards: at least one.
        notes: what was decided, a sentence each.
    """

    kind: Literal["samples", "rows"]
    shards: tuple[Shard, ...]
    notes: tuple[str, ...] = ()


def named_shards(path: str) -> Sharded | None:
    """What a brace pattern, an archive or a data set of the hub stands for; None for other paths.

    Raises:
        InputError: a compressed archive, a file of a pattern that is not there, files of two kinds;
            a data set that the hub does not give.
    """
    if path.startswith("hf://"):
        from everyclass.images.readers_hub import hub_shards

        shards, notes = hub_shards(path)
        return Sharded(kind="rows", shards=shards, notes=notes)
    if path.lower().endswith(_COMPRESSED):
        raise InputError(
            f"{file_name(path)} is a compressed archive, in which no image can be read by itself.",
            remedy="Decompress it (gunzip, unxz, unzstd) and name the .tar file, or unpack it and "
            "name the folder.",
        )
    if _BRACES.search(path) and what_is(path) is None:
        return _of_pattern(path)
    if path.lower().endswith(".tar") and what_is(path) == "file":
        return Sharded(kind="samples", shards=(Shard(path),))
    return None


def _of_pattern(pattern: str) -> Sharded:
    paths = list(_expanded(pattern))
    endings = {"tar" if path.lower().endswith(".tar") else path[-8:].lower() for path in paths}
    if endings not in ({"tar"}, {".parquet"}):
        raise InputError(
            f"{pattern} stands for files that end otherwise than in .tar, or than in .parquet.",
            remedy="Write a pattern like shards/train-{000..009}.tar.",
        )
    there = {
        folder: set(file_names(folder)) for folder in {parent(path) for path in paths}
        if can_be_listed(folder)
    }  # fmt: skip
    gone = [p for p in paths if parent(p) in there and file_name(p) not in there[parent(p)]]
    if gone:
        raise InputError(
            f"Of {plural(len(paths), 'file')} that {pattern} stands for {len(gone):,} "
            f"{'is' if len(gone) == 1 else 'are'} not there (first: {gone[0]}).",
            remedy="Correct the numbers in the braces, or bring these files.",
        )
    return Sharded(
        kind="samples" if endings == {"tar"} else "rows",
        shards=tuple(Shard(path, split_of(file_name(path))) for path in paths),
    )


def _expanded(pattern: str) -> Iterator[str]:
    """Paths of a pattern in the order a shell gives them; braces inside braces stay as they are.

    Raises:
        InputError: more files than `MOST_SHARDS`.
    """
    done = [""]
    position = 0
    for braces in _BRACES.finditer(pattern):
        between = pattern[position : braces.start()]
        values = _values(braces[1])
        if len(done) * len(values) > MOST_SHARDS:
            raise InputError(
                f"{pattern} stands for more than {MOST_SHARDS:,} files.",
                remedy="Name the folder instead.",
            )
        done = [start + between + value for start in done for value in values]
        position = braces.end()
    yield from (start + pattern[position:] for start in done)


def _values(inside: str) -> Sequence[str]:
    numbers = _RANGE.fullmatch(inside)
    if numbers is None:
        return inside.split(",")
    first, last = int(numbers[1]), int(numbers[2])
    width = max(len(numbers[1]), len(numbers[2])) if "0" in (numbers[1][0], numbers[2][0]) else 0
    if abs(last - first) > MOST_SHARDS:
        raise InputError(
            f"{{{inside}}} stands for more than {MOST_SHARDS:,} files.",
            remedy="Name the folder instead.",
        )
    step = 1 if first <= last else -1
    return [str(number).zfill(width) for number in range(first, last + step, step)]


def is_saved(folder: str) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    names = set(file_names(folder))
    return _ALL_SPLITS in names or {_ONE_SPLIT, "dataset_info.json"} <= names


def saved_shards(tree: Tree) -> Sharded | None:
    """The Arrow files of a folder that `save_to_disk` wrote; None for another folder.

    Raises:
        InputError: its JSON files are broken, or name files that are not there.
    """
    names = tree.folders.get("", ())
    if _ALL_SPLITS in names:
        splits = _json(tree.root + _ALL_SPLITS).get("splits")
        if not isinstance(splits, list) or not all(isinstance(name, str) for name in splits):
            raise InputError(
                f"{tree.root}{_ALL_SPLITS} names no splits.",
                remedy="Copy the folder whole, or save the data set again.",
            )
        found, left_out = splits_of({name: _saved_files(tree, f"{name}/") for name in splits})
        return Sharded(kind="rows", shards=found, notes=left_out)
    if _ONE_SPLIT in names and "dataset_info.json" in names:
        return Sharded(kind="rows", shards=tuple(map(Shard, _saved_files(tree, ""))))
    return None


def splits_of(
    files: Mapping[str, Sequence[str]],
) -> tuple[tuple[Shard, ...], tuple[str, ...]]:
    """The shards of named splits. A split that is none of train, val and test is left out with a
    note; where it is the only one, its images are in no split.

    Raises:
        InputError: several splits, and none of them known.
    """
    known = {name: SPLIT_ALIASES[name.lower()] for name in files if name.lower() in SPLIT_ALIASES}
    if len(files) == 1 and not known:
        return tuple(Shard(path) for paths in files.values() for path in paths), ()
    if not known:
        raise InputError(
            f"None of its splits ({listed([*files])}) is called train, val or test.",
            remedy="Rename one, or save the split that is meant by itself.",
        )
    others = [name for name in files if name not in known]
    notes = (f"Splits left out: {listed(others)}.",) if others else ()
    return tuple(Shard(path, known[name]) for name in known for path in files[name]), notes


def _saved_files(tree: Tree, folder: str) -> list[str]:
    state = _json(f"{tree.root}{folder}{_ONE_SPLIT}")
    try:
        names = [str(entry["filename"]) for entry in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{tree.root}{folder}{_ONE_SPLIT} names no data files.",
            remedy="Copy the folder whole, or save the data set again.",
        ) from error
    gone = [name for name in names if name not in tree.folders.get(folder, ())]
    if gone or not names:
        raise InputError(
            f"{tree.root}{folder} lacks {listed(gone) if gone else 'data files'}.",
            remedy="Copy the folder whole, or save the data set again.",
        )
    return [f"{tree.root}{folder}{name}" for name in names]


def _json(path: str) -> dict[str, Any]:
    with opened(path) as file:
        content = file.read()
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is no JSON: {error}.",
            remedy="Copy the folder whole, or save the data set again.",
        ) from error
    if not isinstance(found, dict):
        raise InputError(
            f"{path} is not what save_to_disk writes.",
            remedy="Copy the folder whole, or save the data set again.",
        )
    return found


def shards_in(tree: Tree) -> Sharded | None:
    """The shards of a folder, at any depth: archives, or Parquet files numbered as shards are.

    A folder called train, val or test, or the first word of a name, tells the split.
    """
    archives = [path for path in _files(tree) if path.lower().endswith(".tar")]
    if archives:
        return Sharded(kind="samples", shards=tuple(_shard(tree, path) for path in archives))
    tables = [path for path in _files(tree) if _CELL_SHARD.fullmatch(file_name(path))]
    if tables:
        return Sharded(kind="rows", shards=tuple(_shard(tree, path) for path in tables))
    return None


def _files(tree: Tree) -> Iterator[str]:
    for folder, names in tree.folders.items():
        yield from (folder + name for name in names)


def _shard(tree: Tree, path: str) -> Shard:
    folder, _, name = path.rpartition("/")
    return Shard(join(tree.root, path), split_of(folder.rpartition("/")[2]) or split_of(name))
