"""Freed memory is kept: the next tensor of the same size fetches no page."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from everyclass.workflows.freed_memory import keep_freed_memory

ROUNDS, PAGES = 20, 4096
"""16 MiB each time, of pages of 4 KiB."""

PROGRAM = f"""
import resource
import torch
from everyclass.workflows.freed_memory import keep_freed_memory

KEPT = keep_freed_memory()
for _ in range(2):
    torch.ones({PAGES} * 1024)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({ROUNDS}):
    torch.ones({PAGES} * 1024)
print(KEPT, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment: str) -> tuple[str, int]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    kept, found = told.split()
    return kept, int(found)


@pytest.mark.skipif(not keep_freed_memory(), reason="no glibc here, or set by the environment")
def test_pages_are_not_fetched_anew_for_every_tensor() -> None:
    kept, found = faults()
    left_alone, usual = faults(MALLOC_MMAP_THRESHOLD_="131072")
    assert (kept, left_alone) == ("True", "False")
    assert found < usual / 2  # a system that is short of memory takes some of it all the same
