"""How many processor cores this process may use. Never torch."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores that this process may use; a container often allows fewer than exist."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
