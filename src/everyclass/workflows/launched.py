"""What torchrun, SLURM's srun or our worker of Ray Train says of this process: who it is among how
many, and whether it has been here before. Never torch: the command line asks before anything is
loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from everyclass.errors import InputError

Launcher = Literal["torchrun", "srun", "Ray Train"]

RAY_NAME, RAY_STARTS = "EVERYCLASS_RAY_NAME", "EVERYCLASS_RAY_STARTS"
"""Set by `cluster_worker` beside RANK and the like, for the process that it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How this process was started.

    Args:
        launcher: that started it; None where it was started by itself.
        rank, size: its number, and processes in all.
        local_rank, local_size: the same on its machine.
        name: of this launch, the same after a restart and no other launch's; "" where it has none.
        restarted: whether the launcher started it again, after a failure or a preemption.
    """

    launcher: Launcher | None = None
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    name: str = ""
    restarted: bool = False


def find_launch(variables: Mapping[str, str] = os.environ) -> Launch:
    """The launch as environment variables tell it.

    torchrun sets RANK and the like. srun sets SLURM_STEP_NUM_TASKS for the tasks that it starts; a
    batch script has SLURM_NTASKS too, and is one process all the same. A Ray cluster may have been
    started inside either, so that what its worker says comes first.

    Raises:
        InputError: numbers that contradict each other.
    """
    if RAY_NAME in variables:
        found = Launch(
            launcher="Ray Train",
            rank=_number(variables, "RANK"),
            size=_number(variables, "WORLD_SIZE"),
            local_rank=_number(variables, "LOCAL_RANK"),
            local_size=_number(variables, "LOCAL_WORLD_SIZE"),
            name=variables[RAY_NAME],
            restarted=_number(variables, RAY_STARTS) > 1,
        )
    elif "TORCHELASTIC_RUN_ID" in variables:
        name = variables["TORCHELASTIC_RUN_ID"]
        found = Launch(
            launcher="torchrun",
            rank=_number(variables, "RANK"),
            size=_number(variables, "WORLD_SIZE"),
            local_rank=_number(variables, "LOCAL_RANK"),
            local_size=_number(variables, "LOCAL_WORLD_SIZE"),
            name="" if name == "none" else name,
            restarted=_number(variables, "TORCHELASTIC_RESTART_COUNT", 0) > 0,
        )
    elif _number(variables, "SLURM_STEP_NUM_TASKS", 1) > 1:
        found = Launch(
            launcher="srun",
            rank=_number(variables, "SLURM_PROCID"),
            size=_number(variables, "SLURM_STEP_NUM_TASKS"),
            local_rank=_number(variables, "SLURM_LOCALID"),
            local_size=_tasks_a_node(variables),
            restarted=_number(variables, "SLURM_RESTART_COUNT", 0) > 0,
        )
    else:
        return Launch(restarted=_number(variables, "SLURM_RESTART_COUNT", 0) > 0)
    if found.size % found.local_size or not 0 <= found.rank < found.size:
        raise InputError(
            f"{found.launcher} says that this is process {found.rank} of {found.size}, with "
            f"{found.local_size} on this machine.",
            remedy="Start as many processes on each machine"
            + (", by another --ray-workers." if found.launcher == "Ray Train" else "."),
        )
    return found


def refuse_several(command: str) -> None:
    """Refuse a command that would do the same work, and write the same files, once a process.

    Raises:
        InputError: several processes were started.
    """
    launch = find_launch()
    if launch.size > 1:
        raise InputError(
            f"everyclass {command} is for one process; {launch.launcher} started {launch.size}.",
            remedy="Start it by itself.",
        )


def _tasks_a_node(variables: Mapping[str, str]) -> int:
    if "SLURM_NTASKS_PER_NODE" in variables:
        return _number(variables, "SLURM_NTASKS_PER_NODE")
    raise InputError(
        "SLURM does not say how many tasks run on each machine.",
        where="SLURM_NTASKS_PER_NODE",
        remedy="Start them with srun --ntasks-per-node N.",
    )


def _number(variables: Mapping[str, str], name: str, default: int | None = None) -> int:
    given = variables.get(name)
    if given is None and default is not None:
        return default
    try:
        return int(given or "")
    except ValueError:
        raise InputError(
            f"{name} is {given!r}, not a number.",
            where="the environment",
            remedy="Start the processes with torchrun or srun, which set it.",
        ) from None
