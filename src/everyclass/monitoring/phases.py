"""The stretches of a run in which (almost) every image was given one class.

Comes in: rounds. Goes out: which class from which step to which. The tutorial's symptom is two of
them: class 0 first, the majority later.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from everyclass.monitoring.rounds import Round

MOST_KEPT = 64
LEAST_ROUNDS = 2
"""Rounds that make a stretch: one is chance."""

GAP_ROUNDS = 2
"""Rounds of other predictions in a row that end a single-class phase."""


@dataclass(slots=True)
class Stretch:
    """One class for (almost) every image, over consecutive rounds.

    Args:
        target: id of the class.
        first_step, last_step: of its rounds.
        rounds: that were single-class.
    """

    target: int
    first_step: int
    last_step: int
    rounds: int = 1


@dataclass(slots=True)
class Phases:
    """All stretches so far; of very many, the longest and the latest are kept."""

    stretches: list[Stretch] = field(default_factory=list)
    since: int | None = None
    others: float = 0.0
    """Images of other classes since then: without them a single class is no news."""
    _gap: int = 0

    def add(self, one: Round) -> None:
        """Take a round in."""
        only = one.one_class
        if only is None:
            self._gap += 1
            if self._gap >= GAP_ROUNDS:
                self.since, self.others = None, 0.0
            return
        self.others += one.images - float(one.labelled[only])
        # A gap of one round is bridged, so a class that returns after it continues its stretch.
        last = self.stretches[-1] if self.stretches else None
        if last is not None and last.target == only and self.since is not None:
            last.last_step = one.last_step
            last.rounds += 1
        else:
            self.stretches.append(Stretch(only, one.first_step, one.last_step))
        self._gap = 0
        if self.since is None:
            self.since = one.first_step
        if len(self.stretches) > MOST_KEPT:
            shortest = min(self.stretches[:-1], key=lambda stretch: stretch.rounds)
            self.stretches.remove(shortest)

    def lasting(self) -> list[Stretch]:
        """The stretches of at least two rounds, in order."""
        return [one for one in self.stretches if one.rounds >= LEAST_ROUNDS]

    def oscillates(self) -> bool:
        """Whether the standing single-class phase changes its class again and again."""
        if self.since is None:
            return False
        inside = [one for one in self.stretches if one.first_step >= self.since]
        return len(inside) >= 4 and len({one.target for one in inside}) >= 2
