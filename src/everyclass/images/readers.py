"""What a user names -> ImageTable: class folders, a manifest, shards, a Hugging Face data set.

Comes in: a path or fsspec URI. Goes out: a table without a decoded pixel, with what was guessed in
its notes and what cannot be used in its rows set aside. Which kind of data it is, is decided here;
how each kind is read stands in `readers_folder`, `readers_manifest`, `readers_tar` (WebDataset) and
`readers_shards`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from everyclass.errors import InputError
from everyclass.images.addresses import shown
from everyclass.images.listing import Tree, file_name, join, plain_path, walk, what_is
from everyclass.images.readers_columns import LabelUse, Role, is_manifest_name
from everyclass.images.readers_folder import (
    Layout,
    describe_tree,
    find_layout,
    image_paths,
    read_class_folders,
    tree_notes,
)
from everyclass.images.readers_manifest import (
    ManifestTable,
    manifest_in,
    read_cells,
    read_manifest,
)
from everyclass.images.readers_rules import (
    IMAGE_EXTENSIONS,
    case_notes,
    check_classes,
    is_image_name,
    listed,
    plural,
)
from everyclass.images.readers_shards import (
    Sharded,
    is_saved,
    named_shards,
    saved_shards,
    shards_in,
)
from everyclass.images.readers_slides import with_parts
from everyclass.images.readers_tar import read_tars
from everyclass.images.slides import Tiling
from everyclass.images.table import ImageTable, SetAside

_WHAT_DATA_IS = (
    "The data are a folder with a folder of images for each class, a CSV, TSV or Parquet "
    "manifest, tar archives of samples, or a Hugging Face data set (a folder of save_to_disk, or "
    "hf://OWNER/NAME)."
)


def read_table(
    source: str | Path,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    image_root: str | Path | None = None,
    tiling: Tiling | None = None,
    require_labels: bool = True,
) -> ImageTable:
    """Read what a data set says about its images.

    A folder is read as class folders, optionally below train/, val/ and test/
    (`readers_folder.find_layout`). A folder without class folders but with one manifest, or one
    called train.csv (.tsv, .parquet), is read by that manifest; so is any folder with a manifest
    when a column or `image_root` is named. A manifest beside class folders is left alone, with a
    note. How columns, rows and images of a manifest are read: `readers_columns.read_columns`,
    `readers_manifest.read_manifest`, `readers_locate.locate`. Images may lie in the manifest itself
    (Parquet: `readers_cells`) or in archives (`readers_tar.read_tars`); which files are one data
    set, `readers_shards` says.

    Args:
        source: folder, manifest, archive, or pattern of shards; a local path, an fsspec URI, or
            hf://OWNER/NAME.
        image_column: column with the image; None = image, path, filename, file or image_id. Of
            archives: an ending of a sample's files, or an entry of its .json; so the next three.
        label_column: column with the class; None = label, class or target.
        split_column: column with train, val, test; None = split, where there is one.
        group_column: column with what must stay on one side of a split; None = group, patient,
            slide or smear (or these with _id), where there is one.
        image_root: folder that a manifest's image paths are relative to.
        tiling: how whole-slide images are cut into tiles; None = a thumbnail each.
        require_labels: False reads images that have no label, too, and accepts any classes.
    Returns:
        The table; the class order is that of `readers_rules.class_order`.
    Raises:
        InputError: nothing there, no images, one class only, a class that cannot be trained on,
            and each fault of a manifest that its reader names.
    """
    path = plain_path(source)
    wanted = _wanted(image_column, label_column, split_column, group_column)
    root = None if image_root is None else plain_path(image_root)
    table = _read(path, wanted, root, require_labels=require_labels)
    cut = with_parts(table, tiling)
    if cut is not table and require_labels:
        check_classes(cut, labels_from="slides", place=lambda row: shown(cut.image(row)))
    return cut


def _read(
    path: str, wanted: Mapping[Role, str], root: str | None, *, require_labels: bool
) -> ImageTable:
    sharded = named_shards(path)
    if sharded is not None:
        return _from_shards(sharded, path, wanted, root, require_labels=require_labels)
    match what_is(path):
        case None:
            raise InputError(f"{path or 'An empty path'} does not exist.", remedy=_WHAT_DATA_IS)
        case "file":
            return _from_manifest(path, wanted, root, require_labels=require_labels)
        case "folder":
            return _from_folder(path, wanted, root, require_labels=require_labels)


def _wanted(
    image: str | None, label: str | None, split: str | None, group: str | None
) -> dict[Role, str]:
    named: dict[Role, str | None] = {
        "image": image,
        "label": label,
        "split": split,
        "group": group,
    }
    return {role: column for role, column in named.items() if column is not None}


def _from_manifest(
    path: str, wanted: Mapping[Role, str], image_root: str | None, *, require_labels: bool
) -> ImageTable:
    _refuse_other_files(path)
    manifest = read_manifest(
        path,
        wanted=wanted,
        image_root=image_root,
        labels="required" if require_labels else "optional",
    )
    return _checked(manifest, require_labels=require_labels)


def _from_shards(
    sharded: Sharded,
    path: str,
    wanted: Mapping[Role, str],
    image_root: str | None,
    *,
    require_labels: bool,
) -> ImageTable:
    read = _read_shards(
        sharded, path, wanted, image_root, labels="required" if require_labels else "optional"
    )
    return _checked(read, require_labels=require_labels)


def _read_shards(
    sharded: Sharded,
    path: str,
    wanted: Mapping[Role, str],
    image_root: str | None,
    *,
    labels: LabelUse,
) -> ManifestTable:
    if image_root is not None and sharded.kind == "samples":
        raise InputError(f"{path} holds the images themselves.", remedy="Leave --image-root out.")
    if sharded.kind == "samples":
        read = read_tars(sharded.shards, source=path, wanted=wanted, labels=labels)
    else:
        read = read_cells(
            sharded.shards, source=path, wanted=wanted, labels=labels, root=image_root
        )
    return replace(read, table=replace(read.table, notes=sharded.notes + read.table.notes))


def _checked(manifest: ManifestTable, *, require_labels: bool) -> ImageTable:
    table = replace(manifest.table, notes=manifest.table.notes + case_notes(manifest.table.classes))
    if require_labels:
        check_classes(
            table, labels_from=f"column '{manifest.label_column}'", place=_row_place(manifest)
        )
    return table


def _row_place(manifest: ManifestTable) -> Callable[[int], str]:
    return lambda row: f"row {manifest.rows[row]:,}, {shown(manifest.table.image(row))}"


def _refuse_other_files(path: str) -> None:
    if is_manifest_name(path):
        return
    name = file_name(path)
    if is_image_name(name):
        raise InputError(f"{name} is one image, not a data set.", remedy=_WHAT_DATA_IS)
    if name.lower().endswith((".xlsx", ".xls", ".ods")):
        raise InputError(f"{name} is a spreadsheet.", remedy="Save it as CSV (UTF-8).")
    raise InputError(f"{name} is no manifest: its name ends otherwise.", remedy=_WHAT_DATA_IS)


def _from_folder(
    path: str, wanted: Mapping[Role, str], image_root: str | None, *, require_labels: bool
) -> ImageTable:
    tree = walk(path)
    saved = saved_shards(tree)
    if saved is not None:
        return _from_shards(saved, path, wanted, image_root, require_labels=require_labels)
    layout = find_layout(tree)
    asked_for_manifest = bool(wanted) or image_root is not None
    if layout is not None and not asked_for_manifest:
        return _from_class_folders(tree, layout, path, require_labels=require_labels)
    sharded = shards_in(tree) if layout is None else None
    if sharded is not None and not _has_other_manifests(tree, sharded):
        return _from_shards(sharded, path, wanted, image_root, require_labels=require_labels)
    manifest = manifest_in(tree, wanted)
    if manifest is not None:
        table = _from_manifest(
            join(path, manifest), wanted, image_root, require_labels=require_labels
        )
        return replace(table, notes=(f"Read by its manifest {manifest}.", *table.notes))
    if asked_for_manifest:
        raise InputError(
            f"{path} holds no manifest, but columns or an image root were named for one.",
            remedy="Leave these options out, or name the CSV, TSV or Parquet file.",
        )
    images = list(image_paths(tree))
    if images and not require_labels:
        return _without_labels(tree, images, path)
    raise _no_classes(tree, path, images)


def _from_class_folders(
    tree: Tree, layout: Layout, path: str, *, require_labels: bool
) -> ImageTable:
    table = read_class_folders(tree, layout, source=path)
    manifests = [name for name in tree.folders[""] if is_manifest_name(name)]
    notes = list(table.notes)
    if manifests:
        notes.append(f"Read by its class folders, not by {listed(manifests)}: name it to use it.")
    table = replace(table, notes=(*notes, *case_notes(table.classes)))
    if require_labels:
        check_classes(
            table,
            labels_from="class folders",
            place=lambda row: table.keys()[row].as_py(),
            remedy_for_one=_inner_folder(tree, layout, path)
            or " ".join(("A classifier needs two or more.", *table.notes)),
        )
    return table


def _has_other_manifests(tree: Tree, sharded: Sharded) -> bool:
    """Whether a folder with shards has a manifest too, which then stands for it."""
    shards = {shard.path for shard in sharded.shards}
    return any(is_manifest_name(n) and tree.root + n not in shards for n in tree.folders[""])


def _inner_folder(tree: Tree, layout: Layout, path: str) -> str:
    """Where to look when the only class folder is what an archive was unpacked to."""
    folder = layout.class_folders[0][2]
    inner = tree.children(folder)
    if len(layout.class_folders) > 1 or len(inner) < 2:
        return ""
    target = join(path, folder.rstrip("/"))
    return f"If its classes are the folders inside it ({listed(inner)}), name {target} instead."


def _no_classes(tree: Tree, path: str, images: Sequence[str]) -> InputError:
    if not images:
        others = " ".join(tree_notes(tree))
        endings = ", ".join(IMAGE_EXTENSIONS)
        return InputError(
            f"{path} holds no images ({endings}). {others}".rstrip(),
            remedy="Name the folder that holds the folders of classes.",
        )
    return InputError(
        f"{path} has no class folders: {describe_tree(tree)}.",
        remedy="Put the images of each class into a folder called like the class, or add a "
        "manifest (train.csv with the columns image and label).",
    )


def _without_labels(tree: Tree, images: Sequence[str], source: str) -> ImageTable:
    table = ImageTable.from_lists(
        [tree.root + path for path in images], source=source, root=tree.root
    )
    broken = tuple(
        SetAside(image=tree.root + path, label=None, reason=reason)
        for path, reason in tree.broken
        if is_image_name(path)
    )
    return replace(table, notes=tuple(tree_notes(tree)), set_aside=broken)


def has_columns(source: str) -> bool:
    """Whether a source has named columns or fields, of which one may be the label: a manifest, an
    archive, shards by a pattern, a data set of the hub or a folder of save_to_disk."""
    path = plain_path(source)
    if is_manifest_name(path) or named_shards(path) is not None:
        return True
    return what_is(path) == "folder" and is_saved(path)


def read_images(paths: Sequence[str], *, tiling: Tiling | None = None) -> ImageTable:
    """Read images to predict: files, folders and manifests in any mixture, labels left aside.

    A folder gives all images in it and below it, or those in its shards. A manifest and an archive
    give theirs. Any other file is taken for an image, whatever its name; what it is shows when it
    is decoded. An image named twice is read once, with a note.

    Args:
        paths: local paths or fsspec URIs.
        tiling: how whole-slide images are cut into tiles; None = a thumbnail each.
    Returns:
        A table without classes, labels, groups and splits, in the order of the arguments.
    Raises:
        InputError: a path that does not exist, a folder without images, a manifest that cannot
            be read or whose images are all missing.
    """
    if not paths:
        raise InputError("No images were named.", remedy="Name files, folders or a manifest.")
    tables = list(_unlabelled_tables(paths))
    images = pa.chunked_array(
        [table.columns["image"].chunk(0) for table in tables], pa.large_string()
    )
    distinct = images.unique()
    notes = tuple(note for table in tables for note in table.notes)
    repeated = len(images) - len(distinct)
    if repeated:
        notes += (f"{plural(repeated, 'image')} named more than once and read once.",)
    table = ImageTable.from_lists(
        distinct,
        source=", ".join(paths[:3]) + (", ..." if paths[3:] else ""),
        root=tables[0].root if len(tables) == 1 else "",
    )
    set_aside = tuple(row for part in tables for row in part.set_aside)
    return with_parts(replace(table, notes=notes, set_aside=set_aside), tiling)


def _unlabelled_tables(paths: Sequence[str]) -> Iterator[ImageTable]:
    """A table for each folder and manifest, and one for each run of single files between them."""
    files: list[str] = []
    for path in map(plain_path, paths):
        sharded = named_shards(path)
        kind = what_is(path) if sharded is None else "file"
        if kind == "file" and sharded is None and not is_manifest_name(path):
            files.append(path)
            continue
        if files:
            yield ImageTable.from_lists(files)
            files = []
        if sharded is not None:
            yield _read_shards(sharded, path, {}, None, labels="ignored").table
            continue
        if kind is None:
            raise InputError(
                f"{path or 'An empty path'} does not exist.",
                remedy="Name images, folders or manifests.",
            )
        yield _unlabelled_folder(path) if kind == "folder" else _unlabelled_manifest(path)
    if files:
        yield ImageTable.from_lists(files)


def _unlabelled_folder(path: str) -> ImageTable:
    tree = walk(path)
    images = list(image_paths(tree))
    sharded = saved_shards(tree) or (None if images else shards_in(tree))
    if sharded is not None:
        return _read_shards(sharded, path, {}, None, labels="ignored").table
    if not images:
        raise _no_classes(tree, path, images)
    return _without_labels(tree, images, path)


def _unlabelled_manifest(path: str) -> ImageTable:
    return read_manifest(path, wanted={}, image_root=None, labels="ignored").table
