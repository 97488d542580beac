"""What a manifest calls its images -> paths of files that exist.

Comes in: the text of the image column and the folder it is relative to. Goes out: a path for each
row, whether a file is there, and what was guessed. Folders are listed once and rows are matched
in Arrow, so that a million rows cost no million questions to the disk. It opens no image.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from everyclass.images.contents import NO_SUCH_FILE
from everyclass.images.listing import Tree, can_be_listed, file_names, join, walk
from everyclass.images.readers_rules import IMAGE_EXTENSIONS, SPLIT_ALIASES, is_image_name, plural
from everyclass.images.table import SplitName

_TEXT = pa.large_string()
_NOTHING = pa.scalar("", _TEXT)
_SUFFIXES = ("", "_thumbnail", "_thumb")
_HAS_PLACE = re.compile(r"^(/|[A-Za-z][A-Za-z0-9+.-]*:)")
"""An absolute path, a drive or a URI: what no folder goes in front of."""
_MASK_WORDS = frozenset(
    (
        *("mask", "masks", "segmentation", "segmentations", "annotation", "annotations"),
        *("label", "labels", "gt"),
    )
)
_SAMPLE_ROWS = 1000
"""Rows from which the place of the images is guessed; the guess is then tried on all rows."""
_GUESS_ROUNDS = 5
"""Each round learns from rows that are still not found, such as the few that end in .JPG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where the images of N rows are.

    Args:
        paths: (N,) the file, or where it was looked for.
        found: (N,) bool: a file of that name was listed.
        root: the base as it stands in front of relative paths, "" for the current folder.
        notes: what was guessed, a sentence each.
        reason: why rows that were not found are set aside.
    """

    paths: pa.LargeStringArray
    found: npt.NDArray[np.bool_]
    root: str
    notes: tuple[str, ...]
    reason: str = NO_SUCH_FILE


@dataclass(frozen=True, slots=True)
class _Template:
    """A way to write a file's path below the base: folder, the value, suffix, extension."""

    folder: str
    suffix: str
    extension: str

    def written(self, column: str) -> str:
        return f"{self.folder}{{{column}}}{self.suffix}{self.extension}"


def locate(values: pa.LargeStringArray, *, base: str, column: str, manifest: str) -> Located:
    """Find the file of each row.

    1. As it stands: an absolute path, a URI, or a path relative to `base`.
    2. Where fewer than half of the rows are found so, by a guess. The folders below `base` are
       searched for the value as it stands or, when it has no image extension, with each image
       extension, plain or after `_thumbnail` or `_thumb`. The guess that finds most rows of a
       sample comes first, and rows that it misses are looked for with the next. Thumbnails
       come before full images when they exist for at least half as many rows, because full
       images of slides are too large to decode at every pass. Folders called like masks or
       labels are used only when there is nothing else, and folders of another split than the
       manifest's (test_images/ for train.csv) never; where the manifest's name tells no split,
       test folders come last. The notes say what was chosen and what was there beside it.

    http(s) and chained URIs cannot be listed: their files count as found, and one that is
    missing shows when it is read. Backslashes become slashes, with a note.

    Args:
        values: (N,) text of the image column, without nulls.
        base: folder that relative paths start from.
        column: name of the image column, for notes.
        manifest: file name of the manifest; its first word may tell the split.
    """
    notes: tuple[str, ...] = ()
    if pc.any(pc.match_substring(values, "\\")).as_py():
        values = pc.replace_substring(values, "\\", "/")
        notes = ("Backslashes in image paths are read as slashes.",)
    root = _resolve(base, "")
    paths, found = _as_they_stand(values, base)
    if 2 * found.sum() >= len(found):
        return Located(paths=paths, found=found, root=root, notes=notes)
    has_place = np.asarray(pc.match_substring_regex(values, _HAS_PLACE.pattern))
    rows = np.flatnonzero(~found & ~has_place)
    if len(rows) == 0:
        return Located(paths=paths, found=found, root=root, notes=notes)
    searched = values.take(pa.array(rows))
    guess = _guess(searched, walk(base), split_of(manifest))
    hit = guess.chosen >= 0
    found[rows[hit]] = True
    paths = _replaced(paths, rows[hit], guess.paths(searched, root).filter(pa.array(hit)))
    notes += guess.notes(column, len(values))
    return Located(paths=paths, found=found, root=root, notes=notes)


def _replaced(
    array: pa.LargeStringArray, rows: npt.NDArray[np.int64], values: pa.LargeStringArray
) -> pa.LargeStringArray:
    mask = np.zeros(len(array), dtype=bool)
    mask[rows] = True
    return pc.replace_with_mask(array, pa.array(mask), values)


def _as_they_stand(
    values: pa.LargeStringArray, base: str
) -> tuple[pa.LargeStringArray, npt.NDArray[np.bool_]]:
    """Paths of the values as written, and which of them exist; each folder is listed once."""
    folders = _folders_of(values)
    names = pc.replace_substring_regex(values, pattern=r"(?s)^.*/", replacement="")
    resolved = [_resolve(base, folder) for folder in folders.dictionary.to_pylist()]
    paths = pc.binary_join_element_wise(
        pa.array(resolved, _TEXT).take(folders.indices), names, _NOTHING
    )
    listed = [folder for folder in sorted(set(resolved)) if can_be_listed(folder)]
    there = pa.chunked_array(
        [_prefixed(folder, file_names(folder or ".")) for folder in listed], _TEXT
    )
    found = np.array(pc.is_in(paths, value_set=there))
    unlisted = np.array([not can_be_listed(folder) for folder in resolved], dtype=bool)
    if unlisted.any():
        found |= unlisted[np.asarray(folders.indices)]
    return paths, found


def _folders_of(values: pa.LargeStringArray) -> pa.DictionaryArray:
    """What stands before the file name, with its slash, as dictionary codes."""
    folders = pc.replace_substring_regex(values, pattern=r"[^/]*$", replacement="")
    return folders.dictionary_encode()


def _resolve(base: str, folder: str) -> str:
    """The folder as a prefix for names: without `.` and `..`, with a trailing slash or empty."""
    if not _HAS_PLACE.match(folder):
        folder = join(base, folder) if folder else base
    if "::" in folder:
        return folder
    scheme, separator, inner = folder.rpartition("://")
    path = posixpath.normpath(inner or ("/" if separator else "."))
    if path == ".":
        return ""
    return f"{scheme}{separator}{path}" + ("" if path.endswith("/") else "/")


def _prefixed(prefix: str, names: Sequence[str]) -> pa.LargeStringArray:
    return pc.binary_join_element_wise(pa.scalar(prefix, _TEXT), pa.array(names, _TEXT), _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guess:
    """Templates in the order they were used, the one chosen for each row (-1 = none), the rest."""

    templates: tuple[_Template, ...]
    chosen: npt.NDArray[np.int64]
    unused: tuple[_Template, ...]

    def paths(self, values: pa.LargeStringArray, root: str) -> pa.LargeStringArray:
        fronts = pa.array([root + t.folder for t in self.templates] + [root], _TEXT)
        ends = pa.array([t.suffix + t.extension for t in self.templates] + [""], _TEXT)
        rows = pa.array(self.chosen % len(fronts))
        return pc.binary_join_element_wise(fronts.take(rows), values, ends.take(rows), _NOTHING)

    def notes(self, column: str, total: int) -> tuple[str, ...]:
        counts = Counter(self.chosen[self.chosen >= 0].tolist()).most_common()
        used = [(self.templates[code].written(column), count) for code, count in counts]
        if not used:
            return ()
        (first, count), rest = used[0], used[1:]
        sentence = f"Image paths guessed: {first} ({count:,} of {total:,} found)"
        sentence += "".join(f", {name} ({count:,})" for name, count in rest[:3])
        if rest[3:]:
            more = sum(count for _, count in rest[3:])
            sentence += f" and {plural(len(rest) - 3, 'more place')} ({more:,})"
        notes = [f"{sentence}."]
        if self.unused:
            names = ", ".join(template.written(column) for template in self.unused[:3])
            notes.append(f"Also there, not used: {names} (see --image-root).")
        return tuple(notes)


def _guess(values: pa.LargeStringArray, tree: Tree, split: str | None) -> _Guess:
    """Learn templates from a sample of rows, try them on all, and repeat with what is left."""
    chosen = np.full(len(values), -1, dtype=np.int64)
    templates: list[_Template] = []
    seen: Counter[_Template] = Counter()
    for _ in range(_GUESS_ROUNDS):
        left = np.flatnonzero(chosen < 0)
        spread = np.linspace(0, len(left) - 1, min(len(left), _SAMPLE_ROWS)).astype(np.int64)
        hits = _hits(values.take(pa.array(left[spread])).to_pylist(), tree, split)
        images = Counter({t: n for t, n in hits.items() if not _is_for_masks(t.folder)})
        # Masks bear the names of their images: never let one stand in for a missing image.
        hits = images if images or templates else hits
        if not hits:
            break
        seen = seen or hits
        by_ending: dict[tuple[str, str], list[_Template]] = defaultdict(list)
        for template in _ranked(hits):
            by_ending[template.suffix, template.extension].append(template)
        for ending, group in by_ending.items():
            left = np.flatnonzero(chosen < 0)
            place = _match(values.take(pa.array(left)), "".join(ending), group, tree)
            chosen[left[place >= 0]] = place[place >= 0] + len(templates)
            templates.extend(group)
    used = {templates[code] for code in np.unique(chosen[chosen >= 0])}
    unused = [t for t in _ranked(seen) if t not in used and 2 * seen[t] >= max(seen.values())]
    return _Guess(templates=tuple(templates), chosen=chosen, unused=tuple(unused))


def _hits(sample: list[str], tree: Tree, split: str | None) -> Counter[_Template]:
    """How many of the sampled values each template finds."""
    wanted: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for value in sample:
        folder, slash, name = value.rpartition("/")
        for suffix, extension in _endings(name):
            wanted[name + suffix + extension].append((folder + slash, suffix, extension))
    hits: Counter[_Template] = Counter()
    for place, names in tree.folders.items():
        if split_of(place) not in (None, split) and split is not None:
            continue
        for name in wanted.keys() & set(names):
            for folder, suffix, extension in wanted[name]:
                if place == folder or place.endswith(f"/{folder}" if folder else ""):
                    front = place.removesuffix(folder) if folder else place
                    hits[_Template(front, suffix, extension)] += 1
    return hits


def _endings(name: str) -> Iterator[tuple[str, str]]:
    """Suffix and extension to try behind a value; a name with an extension is left as it is."""
    yield "", ""
    if not is_image_name(name):
        for suffix in _SUFFIXES:
            for extension in IMAGE_EXTENSIONS:
                yield suffix, extension
                yield suffix, extension.upper()


def _ranked(hits: Counter[_Template]) -> list[_Template]:
    """Best first: not for testing, thumbnails when there are enough, most rows, least deep."""
    most = max(hits.values(), default=0)

    def rank(template: _Template) -> tuple[bool, bool, int, int, str]:
        found = hits[template]
        thumbnails = "thumb" in (template.folder + template.suffix).lower()
        return (
            split_of(template.folder) == "test",
            not (thumbnails and 2 * found >= most),
            -found,
            template.folder.count("/"),
            template.written(""),
        )

    return sorted(hits, key=rank)


def _match(
    values: pa.LargeStringArray, ending: str, group: Sequence[_Template], tree: Tree
) -> npt.NDArray[np.int64]:
    """For each value the first template of the group whose file exists; -1 = none.

    All templates of a group share their ending, so one look-up in the names below all their
    folders answers for the whole group.
    """
    inner = set(_folders_of(values).dictionary.to_pylist())
    names, owners = [pa.array([], _TEXT)], [np.array([], dtype=np.int64)]
    for owner, template in enumerate(group):
        for folder in sorted(inner):
            inside = tree.folders.get(template.folder + folder, ())
            names.append(_prefixed(folder, inside))
            owners.append(np.full(len(inside), owner))
    wanted = pc.binary_join_element_wise(values, pa.scalar(ending, _TEXT), _NOTHING)
    place = pc.index_in(wanted, value_set=pa.chunked_array(names, _TEXT).combine_chunks())
    position = np.asarray(pc.fill_null(place, -1), dtype=np.int64)
    return np.where(position < 0, -1, np.append(np.concatenate(owners), -1)[position])


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", name.lower()) if word]


def split_of(name: str) -> SplitName | None:
    """The split that the first word of a name tells: "test" for test_images/."""
    words = _words(name)
    return SPLIT_ALIASES.get(words[0]) if words else None


def _is_for_masks(folder: str) -> bool:
    return not _MASK_WORDS.isdisjoint(_words(folder))
