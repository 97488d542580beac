"""The list of runs: one script as text each, with what it is meant to be.

Comes in: the benchmark's registry, or a file. Goes out: `Run` values. A file holds a JSON object a
line; one with a "text" is a run by itself (`key`, `text`, `cause`, `accepts`, `seed`, and `outcome`
where it prints none that could be read), one without is looked up by its `key` ("CAUSE/GUISE on
PLACE seed=N"), so a file of results of `run.py` names the same runs. Knows no peer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compose import compose
from registry import HEALTHY, Cell, cells
from truth import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One script with one seed.

    Attributes:
        key: unique among runs.
        cause: what the script was meant to be; "healthy" for nothing.
        accepts: cause ids that count as right.
        text: the script.
        seed: given to it.
        outcome: what it comes to, as its author saw it; None: what it prints says so.
    """

    key: str
    cause: str
    accepts: tuple[str, ...]
    text: str
    seed: int
    outcome: Outcome | None = None


def of_cell(cell: Cell) -> Run:
    """The run of a cell of the registry."""
    return Run(
        key=cell.key,
        cause=cell.cause,
        accepts=(cell.cause, *cell.guise.accepts),
        text=compose(cell.guise, cell.at),
        seed=cell.seed,
    )


def from_registry(*, healthy: int | None, faulty: int | None, first_seed: int) -> list[Run]:
    """So many healthy and faulty runs, each script once before any a second time.

    Args:
        healthy, faulty: how many; None: each script once.
        first_seed: of the first round.
    """
    wanted = []
    for is_healthy, number in ((True, healthy), (False, faulty)):
        once = cells(seeds=1, healthy=is_healthy)
        for k in range(len(once) if number is None else number):
            cell = replace(once[k % len(once)], seed=first_seed + k // len(once))
            wanted.append(of_cell(cell))
    return wanted


def from_file(path: Path) -> list[Run]:
    """The runs that a file names or holds.

    Raises:
        ValueError: a line that is neither, with its number.
    """
    known = {cell.script_name: cell for cell in _all_cells()}
    found: dict[str, Run] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        row = json.loads(line)
        run = _written(row) if "text" in row else _looked_up(row.get("key", ""), known)
        if run is None:
            raise ValueError(f"{path}, line {number}: no script {row.get('key')!r} is known.")
        found[run.key] = run
    return list(found.values())


def part_of(runs: Iterable[Run], *, only: str, shard: str) -> list[Run]:
    """Those whose key matches, and of them every n-th."""
    index, of = map(int, shard.split("/"))
    return [run for run in runs if re.search(only, run.key)][index::of]


def is_healthy(cause: str) -> bool:
    """Whether a run of this cause was meant to be healthy."""
    return cause == HEALTHY


def _all_cells() -> Iterator[Cell]:
    yield from cells(seeds=1, healthy=True)
    yield from cells(seeds=1, healthy=False)


def _written(row: dict[str, Any]) -> Run:
    lacking = {"key", "cause"} - set(row)
    if lacking:
        raise ValueError(f"a run with a text lacks {', '.join(sorted(lacking))}.")
    accepts = tuple(row.get("accepts") or (row["cause"],))
    return Run(
        key=row["key"],
        cause=row["cause"],
        accepts=accepts,
        text=row["text"],
        seed=int(row.get("seed", 0)),
        outcome=row.get("outcome"),
    )


def _looked_up(key: str, known: dict[str, Cell]) -> Run | None:
    script, _, seed = key.rpartition(" seed=")
    if script not in known or not seed.isdigit():
        return None
    return of_cell(replace(known[script], seed=int(seed)))
