"""Named random streams from one seed.

Every random choice asks for its own stream by name and position ("augment", step), so it depends
on nothing that ran before it. That is what makes an interrupted run continue bit for bit: no
generator state has to be saved, and adding a new random choice moves no other one.
"""

from __future__ import annotations

import hashlib


def stream_seed(seed: int, *name: str | int) -> int:
    """Seed of the stream called `name`, in [0, 2**63).

    The first eight bytes of SHA-256 over the seed and the name; stable over machines, Python
    versions and processes (the built-in hash is not).

    Example:
        >>> stream_seed(0, "augment", 3) == stream_seed(0, "augment", 3)
        True
        >>> stream_seed(0, "augment", 3) == stream_seed(0, "augment", 4)
        False
    """
    text = "\x1f".join([str(seed), *(str(part) for part in name)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
