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
from everyclass.images.audit_values import Audit
from everyclass.images.probe import short_sides
from everyclass.images.store import ImageStore
from everyclass.images.table import ImageTable
from everyclass.recipe import Recipe
from everyclass.settings import PRESETS, Settings, check_wishes
from everyclass.workflows.data_source import (
    DEFAULT_FRACTION,
    SIDE_WHEN_UNKNOWN,
    DataSource,
    check_fractions,
    split_table,
)
from everyclass.workflows.events import Audited, AuditProgress, DataRead, Event
from everyclass.workflows.manifest import contents_of_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Ready to train.

    Args:
        table: the usable rows, with splits.
        store: of the same rows.
        contents: (N, 16) uint8, the digest of each file's content.
        sentences: what the split could not satisfy.
    """

    table: ImageTable
    store: ImageStore
    contents: npt.NDArray[np.uint8]
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
    on_event: Callable[[Event], None],
) -> Prepared:
    """Read, split, audit and decide.

    Args:
        wishes: settings the user gave, by name.
        preset: name of a ready recipe, or None.
        store_folder: where decoded images are kept for the training; None = nowhere.
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
    )
    threads = wanted.get("threads", machine.threads)
    store = ImageStore(read, side=side.value, threads=threads, folder=store_folder)
    state = examine_images(
        read,
        side=side.value,
        threads=threads,
        store=store,
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
        audit=audit,
        recipe=decide(audit, side=side, machine=machine, wishes=wishes, preset=preset),
        sentences=sentences,
    )


def reopen(
    data: DataSource, settings: Settings, audit: Audit, *, store_folder: Path, manifest: Path
) -> tuple[ImageTable, ImageStore]:
    """The rows a run began with, read again; what the audit set aside stays aside."""
    read = data.read()
    table, _ = split_table(
        read,
        contents=contents_of_run(manifest, read),
        seed=settings.seed,
        val_fraction=settings.val_fraction,
        test_fraction=settings.test_fraction,
    )
    store = ImageStore(
        read, side=settings.image_size, threads=settings.threads, folder=store_folder
    )
    return audit.drop_unreadable(table), store.take(audit.usable_rows(table))
