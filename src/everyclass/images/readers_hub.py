"""Data sets of the Hugging Face hub -> Arrow files on this machine.

Comes in: `hf://OWNER/NAME`. Goes out: the files that the `datasets` package keeps of it in its own
cache, downloaded where they are not there yet. Nothing else is asked of the network.
"""

from __future__ import annotations

import re

from everyclass.errors import InputError
from everyclass.images.readers_cells import Shard
from everyclass.images.readers_shards import splits_of

_NAME = re.compile(
    r"hf://(?:datasets/)?(?P<name>[^@:]+)(?:@(?P<revision>[^:]+))?(?::(?P<part>.+))?"
)


def hub_shards(uri: str) -> tuple[tuple[Shard, ...], tuple[str, ...]]:
    """The Arrow files of a data set of the hub, and notes.

    Args:
        uri: `hf://OWNER/NAME`, with `@REVISION` and `:CONFIGURATION` where one is to be named.
    Raises:
        InputError: the package `datasets` is not there; the hub cannot be reached or does not have
            it; it holds no images in Arrow files.
    """
    match = _NAME.fullmatch(uri)
    if match is None:
        raise InputError(
            f"{uri} is no data set of the hub.",
            remedy="Write hf://OWNER/NAME, with @REVISION and :CONFIGURATION where needed.",
        )
    return cached_shards(match["name"], revision=match["revision"], part=match["part"])


def cached_shards(
    name: str, *, revision: str | None, part: str | None
) -> tuple[tuple[Shard, ...], tuple[str, ...]]:
    """As `hub_shards`; `name` may be a folder of Parquet files too, as a clone of one."""
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"hf://{name} needs the package 'datasets'.",
            remedy="pip install 'everyclass[datasets]'.",
        ) from error
    try:
        found = datasets.load_dataset(name, part, revision=revision)
    except Exception as error:
        # What it raises is a dozen classes of three packages, and a new one each year.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"hf://{name} cannot be read from the Hugging Face hub: {reason.removesuffix('.')}.",
            remedy="Without a network: save_to_disk it elsewhere and name that folder.",
        ) from error
    files = {
        str(split): [str(file["filename"]) for file in rows.cache_files]
        for split, rows in found.items()
    }
    if not all(files.values()) or any(rows._indices is not None for rows in found.values()):
        raise InputError(
            f"hf://{name} is not kept in Arrow files, which images are read from.",
            remedy="Save it by save_to_disk and name that folder.",
        )
    return splits_of(files)
