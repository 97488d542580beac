"""From a data set to everything a training needs to know: table, audit, recipe.

Comes in: where the data are and what the user wishes. Goes out: rows that can be used, what was
seen in them, and every decision with its reason. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from everyclass.decide import Machine, choose_side, decide
from everyclass.images.audit import examine_images, refuse_unreadable
from everyclass.images.audit_cache import AuditCache
from everyclass.images.audit_values import Audit
from everyclass.images.probe import short_sides
from everyclass.images.store import ImageStore
from everyclass.images.store_cache import open_shared
from everyclass.images.table import ImageTable
from everyclass.recipe import Recipe
from everyclass.settings import PRESETS, Settings, check_wishes
from everyclass.transfer import LocalWeights, is_pretrained, usable
from everyclass.workflows.cache_folder import cache_folder, image_limit_bytes
from everyclass.workflows.data_source import (
    DEFAULT_FRACTION,
    SIDE_WHEN_UNKNOWN,
    DataSource,
    check_fractions,
    split_table,
)
from everyclass.workflows.events import Audited, AuditProgress, DataRead, Event, ImagesKept
from everyclass.workflows.looks import Looks
from everyclass.workflows.manifest import contents_of_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Ready to train.

    Args:
        table: the usable rows, with splits.
        store: of the same rows.
        contents: (N, 16) uint8, the digest of each file's content.
        looks: shorter side and brightness of the same rows.
        sentences: what the split could not satisfy.
    """

    table: ImageTable
    store: ImageStore
    contents: npt.NDArray[np.uint8]
    looks: Looks
    audit: Audit
    recipe: Recipe
    sentences: tuple[str, ...]


def prepare(
    data: DataSource,
    *,
    wishes: Mapping[str, Any],
    preset: str | None,
    machine: Machine,
    store_folder: Path | None,
    cached: bool = False,
    local: LocalWeights | None = None,
    on_event: Callable[[Event], None],
) -> Prepared:
    """Read, split, audit and decide.

    Args:
        wishes: settings the user gave, by name.
        preset: name of a ready recipe, or None.
        store_folder: where decoded images are kept for the training; None = nowhere.
        cached: keep them, and what the audit saw, for later runs on the same files (`cache_folder`)
            where they fit, and take what earlier runs kept.
        local: pretrained weights on this machine, of the model asked for if one is.
    Raises:
        InputError: anything about the data or the wishes that does not work.
    """
    wanted = {**PRESETS.get(preset or "", {}), **check_wishes(wishes, where="options")}
    seed = wanted.get("seed", 0)
    read = data.read()
    fractions = {
        "val_fraction": wanted.get("val_fraction", DEFAULT_FRACTION),
        "test_fraction": wanted.get("test_fraction", DEFAULT_FRACTION),
    }
    check_fractions(**fractions)
    on_event(DataRead(table=read))
    side = choose_side(
        short_sides(read, seed=seed) or (SIDE_WHEN_UNKNOWN,),
        device=machine.device,
        wish=wanted.get("image_size"),
        pretrained=is_pretrained(wanted, usable(wanted, local)),
    )
    threads = wanted.get("threads", machine.threads)
    store, sentence = open_store(
        read, side=side.value, threads=threads, folder=store_folder, cached=cached
    )
    if store_folder is not None:
        on_event(ImagesKept(sentence=sentence))
    folder = cache_folder() / "audits"
    state = examine_images(
        read,
        side=side.value,
        threads=threads,
        store=store,
        cache=AuditCache(folder, source=data.source, side=side.value) if cached else None,
        on_progress=lambda done, total: on_event(AuditProgress(done=done, total=total)),
    )
    contents = state.contents(len(read))
    table, sentences = split_table(read, seed=seed, contents=contents, **fractions)
    audit = state.finish(table, side=side.value)
    refuse_unreadable(audit, data.max_unreadable)
    on_event(Audited(audit=audit, table=table, sentences=sentences))
    rows = audit.usable_rows(table)
    return Prepared(
        table=audit.drop_unreadable(table),
        store=store.take(rows),
        contents=contents[rows],
        looks=Looks.of_records(state.records(), side=side.value),
        audit=audit,
        recipe=decide(audit, side=side, machine=machine, wishes=wishes, preset=preset, local=local),
        sentences=sentences,
    )


def open_store(
    table: ImageTable, *, side: int, threads: int, folder: Path | None, cached: bool
) -> tuple[ImageStore, str]:
    """The store of decoded images, and a sentence on where it is and why there.

    Args:
        folder: of the run; None = nothing is kept.
        cached: in the cache that runs share, where there is room; else in `folder`.
    """
    megabytes = ImageStore.bytes_needed(len(table), side=side) / 1e6
    told = f"{megabytes / 1000:.2g} GB" if megabytes >= 1000 else f"{megabytes:.2g} MB"
    size = f"{told} of decoded images"
    why_not = ""
    if cached and folder is not None:
        place, limit = cache_folder() / "images", image_limit_bytes()
        shared, why_not = open_shared(
            table, side=side, threads=threads, folder=place, limit_bytes=limit
        )
        if shared is not None:
            return shared, (
                f"{size} are kept in {place} for later runs (at most {limit / 1e9:g} GB of all "
                "data sets; EVERYCLASS_CACHE_GB changes it)."
            )
        why_not = f" (not for later ones: {why_not})"
    store = ImageStore(table, side=side, threads=threads, folder=folder)
    if store.without_file:
        return store, f"Images are decoded anew in each epoch: {store.without_file}."
    return store, f"{size} are kept while this run lasts{why_not}."


def reopen(
    data: DataSource,
    settings: Settings,
    audit: Audit,
    *,
    store_folder: Path,
    manifest: Path,
    cached: bool = False,
) -> tuple[ImageTable, ImageStore]:
    """The rows a run began with, read again; what the audit set aside stays aside."""
    read, table = rows_of_run(data, settings, manifest=manifest)
    store, _ = open_store(
        read,
        side=settings.image_size,
        threads=settings.threads,
        folder=store_folder,
        cached=cached,
    )
    return audit.drop_unreadable(table), store.take(audit.usable_rows(table))


def rows_of_run(
    data: DataSource, settings: Settings, *, manifest: Path
) -> tuple[ImageTable, ImageTable]:
    """The data as they are read today, and the same rows in the splits of a run."""
    read = data.read()
    table, _ = split_table(
        read,
        contents=contents_of_run(manifest, read),
        seed=settings.seed,
        val_fraction=settings.val_fraction,
        test_fraction=settings.test_fraction,
    )
    return read, table
