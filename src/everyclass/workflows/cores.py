"""How many processor cores this process may use. Never torch."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Cores that this process may use; a container often allows fewer than exist.

    A quota counts too: `docker run --cpus 2` shows all cores of the machine, and stops threads on
    them whenever together they have used two.
    """
    quota = quota_cores()
    allowed = allowed_cores()
    return allowed if quota is None else min(allowed, max(1, math.ceil(quota)))


def allowed_cores() -> int:
    """Cores that the scheduler may put this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota_cores(root: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Cores' worth of time that this process's control groups grant; None where none limits it.

    Groups are nested, and each may have a quota: the smallest counts.

    Args:
        root: where control groups are mounted, of version 2 or 1.
        own: which groups this process is in, a line each (number:controllers:path).
    Source: kernel.org, admin-guide/cgroup-v2 (cpu.max), scheduler/sched-bwc (cpu.cfs_quota_us).
    """
    quotas: list[float] = []
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                base = root
            elif "cpu" in controllers.split(","):
                base = root / "cpu"
            else:
                continue
            # Inside a container the path may be that of the host: what does not exist says nothing.
            inner = path.strip("/")
            here = base / inner if inner else base
            for folder in (here, *here.parents):
                quotas += _quota(folder)
                if folder == base:
                    break
    return min(quotas, default=None)


def _quota(folder: Path) -> list[float]:
    """That of one group: none or one."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        if (folder / "cpu.max").exists():
            used, period = (folder / "cpu.max").read_text().split()
        else:
            used = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        if used != "max" and int(used) > 0:
            return [int(used) / int(period)]
    return []
