"""What a server accepts, and the words in which it refuses.

Comes in: numbers. Goes out: limits, and refusals that a client may read: no path, no traceback.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from everyclass.errors import EveryclassError, InputError

Outcome = Literal[
    "answered",
    "unreadable",
    "too-large",
    "unsupported",
    "unauthorised",
    "slow-upload",
    "busy",
    "time-out",
    "cut-off",
    "failed",
]
"""How a request to /predict ended; one counter each in the metrics."""

STATUS: dict[Outcome, int] = {
    "answered": 200,
    "unauthorised": 401,
    "slow-upload": 408,
    "too-large": 413,
    "unsupported": 415,
    "unreadable": 422,
    "cut-off": 499,
    "failed": 500,
    "busy": 503,
    "time-out": 504,
}
"""The status of each; a connection that the client cut off gets none (499 is nginx's number)."""


class Refusal(EveryclassError):
    """A request that is not answered with a prediction.

    Args:
        outcome: which way.
        words: one sentence, as the client gets it.
    """

    def __init__(self, outcome: Outcome, words: str) -> None:
        self.outcome = outcome
        self.words = words
        super().__init__(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one server.

    Args:
        max_bytes: of an image's file.
        max_pixels: width x height that its header states.
        max_seconds: from a request's first byte to its answer.
        max_waiting: requests that are being read, wait or are classified; more are turned away.
        max_batch: images of one forward pass.
        window_seconds: how long a pass waits for more images after its first.
    """

    max_bytes: int = 10_000_000
    max_pixels: int = 50_000_000
    max_seconds: float = 10.0
    max_waiting: int = 64
    max_batch: int = 32
    window_seconds: float = 0.003

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_pixels", "max_seconds", "max_waiting", "max_batch"):
            value = getattr(self, name)
            if not value > 0:
                raise InputError(f"{name} is {value}; a limit must be above 0.")
        if not self.window_seconds >= 0:
            raise InputError(f"window_seconds is {self.window_seconds}; it must be 0 or more.")
