"""Which training steps are watched, so that watching costs a bounded share of a script's time.

Comes in: steps done and seconds spent in the watch. Goes out: whether the next step is left out.
The alarms are valid for any sample of steps that does not depend on what they show; which step is
left out is decided by a hash of its number, so that no pattern of a script falls in with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from everyclass.capture.reservoir import counter_hash

EVERY_STEP_UNTIL = 1_000
"""Steps that are all watched: where collapse is born, and too short to cost anybody anything."""

MOST_COST = 0.02
"""Share of the time that watching may take after that."""

LEAST_WATCHED = 1 / 16
"""Share of the steps that is watched at any cost."""

BLOCK = 128
"""Steps after which the cost is looked at."""


class Rhythm:
    """Halves the share of watched steps while they cost too much, doubles it while they do not.

    Args:
        clock: seconds, of any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.watched_share = 1.0
        self._clock = clock
        self._next_look = EVERY_STEP_UNTIL - BLOCK
        self._mark: tuple[float, float] | None = None

    def rests(self, step: int, spent: float) -> bool:
        """Whether the step that begins now is left out.

        Args:
            step: steps done before it.
            spent: seconds in the watch so far.
        """
        if step >= self._next_look:
            self._look(spent)
            self._next_look = step + BLOCK
        return (
            self.watched_share < 1
            and step >= EVERY_STEP_UNTIL
            and counter_hash(step) >= self.watched_share * 2**64
        )

    def _look(self, spent: float) -> None:
        now = self._clock()
        before, self._mark = self._mark, (now, spent)
        if before is None or now <= before[0]:
            return
        cost = (spent - before[1]) / (now - before[0])
        if cost > MOST_COST:
            self.watched_share = max(LEAST_WATCHED, self.watched_share / 2)
        elif cost < MOST_COST / 4:
            self.watched_share = min(1.0, 2 * self.watched_share)
