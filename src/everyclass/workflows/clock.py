"""Wall time of a training in this process: its pace, and what is due."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

VIEW_SECONDS = 0.25


@dataclass(slots=True, kw_only=True)
class Clock:
    """Runs from its construction on.

    Args:
        first_step: optimizer steps done before.
        images: trained on since.
    """

    first_step: int
    images: int = 0
    started: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    viewed: float = 0.0

    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started

    def pace(self) -> float:
        """Images a second."""
        return self.images / max(self.seconds(), 1e-9)

    def left(self, step: int, n_steps: int) -> float:
        """Seconds until `n_steps`, at the pace so far."""
        done = max(1, step - self.first_step)
        return self.seconds() / done * (n_steps - step)

    def checkpoint_due(self, every: float) -> bool:
        """Whether the last one is so many seconds old; `saved` is set by whoever saves."""
        return time.monotonic() - self.saved >= every

    def view_due(self) -> bool:
        """True a few times a second."""
        now = time.monotonic()
        if now - self.viewed < VIEW_SECONDS:
            return False
        self.viewed = now
        return True
