"""Work on many images by Ray Data: blocks of a table in, one answer a block out, in their order.

Comes in: blocks, and what is to be done with each. Goes out: what came of them. Ray Data starts a
block again when the process that works on it ends, without limit; here it is counted, so that a
block that ends each of them is an error and not an endless loop. Knows no images.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import pyarrow as pa

from everyclass.errors import EveryclassError, InputError
from everyclass.workflows.cluster import Cluster, enter

ROW = "row"
"""The column by which a block is known; each block has a row that no other has."""

MOST_STARTS = 5
"""Of a block. One that ends its process as often will do so for ever."""

BLOCKS_A_CORE = 4  # so that no core waits long for the last one


class Station(Protocol):
    """What answers blocks; made in each process that does."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """The answer to one block."""


def answered(
    cluster: Cluster,
    blocks: Iterator[pa.Table],
    station: Callable[..., Station],
    arguments: Mapping[str, Any],
    *,
    block_rows: int,
    stateful: bool,
    gpus: int = 0,
) -> Iterator[pa.Table]:
    """Answers to blocks, in their order.

    Args:
        blocks: with a column `row`; all but the last one have `block_rows` rows.
        station: called with `arguments` in each process.
        stateful: in an actor that stays, made once; else by tasks, made for each block.
        gpus: that each process holds.
    Raises:
        InputError: raised by a station.
        EveryclassError: a station failed otherwise, or a block ended its process too often.
    """
    import ray
    from ray.data import ActorPoolStrategy, TaskPoolStrategy
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    starts = ray.remote(num_cpus=0)(_Starts).options(scheduling_strategy=here).remote()
    given = {
        "station": station,
        "arguments": dict(arguments),
        "folder": os.getcwd(),
        "starts": starts,
    }
    data = ray.data.from_arrow_refs([ray.put(block) for block in blocks])
    room = cluster.gpus // gpus if gpus else cluster.cpus
    size = min(room, cluster.workers or room, data.num_blocks())
    options: dict[str, Any] = {"batch_size": block_rows, "batch_format": "pyarrow", "num_cpus": 1}
    if gpus:
        options["num_gpus"] = gpus
    if stateful:
        options |= {"compute": ActorPoolStrategy(size=size), "fn_constructor_kwargs": given}
        found = data.map_batches(_Staying, **options)
    else:
        options |= {"compute": TaskPoolStrategy(size=size), "fn_kwargs": given}
        found = data.map_batches(_answer_once, **options)
    try:
        for batch in found.iter_batches(batch_size=None, batch_format="pyarrow"):
            for told, content in zip(batch["told"].to_pylist(), batch["content"]):
                _raise_told(told)
                yield pa.ipc.open_stream(content.as_buffer()).read_all()
        cluster.redone += ray.get(starts.redone.remote())
    except ray.exceptions.RayError as error:
        raise EveryclassError(f"A process of the cluster failed: {last_line(error)}") from error


def block_rows(n: int, cluster: Cluster, *, unit: int, most: int) -> int:
    """Rows of a block, of so many in all: whole units, and several blocks a core.

    Args:
        unit: rows that are worked on together.
        most: rows at most, or one unit where that is more.
    """
    wanted = min(most, n // (cluster.cpus * BLOCKS_A_CORE))
    return max(1, wanted // unit) * unit


def last_line(error: BaseException) -> str:
    """The cause of an error that Ray reports with traces of several processes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


class _Starts:
    """How often each block was begun; one actor for all processes."""

    def __init__(self) -> None:
        self._n = Counter[int]()

    def begun(self, block: int) -> int:
        self._n[block] += 1
        return self._n[block]

    def redone(self) -> int:
        return sum(n > 1 for n in self._n.values())


def _raise_told(told: str | None) -> None:
    if told is None:
        return
    said = json.loads(told)
    if "what" in said:
        raise InputError(**said)
    raise EveryclassError(said["failed"])


# -- in the processes of the cluster ---------------------------------------------------------------


def _answer_once(
    block: pa.Table,
    *,
    station: Callable[..., Station],
    arguments: Mapping[str, Any],
    folder: str,
    starts: Any,
) -> pa.Table:
    enter(folder)
    return _answer(block, partial(station, **arguments), starts)


class _Staying:
    """An actor: a station is made once, and again when its process has ended."""

    def __init__(
        self,
        *,
        station: Callable[..., Station],
        arguments: Mapping[str, Any],
        folder: str,
        starts: Any,
    ) -> None:
        enter(folder)
        self._make: Callable[[], Station] = partial(station, **arguments)
        self._starts = starts
        self._station: Station | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        return _answer(block, self._made, self._starts)

    def _made(self) -> Station:
        # At the first block, not before: what fails here is an answer.
        if self._station is None:
            self._station = self._make()
        return self._station


def _answer(block: pa.Table, made: Callable[[], Station], starts: Any) -> pa.Table:
    """One row, the same columns whatever the answer: an error, or a table as bytes."""
    import ray

    first = block[ROW][0].as_py()
    told, content = None, b""
    if ray.get(starts.begun.remote(first)) > MOST_STARTS:
        told = {
            "failed": f"{MOST_STARTS} processes of the cluster ended, one after the other, at the "
            f"{block.num_rows} images from number {first + 1:,} on. One of them may be damaged in "
            "a way that ends its decoder, or the machines may lack memory."
        }
    else:
        try:
            content = _bytes_of(made()(block))
        except InputError as error:
            told = {"what": error.what, "where": error.where, "remedy": error.remedy}
        except EveryclassError as error:
            told = {"failed": str(error)}
    return pa.table(
        {
            "told": pa.array([None if told is None else json.dumps(told)], pa.string()),
            "content": pa.array([content], pa.large_binary()),
        }
    )


def _bytes_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
