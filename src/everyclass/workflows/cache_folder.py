"""Where what can be made again is kept between runs. Never torch."""

from __future__ import annotations

import os
from pathlib import Path

from everyclass.errors import InputError

DEFAULT_GB = 10.0


def cache_folder() -> Path:
    """`EVERYCLASS_CACHE`; else `everyclass` in `XDG_CACHE_HOME` or `~/.cache`, beside the caches of
    torch and Hugging Face. It need not exist."""
    own = os.environ.get("EVERYCLASS_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "everyclass"


def image_limit_bytes() -> int:
    """How large the resized images of all data sets may be together: `EVERYCLASS_CACHE_GB`, else
    10 GB; 0 for none.

    Raises:
        InputError: it is no number, or below 0.
    """
    own = os.environ.get("EVERYCLASS_CACHE_GB", "")
    try:
        size = float(own) if own else DEFAULT_GB
    except ValueError:
        size = -1.0
    if not 0 <= size < float("inf"):
        raise InputError(
            f"EVERYCLASS_CACHE_GB is {own!r}; it is how many GB of decoded images are kept.",
            remedy="Set it to a number, 0 for none, or leave it away.",
        )
    return int(size * 1e9)
