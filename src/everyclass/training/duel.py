"""Which of two ways to do the same step is faster, on a machine where other things run too.

Comes in: two functions that do the next step, each in its own way. Goes out: their times, their
losses and the winner. Knows nothing of what the ways are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

LEAST_ROUNDS, MOST_ROUNDS = 3, 30
MARGIN = 0.05
"""A challenger must be faster by this share: less is noise, and no reason for a change."""

DoStep = Callable[[], float]
"""Does the next step and gives its loss; the step has ended when it returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """Two ways measured side by side.

    Args:
        holder_seconds, challenger_seconds: a step, median; the first step of each is not counted.
        rounds: timed steps of each.
        loss_difference: largest |difference| of the two losses of a step, relative to the
            holder's; infinite where one is no number.
        tolerance: that the difference may have.
    """

    holder_seconds: float
    challenger_seconds: float
    rounds: int
    loss_difference: float
    tolerance: float

    @property
    def agree(self) -> bool:
        """Whether both compute the same, within the tolerance."""
        return self.loss_difference <= self.tolerance

    @property
    def challenger_wins(self) -> bool:
        """Agrees, and is faster by more than noise. Whoever holds the place wins a tie."""
        return self.agree and self.challenger_seconds <= self.holder_seconds * (1 - MARGIN)


def duel(
    holder: DoStep,
    challenger: DoStep,
    *,
    tolerance: float,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Duel:
    """Step by step in turns, so that whatever else the machine does slows both alike.

    The first step of each warms up: kernels are chosen, memory is fetched. Who goes first changes
    each round, because the second finds the caches as the first left them.

    Args:
        holder, challenger: both do the same steps in the same order.
        tolerance: of the losses, relative.
        seconds: after which no further round begins, once there were `LEAST_ROUNDS`; a challenger
            whose first losses disagree is not timed any further.
    """
    losses = [(holder(), challenger())]
    begin = clock()
    times: tuple[list[float], list[float]] = ([], [])
    ways = (holder, challenger)
    for turn in range(MOST_ROUNDS):
        if turn >= LEAST_ROUNDS and clock() - begin >= seconds:
            break
        found = [0.0, 0.0]
        for k in (0, 1) if turn % 2 else (1, 0):
            started = clock()
            found[k] = ways[k]()
            times[k].append(clock() - started)
        losses.append((found[0], found[1]))
        if not _difference(losses) <= tolerance:
            break
    return Duel(
        holder_seconds=median(times[0]),
        challenger_seconds=median(times[1]),
        rounds=len(times[0]),
        loss_difference=_difference(losses),
        tolerance=tolerance,
    )


def _difference(losses: list[tuple[float, float]]) -> float:
    """Largest relative difference; infinite where it is no number."""
    found = [abs(own - other) / max(abs(own), 1e-3) for own, other in losses]
    return max(one if one == one else float("inf") for one in found)
