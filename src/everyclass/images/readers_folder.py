"""A folder of class folders -> ImageTable.

Comes in: a listed tree. Goes out: a table whose labels are folder names. It reads no file; what a
folder name means is decided here and said in the table's notes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from everyclass.images.listing import Tree
from everyclass.images.readers_rules import (
    SPLIT_ALIASES,
    class_order,
    is_image_name,
    listed,
    plural,
)
from everyclass.images.table import SPLITS, ImageTable, SetAside, SplitName

# A data folder whose only folders are called like these keeps its images in them and its labels
# elsewhere: train_images/, test_thumbnails/, HAM10000_images_part_1/.
_STORE_WORDS = frozenset(
    (
        *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures"),
        *("thumbnail", "thumbnails", "thumb", "thumbs", "jpg", "jpeg", "png", "tif", "tiff"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the class folders are: class -> its folders, each with the split it stands under.

    Args:
        class_folders: (class name, split or None, folder below the root with trailing slash).
        left_out: top-level folders with images that are neither classes nor splits here.
    """

    class_folders: tuple[tuple[str, SplitName | None, str], ...]
    left_out: tuple[str, ...] = ()


def find_layout(tree: Tree) -> Layout | None:
    """Tell which folders of a tree are classes; None when none is.

    A folder counts when an image lies somewhere below it.

    - Folders called train, val, test (or training, valid, validation, dev, testing) are splits
      when at least one of them holds class folders, and when they stand alone or are two
      different splits or more. So `train` beside `bus` and `car` is a class.
    - Otherwise every top-level folder is a class, unless all of them are called like a place for
      images (images, train_images, thumbnails) or like a split.
    """
    with_images = _folders_with_images(tree)
    top = sorted({folder.partition("/")[0] for folder in with_images if folder})
    splits = {name: SPLIT_ALIASES[name.lower()] for name in top if name.lower() in SPLIT_ALIASES}
    others = tuple(name for name in top if name not in splits)
    below_splits = tuple(
        (child, splits[name], f"{name}/{child}/")
        for name, child in sorted({_first_two(folder) for folder in with_images})
        if child and name in splits
    )
    if below_splits and (not others or len(set(splits.values())) >= 2):
        return Layout(class_folders=below_splits, left_out=others)
    if all(_is_store(name) for name in others):
        return None
    return Layout(class_folders=tuple((name, None, f"{name}/") for name in top))


def _folders_with_images(tree: Tree) -> set[str]:
    return {
        folder
        for folder, names in tree.folders.items()
        if any(is_image_name(name) for name in names)
    }


def _first_two(folder: str) -> tuple[str, str]:
    """ "train/cat/deep/" gives ("train", "cat"); what is not there is ""."""
    first, _, rest = folder.partition("/")
    return first, rest.partition("/")[0]


def _is_store(name: str) -> bool:
    return not _STORE_WORDS.isdisjoint(re.split(r"[^a-z]+", name.lower()))


def read_class_folders(tree: Tree, layout: Layout, *, source: str) -> ImageTable:
    """Read the images below each class folder, however deep, in order of class and path.

    Class names are folder names in natural order (`class_order`). An empty class folder is left
    out with a note, for there is nothing to learn or to measure; so are images outside the class
    folders and files that are not images. A link to nothing is set aside.
    """
    classes = class_order(name for name, _, _ in layout.class_folders)
    owners = {folder: (name, split) for name, split, folder in layout.class_folders}
    label_of = {name: label for label, name in enumerate(classes)}
    folders = []
    for folder in tree.folders:
        owner = owners.get(_owner(folder, owners))
        if owner:
            folders.append((label_of[owner[0]], folder, owner[1]))
    images: list[str] = []
    labels: list[int] = []
    splits: list[int] = []
    for label, folder, split in sorted(folders, key=lambda entry: entry[:2]):
        names = [name for name in tree.folders[folder] if is_image_name(name)]
        images.extend(f"{tree.root}{folder}{name}" for name in names)
        labels.extend([label] * len(names))
        splits.extend([-1 if split is None else SPLITS.index(split)] * len(names))
    codes = np.array(splits, dtype=np.int8)
    columns = pa.table(
        {
            "image": pa.array(images, pa.large_string()),
            "label": pa.array(labels, pa.int32()),
            "group": pa.nulls(len(images), pa.large_string()),
            "split": pa.DictionaryArray.from_arrays(
                pa.array(codes, mask=codes < 0), pa.array(SPLITS)
            ),
        }
    )
    return ImageTable(
        columns=columns,
        classes=classes,
        source=source,
        root=tree.root,
        notes=tuple(_notes(tree, layout, owners)),
        set_aside=tuple(_broken(tree, owners)),
    )


def _owner(path: str, owners: Mapping[str, object]) -> str:
    """The class folder that a path lies in: its first folder or its first two; "" = none."""
    first, slash, rest = path.partition("/")
    second, slash2, _ = rest.partition("/")
    folder = f"{first}{slash}"
    return folder if folder in owners else f"{folder}{second}{slash2}"


def _broken(tree: Tree, owners: Mapping[str, tuple[str, SplitName | None]]) -> Iterator[SetAside]:
    for path, reason in tree.broken:
        owner = owners.get(_owner(path, owners))
        if is_image_name(path) and owner:
            yield SetAside(image=tree.root + path, label=owner[0], reason=reason)


def _notes(tree: Tree, layout: Layout, owners: Mapping[str, object]) -> Iterator[str]:
    """What was decided while reading, a sentence each."""
    empty = _empty_class_folders(tree, owners)
    if empty:
        yield f"{plural(len(empty), 'folder')} without images left out: {listed(empty)}."
    if layout.left_out:
        names = listed([f"{name}/" for name in layout.left_out])
        yield f"Folders beside the splits left out: {names}."
    outside = [
        folder + name
        for folder, names in tree.folders.items()
        if _owner(folder, owners) not in owners and folder.partition("/")[0] not in layout.left_out
        for name in names
        if is_image_name(name)
    ]
    if outside:
        count = plural(len(outside), "image")
        yield f"{count} outside the class folders left out: {listed(outside)}."
    yield from tree_notes(tree)


def _empty_class_folders(tree: Tree, owners: Mapping[str, object]) -> list[str]:
    """Folders that stand where class folders stand, but hold no image at any depth."""
    parents = {folder[:-1].rpartition("/")[0] for folder in owners}
    prefixes = [f"{above}/" if above else "" for above in sorted(parents)]
    beside = [f"{above}{name}/" for above in prefixes for name in tree.children(above)]
    used = {part for folder in _folders_with_images(tree) for part in _leading_folders(folder)}
    return [folder for folder in beside if folder not in used]


def _leading_folders(folder: str) -> Iterator[str]:
    """ "a/b/" gives "a/" and "a/b/"."""
    for end, letter in enumerate(folder):
        if letter == "/":
            yield folder[: end + 1]


def image_paths(tree: Tree) -> Iterator[str]:
    """Paths below the root of all images in a tree, folder by folder, sorted."""
    for folder, names in tree.folders.items():
        yield from (folder + name for name in names if is_image_name(name))


def tree_notes(tree: Tree) -> Iterator[str]:
    """Sentences about files that are not images and about links that were not followed."""
    others: Counter[str] = Counter()
    for names in tree.folders.values():
        others.update(
            PurePosixPath(name).suffix.lower() or "no extension"
            for name in names
            if not is_image_name(name)
        )
    if others:
        kinds = ", ".join(f"{ending} {count:,}" for ending, count in others.most_common(5))
        yield f"Left out, not images: {plural(others.total(), 'file')} ({kinds})."
    if tree.repeated_links:
        yield (
            f"{plural(len(tree.repeated_links), 'linked folder')} left out, because what they "
            f"lead to was read already: {listed(tree.repeated_links)}."
        )


def describe_tree(tree: Tree) -> str:
    """What a folder without class folders holds, for a message."""
    direct = sum(is_image_name(name) for name in tree.folders.get("", ()))
    below: Sequence[str] = sorted({f.partition("/")[0] for f in _folders_with_images(tree) if f})
    parts = []
    if direct:
        parts.append(f"{plural(direct, 'image')} directly in it")
    if below:
        parts.append(f"images in {', '.join(f'{name}/' for name in below[:5])}")
    return " and ".join(parts)
