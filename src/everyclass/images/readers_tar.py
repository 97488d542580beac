"""Tar archives of samples, as WebDataset writes them, -> ImageTable.

Comes in: archives. Goes out: a table whose images are members. Files whose paths are equal up to
the first dot of the name are one sample: `0001.jpg` with its class in `0001.cls`, or in `0001.json`
beside other facts. An archive of class folders, without such files, is read by its folders.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from everyclass.errors import InputError
from everyclass.images.addresses import Address, common_front
from everyclass.images.listing import file_name
from everyclass.images.readers_cells import Shard
from everyclass.images.readers_columns import (
    COLUMN_NAMES,
    LabelUse,
    Role,
    TextColumns,
    columns_note,
)
from everyclass.images.readers_locate import Located
from everyclass.images.readers_manifest import ManifestTable, table_of_rows
from everyclass.images.readers_rules import SPLIT_ALIASES, is_image_name, listed, plural
from everyclass.images.table import SetAside
from everyclass.images.tar_members import members_of

_JSON, _CLASS = "json", "cls"
_FOLDER = "folder"
"""What the label column is called where folders tell the class."""


@dataclass(slots=True)
class _Sample:
    """A sample, or an image by itself where folders tell the class.

    Args:
        shard: the archive it is in.
        number: which one of it, from 1.
        key: its path up to the first dot of its name.
        images: field -> member.
        texts: field -> content, of fields that are read.
    """

    shard: Shard
    number: int
    key: str
    images: dict[str, str] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)


def read_tars(
    shards: Sequence[Shard], *, source: str, wanted: Mapping[Role, str], labels: LabelUse
) -> ManifestTable:
    """Read the samples of some archives.

    - The image is the sample's only file that ends like an image; where there are several,
      `wanted` names one by what follows the first dot (`jpg`, `left.png`).
    - The label is the text of `.cls`, else the entry label, class or target of `.json`; `wanted`
      names another file of the sample or another entry. Group and split are entries of `.json`; the
      split is else what the archive's name or folder tells (train-0001.tar, val/0001.tar).
    - Where no sample has a label, the folder that an image lies in is its class, and a folder above
      called train, val or test its split. Without .cls and .json each image stands by itself.
    - A name that stands twice in one archive is set aside; nobody can say which file is meant.

    Args:
        shards: archives, local or URIs.
        source: what they are together.
        wanted: role -> field or entry, as a user gave it.
        labels: "required", "optional" or "ignored".
    Raises:
        InputError: an archive that cannot be read, no image, several images a sample, JSON that is
            broken.
    """
    read_fields = {_CLASS, _JSON, *(name.lower().removeprefix(".") for name in wanted.values())}
    samples, twice = list[_Sample](), list[SetAside]()
    for shard in shards:
        own, repeated = _samples_of(shard, read_fields)
        samples.extend(own)
        twice.extend(repeated)
    with_image = [sample for sample in samples if sample.images]
    if not with_image:
        raise InputError(
            f"{source} holds no images in {plural(len(shards), 'archive')} "
            f"({plural(len(samples), 'sample')} without one).",
            remedy="Name archives that hold images.",
        )
    notes = [f"Read from {plural(len(shards), 'archive')}."] if len(shards) > 1 else []
    lost = len(samples) - len(with_image)
    if lost:
        first = next(sample.key for sample in samples if not sample.images)
        notes.append(f"Left out, without an image: {plural(lost, 'sample')} (first: {first}).")
    columns = _columns(with_image, wanted, labels, source)
    columns = replace(columns, notes=(*notes, *columns.notes))
    located = Located(
        paths=columns.columns["image"],
        found=np.ones(len(with_image), dtype=bool),
        root=common_front("tar", [shard.path for shard in shards]),
        notes=(),
    )
    found = table_of_rows(columns, located, source=source, labels=labels)
    aside = found.table.set_aside + tuple(twice)
    return replace(found, table=replace(found.table, set_aside=aside))


def _samples_of(shard: Shard, read: set[str]) -> tuple[list[_Sample], list[SetAside]]:
    members, contents = members_of(shard.path, read=lambda name: _split_name(name)[1] in read)
    counts = Counter(member.name for member in members)
    samples: dict[str, _Sample] = {}
    for member in members:
        key, kind = _split_name(member.name) if contents else _stem(member.name)
        if not kind or key.rpartition("/")[2].startswith(("._", "__")):
            continue
        if counts[member.name] > 1:
            samples.pop(key, None)
            continue
        sample = samples.get(key)
        if sample is None:
            sample = samples[key] = _Sample(shard, len(samples) + 1, key)
        if is_image_name(f".{kind}"):
            sample.images[kind] = member.name
        elif member.name in contents:
            sample.texts[kind] = contents[member.name]
    repeated = [
        SetAside(
            image=str(Address("tar", shard.path, name)),
            label=None,
            reason=f"{count:,} files of its archive have this name",
        )
        for name, count in counts.items()
        if count > 1 and is_image_name(name)
    ]
    return list(samples.values()), repeated


def _split_name(name: str) -> tuple[str, str]:
    """ "cat/1.seg.PNG" gives ("cat/1", "seg.png")."""
    folder, slash, last = name.rpartition("/")
    key, _, kind = last.partition(".")
    return folder + slash + key, kind.lower()


def _stem(name: str) -> tuple[str, str]:
    """ "cat/10.30.PNG" gives ("cat/10.30.PNG", "png"): a file by itself."""
    return name, name.rpartition("/")[2].rpartition(".")[2].lower()


def _columns(
    samples: list[_Sample], wanted: Mapping[Role, str], labels: LabelUse, source: str
) -> TextColumns:
    image_field = wanted.get("image", "").lower().removeprefix(".")
    facts = [_facts(sample) for sample in samples]
    used = {"image": _image_names(samples)}
    texts: dict[Role, list[str]] = {"image": [_address(s, image_field, source) for s in samples]}
    if labels != "ignored":
        for role in ("label", "split", "group"):
            name, values = _values(role, samples, facts, wanted)
            if name:
                used[role], texts[role] = name, values
        if "label" not in used and labels == "required":
            raise InputError(
                f"No sample of {source} has a label: no .cls, no .json with "
                f"{listed(COLUMN_NAMES['label'])}, and its images lie in no folders.",
                remedy="Say where it is: --label-column NAME (another ending, or an entry of "
                ".json).",
            )
        if "split" not in used and any(sample.shard.split for sample in samples):
            texts["split"] = [sample.shard.split or "" for sample in samples]
    names: dict[Role, str] = {role: used[role] for role in texts if role in used}
    return TextColumns(
        columns={role: pa.array(values, pa.large_string()) for role, values in texts.items()},
        names=names,
        rows=np.array([sample.number for sample in samples], dtype=np.int64),
        notes=(columns_note(names),),
    )


def _image_names(samples: Sequence[_Sample]) -> str:
    return ", ".join(sorted({kind for sample in samples for kind in sample.images})[:5])


def _address(sample: _Sample, wanted: str, source: str) -> str:
    if wanted and wanted not in sample.images:
        raise InputError(
            f"Sample {sample.key} of {file_name(sample.shard.path)} has no image '{wanted}' (it "
            f"has {listed(sorted(sample.images))}).",
            remedy="Give one of them to --image-column.",
        )
    if not wanted and len(sample.images) > 1:
        raise InputError(
            f"Sample {sample.key} of {file_name(sample.shard.path)} has "
            f"{len(sample.images)} images ({listed(sorted(sample.images))}).",
            remedy=f"Say which: --image-column {sorted(sample.images)[0]}.",
        )
    member = sample.images[wanted] if wanted else next(iter(sample.images.values()))
    return str(Address("tar", sample.shard.path, member))


def _facts(sample: _Sample) -> dict[str, Any]:
    """The entries of its .json; none where it has none."""
    if _JSON not in sample.texts:
        return {}
    try:
        found = json.loads(sample.texts[_JSON])
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{sample.key}.json in {file_name(sample.shard.path)} is no JSON: {error}.",
            remedy="Write the archive again.",
        ) from error
    return found if isinstance(found, dict) else {}


def _values(
    role: Role,
    samples: Sequence[_Sample],
    facts: Sequence[Mapping[str, Any]],
    wanted: Mapping[Role, str],
) -> tuple[str, list[str]]:
    """Where a role's values are, and each sample's; "" where it is nowhere."""
    name = wanted.get(role)
    field_name = (name or _CLASS).lower().removeprefix(".")
    if (name or role == "label") and any(field_name in sample.texts for sample in samples):
        return field_name, [_text(sample, field_name) for sample in samples]
    for entry in [name] if name else COLUMN_NAMES[role]:
        if any(entry in one for one in facts):
            return entry, [_entry(one, entry, sample) for one, sample in zip(facts, samples)]
    if name:
        raise InputError(
            f"No sample of {file_name(samples[0].shard.path)} has '{name}': neither as the ending "
            "of a file nor as an entry of .json.",
            remedy=f"Give another name to --{role}-column.",
        )
    if role == "group":
        return "", []
    folders = [sample.key.split("/")[:-1] for sample in samples]
    if role == "label" and all(folders):
        return _FOLDER, [parts[-1] for parts in folders]
    splits = ["".join(_split_folders(parts)) for parts in folders] if role == "split" else []
    return (_FOLDER, splits) if any(splits) else ("", [])


def _split_folders(parts: Sequence[str]) -> Iterator[str]:
    """The innermost folder called like a split, above the one of the class."""
    found = [SPLIT_ALIASES[part.lower()] for part in parts[:-1] if part.lower() in SPLIT_ALIASES]
    yield from found[-1:]


def _text(sample: _Sample, name: str) -> str:
    try:
        return sample.texts.get(name, b"").decode().strip()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{sample.key}.{name} in {file_name(sample.shard.path)} is not UTF-8 text.",
            remedy="Write labels as UTF-8.",
        ) from error


def _entry(facts: Mapping[str, Any], entry: str, sample: _Sample) -> str:
    value = facts.get(entry)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise InputError(
            f"'{entry}' of {sample.key}.json in {file_name(sample.shard.path)} is neither text nor "
            "a number.",
            remedy="Name another entry, as --label-column NAME.",
        )
    return str(value).strip()
