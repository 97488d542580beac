"""Where what can be made again is kept between runs. Never torch."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`EVERYCLASS_CACHE`; else `everyclass` in `XDG_CACHE_HOME` or `~/.cache`, beside the caches of
    torch and Hugging Face. It need not exist."""
    own = os.environ.get("EVERYCLASS_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "everyclass"
