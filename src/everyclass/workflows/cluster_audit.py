"""The images of an audit, examined by the machines of a Ray cluster.

Comes in: chunks of a table. Goes out: records and faults, the same as from threads or processes of
this machine; the state that takes them in does not depend on their order. Never torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa

from everyclass.images.examine import Chunk, Examined, ImageFault
from everyclass.images.examiners import Examiners
from everyclass.images.records import RECORD, Records
from everyclass.images.table import ImageTable
from everyclass.workflows.cluster import Cluster, on_disk, refuse_blind_nodes
from everyclass.workflows.cluster_blocks import ROW, answered, block_rows

BLOCK = 1024
"""Images of a task: seconds of work, so that starting it costs little and losing it not much."""

_CHUNK = 64
_LOOKED_AT = 8


def examined_on(
    cluster: Cluster, table: ImageTable, source: str
) -> Callable[[Iterator[Chunk]], Iterator[Examined]]:
    """What `examine_images` takes to have the cluster examine chunks.

    Args:
        table: whose images are examined.
        source: of the table.
    Raises:
        InputError: a machine of the cluster does not see them.
    """
    refuse_blind_nodes(cluster, some_paths(source, table))

    def examined(chunks: Iterator[Chunk]) -> Iterator[Examined]:
        rows = block_rows(len(table), cluster, unit=_CHUNK, most=BLOCK)
        side, blocks = _blocks(chunks, rows)
        if side is None:
            return
        for found in answered(
            cluster,
            blocks,
            _ExaminingTask,
            {"side": side},
            block_rows=rows,
            stateful=False,
        ):
            yield _examined(found)

    return examined


def some_paths(source: str, table: ImageTable) -> list[str]:
    """The source and a few images, spread over the table: what machines are asked to look at."""
    places = np.unique(np.linspace(0, max(0, len(table) - 1), _LOOKED_AT).astype(int))
    images = [table.image(int(row)) for row in places] if len(table) else []
    return on_disk([source, *images])


def _blocks(chunks: Iterator[Chunk], rows: int) -> tuple[int | None, Iterator[pa.Table]]:
    """Their size in pixels, and their images in blocks; None without any."""
    first = next(chunks, None)
    if first is None:
        return None, iter(())

    def pairs() -> Iterator[tuple[int, str]]:
        yield from zip(first.rows, first.images, strict=True)
        for chunk in chunks:
            yield from zip(chunk.rows, chunk.images, strict=True)

    return first.side, tables_of(pairs(), rows)


def tables_of(pairs: Iterable[tuple[int, str]], rows: int) -> Iterator[pa.Table]:
    """Rows of a table and their images, in blocks of so many."""
    waiting: list[tuple[int, str]] = []
    for pair in pairs:
        waiting.append(pair)
        if len(waiting) == rows:
            yield _table(waiting)
            waiting = []
    if waiting:
        yield _table(waiting)


def _table(pairs: list[tuple[int, str]]) -> pa.Table:
    rows, images = zip(*pairs)
    return pa.table({ROW: pa.array(rows, pa.int64()), "image": pa.array(images, pa.string())})


def _examined(found: pa.Table) -> Examined:
    content = b"".join(one for one in found["record"].to_pylist() if one is not None)
    records: Records = np.frombuffer(content, dtype=RECORD)
    faults = [
        ImageFault(row=row, reason=reason)
        for row, reason in zip(found[ROW].to_pylist(), found["reason"].to_pylist())
        if reason is not None
    ]
    return records, faults


# -- in the processes of the cluster ---------------------------------------------------------------


class _ExaminingTask:
    """Examines one block, by a process of its own: a file that kills its decoder is that file's
    fault, as in an audit by processes of one machine."""

    def __init__(self, *, side: int) -> None:
        self._side = side

    def __call__(self, block: pa.Table) -> pa.Table:
        rows, images = block[ROW].to_pylist(), block["image"].to_pylist()
        parts = [
            _examiners().examine(
                Chunk(
                    rows=rows[start : start + _CHUNK],
                    images=images[start : start + _CHUNK],
                    side=self._side,
                )
            )
            for start in range(0, len(rows), _CHUNK)
        ]
        records = [record for own, _ in parts for record in own]
        faults = [fault for _, own in parts for fault in own]
        return pa.table(
            {
                ROW: pa.array(
                    [int(one["row"]) for one in records] + [one.row for one in faults], pa.int64()
                ),
                "record": pa.array(
                    [one.tobytes() for one in records] + [None] * len(faults), pa.binary()
                ),
                "reason": pa.array(
                    [None] * len(records) + [one.reason for one in faults], pa.string()
                ),
            }
        )


@functools.cache
def _examiners() -> Examiners:
    """Of this process, for all of its tasks; they end with it."""
    return Examiners()
