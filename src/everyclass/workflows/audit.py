"""Read a data set, split it as a training would, and look at every image. Never torch.

Comes in: where the data are. Goes out: the rows that can be used, and the audit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from everyclass.images.audit import audit_images
from everyclass.images.audit_values import Audit
from everyclass.images.probe import short_sides
from everyclass.images.readers import read_table
from everyclass.images.split import assign_splits
from everyclass.images.table import ImageTable
from everyclass.recipe import choose_side

FRACTION = 0.15
"""Of the images for val and for test each, where the data set has no splits of its own."""
_SIDE_WHEN_UNKNOWN = 64  # no header of the sample could be read; the audit says why


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedFolder:
    """A data set that was looked at.

    Args:
        table: the rows that can be used, each in a split; the others are in its `set_aside`.
        audit: of all its rows.
        sentences: what the split could not satisfy.
    """

    table: ImageTable
    audit: Audit
    sentences: tuple[str, ...]


def audit_folder(
    source: str | Path,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    image_root: str | Path | None = None,
    side: int | None = None,
    val_fraction: float | None = None,
    test_fraction: float | None = None,
    seed: int = 0,
    max_unreadable: float = 0.01,
    threads: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> AuditedFolder:
    """Audit a folder or a manifest.

    Args:
        source: folder, CSV, TSV or Parquet file, or a URI of one.
        image_column, label_column, split_column, group_column: of a manifest; None = guess.
        image_root: folder that the paths of a manifest are relative to; None = look for it.
        side: the training size in pixels; None = as a training without an accelerator chooses.
        val_fraction, test_fraction: for splits that the data set lacks; None = 0.15.
        seed: of the split.
        max_unreadable: largest share of missing and unreadable images to go on with, in [0, 1].
        threads: None = one for each processor core.
        on_progress: called with (images done, images in all).
    Raises:
        InputError: anything about the data that does not work, or too many unreadable images.
    """
    table, sentences = assign_splits(
        read_table(
            source,
            image_column=image_column,
            label_column=label_column,
            split_column=split_column,
            group_column=group_column,
            image_root=image_root,
        ),
        val_fraction=FRACTION if val_fraction is None else val_fraction,
        test_fraction=FRACTION if test_fraction is None else test_fraction,
        seed=seed,
    )
    if side is None:
        sample = short_sides(table, seed=seed) or (_SIDE_WHEN_UNKNOWN,)
        side = int(choose_side(sample, device="cpu", wish=None).value)
    audit = audit_images(
        table,
        side=side,
        threads=threads or _usable_cores(),
        max_unreadable=max_unreadable,
        on_progress=on_progress,
    )
    return AuditedFolder(table=audit.drop_unreadable(table), audit=audit, sentences=sentences)


def _usable_cores() -> int:
    """Cores that this process may use; a container often allows fewer than exist."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
