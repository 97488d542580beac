"""`everyclass audit`: read a data set, split it as a training would, look at every image.

Comes in: where the data are. Goes out: the rows that can be used, and the audit. Never torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from everyclass.images.audit import examine_images, refuse_unreadable
from everyclass.images.audit_cache import AuditCache
from everyclass.images.audit_values import Audit
from everyclass.images.probe import LARGEST_SIDE_WITHOUT_ACCELERATOR, short_sides, side_for
from everyclass.images.table import ImageTable
from everyclass.workflows.cache_folder import cache_folder
from everyclass.workflows.cores import usable_cores
from everyclass.workflows.data_source import (
    DEFAULT_FRACTION,
    SIDE_WHEN_UNKNOWN,
    DataSource,
    check_fractions,
    split_table,
)

if TYPE_CHECKING:
    from everyclass.workflows.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedData:
    """A data set that was looked at.

    Args:
        table: the rows that can be used, each in a split; the others are in its `set_aside`.
        audit: of all its rows.
        sentences: what the split could not satisfy.
        remembered: images that are as they were at an audit before, and were not read again.
    """

    table: ImageTable
    audit: Audit
    sentences: tuple[str, ...]
    remembered: int = 0


def audit_data(
    data: DataSource,
    *,
    side: int | None = None,
    val_fraction: float = DEFAULT_FRACTION,
    test_fraction: float = DEFAULT_FRACTION,
    seed: int = 0,
    threads: int | None = None,
    cached: bool = False,
    cluster: Cluster | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> AuditedData:
    """Audit a folder or a manifest.

    Args:
        side: the training size in pixels; None = as a training without an accelerator chooses.
        val_fraction, test_fraction: for splits that the data set lacks.
        seed: of the split.
        threads: None = one for each processor core.
        cached: leave out what has not changed since an audit of the same size before, and remember
            this one (`cache_folder`).
        cluster: whose machines read the images; this process with its threads when left out.
        on_progress: called with (images done, images in all).
    Raises:
        InputError: anything about the data that does not work, too many unreadable images, or a
            machine of the cluster that does not see them.
    """
    check_fractions(val_fraction=val_fraction, test_fraction=test_fraction)
    read = data.read()
    if side is None:
        sample = short_sides(read, seed=seed) or (SIDE_WHEN_UNKNOWN,)
        side = side_for(sample, cap=LARGEST_SIDE_WITHOUT_ACCELERATOR)
    cache = AuditCache(cache_folder() / "audits", source=data.source, side=side) if cached else None
    elsewhere = None
    if cluster is not None:
        from everyclass.workflows.cluster_audit import examined_on

        elsewhere = examined_on(cluster, read, data.source)
    state = examine_images(
        read,
        side=side,
        threads=threads or usable_cores(),
        cache=cache,
        elsewhere=elsewhere,
        on_progress=on_progress,
    )
    table, sentences = split_table(
        read,
        seed=seed,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        contents=state.contents(len(read)),
    )
    audit = state.finish(table, side=side)
    refuse_unreadable(audit, data.max_unreadable)
    return AuditedData(
        table=audit.drop_unreadable(table),
        audit=audit,
        sentences=sentences,
        remembered=0 if cache is None else cache.remembered,
    )
