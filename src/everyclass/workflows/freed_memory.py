"""What tensors give back is kept for the next ones, instead of going to the system. Never torch.

On a processor PyTorch takes each tensor from the C library and gives it back. glibc hands large
ones back to the system at once, and every page of the next one is fetched and zeroed anew: with the
tutorial's network on 256 pixels that was half of a step (280 ms, and 145 ms without it; one core).
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_NEVER_TRIMMED = 2**31 - 1
_MMAP_THRESHOLDS = (1 << 30, 32 << 20)  # bytes; some releases take no more than the second

_OF_THE_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Have this process keep memory that was freed, for what comes next; values do not change.

    Its memory is then what it needed at most, until it ends. Whoever set the C library otherwise in
    the environment is left alone.

    Returns:
        Whether it is so now; not on systems without glibc.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _OF_THE_USER):
        return False
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        if mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIMMED):
            return any(mallopt(_M_MMAP_THRESHOLD, bytes_) for bytes_ in _MMAP_THRESHOLDS)
    return False
