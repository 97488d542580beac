"""Processes started as srun or torchrun would, each with its own output; torch is loaded once."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 240  # of a test on a busy machine; a process that hangs fails it


@dataclass(frozen=True)
class Ended:
    """How a process ended. `code` is None where it hung."""

    code: int | None
    out: str
    err: str


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def slurm(size: int, **more: str) -> list[dict[str, str]]:
    """What srun sets for each of the tasks on one machine."""
    port = str(free_port())
    return [
        {
            "SLURM_JOB_ID": "1234",
            "SLURM_JOB_NAME": "train",
            "SLURM_NODELIST": "localhost",
            "SLURM_NTASKS": str(size),
            "SLURM_NTASKS_PER_NODE": str(size),
            "SLURM_STEP_NUM_TASKS": str(size),
            "SLURM_NNODES": "1",
            "SLURM_NODEID": "0",
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank),
            "MASTER_PORT": port,
            **more,
        }
        for rank in range(size)
    ]


def run_several(
    work: Callable[..., Any],
    arguments: Sequence[Sequence[Any]],
    variables: Sequence[dict[str, str]],
    folder: Path,
) -> list[Ended]:
    """Call `work(*arguments[rank])` in a process each, with these environment variables.

    Args:
        work: of a module, so that another process can find it.
        folder: for what they print.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["everyclass.workflows.train_together", "everyclass.cli"])
    processes = [
        context.Process(target=_work, args=(work, list(own), found, str(folder / str(rank))))
        for rank, (own, found) in enumerate(zip(arguments, variables))
    ]
    for one in processes:
        one.start()
    ended = []
    for rank, one in enumerate(processes):
        one.join(PATIENCE_SECONDS)
        if one.is_alive():
            one.kill()
            one.join()
            code = None
        else:
            code = one.exitcode
        texts = [Path(f"{folder / str(rank)}.{name}") for name in ("out", "err")]
        out, err = (path.read_text() if path.exists() else "" for path in texts)
        ended.append(Ended(code, out, err))
    return ended


def command(*words: str) -> None:
    """`everyclass` with these words."""
    from everyclass.cli import main

    main(words)


def _work(
    work: Callable[..., Any], arguments: list[Any], variables: dict[str, str], path: str
) -> None:
    os.environ.update(variables)
    for name, number in (("out", 1), ("err", 2)):
        handle = os.open(f"{path}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    work(*arguments)
