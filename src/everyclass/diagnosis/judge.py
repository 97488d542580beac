"""Whether a side of a trial has helped, and which causes it answers.

Comes in: `Sides`, what checks accuse. Goes out: answers about a side. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.changes import Change
from everyclass.diagnosis.lab import Lab
from everyclass.diagnosis.reference import Reference
from everyclass.diagnosis.scores import Score, gain
from everyclass.diagnosis.sides import Side, Sides
from everyclass.findings import CauseId

LEAST_COST = 0.1
"""Of balanced accuracy, by the lower end of the interval: what a fault must cost a training that
tells the classes apart, to be named. Trials are shorter than most trainings, and what is learned
more slowly in the beginning may be learned in the end."""


class Judge:
    """Judges sides beside their controls.

    Args:
        sides: that were trained.
        accused: causes that checks accuse.
        learned: the training tells the classes apart; the question is what a fault costs it.

    Attributes:
        reference: what a network of ours makes of the images; None until it was asked.
    """

    def __init__(self, sides: Sides, accused: Sequence[CauseId], *, learned: bool = False) -> None:
        self.reference: Reference | None = None
        self._sides = sides
        self._accused = accused
        self._learned = learned

    def is_accused(self, side: Side) -> bool:
        """Whether a check accuses what the side changes."""
        return self.causes(side)[0] in self._accused

    def causes(self, side: Side) -> tuple[CauseId, ...]:
        """Of its changes, in their order."""
        seen = None if self.reference is None else self.reference.on_evaluation
        if side.by_evaluation and seen is not None and seen.tells and seen.recognises:
            return ("labels-unrelated",)
        return tuple(cause_of(one, self._sides.lab) for one in side.changes)

    def before(self, side: Side) -> Score:
        """The control of the same seed, by the same images."""
        control = self._sides.control(side.seed)
        known = control.on_evaluation if side.by_evaluation else control.scores
        return known[self._sides.full]

    def found(self, tried: Sequence[Side]) -> bool:
        """Whether one of them helps."""
        return any(self.helps(one) for one in tried)

    def helps(self, side: Side) -> bool:
        """Whether it left the collapse at full length, and does better than its control."""
        if self._sides.full not in side.scores:
            return False
        before, after = self.before(side), side.scores[self._sides.full]
        return self.left(before, after) and gain([before], [after]).low > 0

    def left(self, before: Score, after: Score) -> bool:
        """Whether the changed side has left the state that the control is in: see `cured`. From one
        that does well, by what the fault costs at least."""
        if self._learned and before.recovered:
            return after.recovered and gain([before], [after]).low >= LEAST_COST
        return cured(before, after)


def cause_of(change: Change, lab: Lab) -> CauseId:
    """A change may answer two causes; which one it is shows in what was measured."""
    try:
        return change.cause if change.cause_of is None else change.cause_of(lab)
    except NotApplicable:
        return change.cause


def ill(one: Score, starved: bool) -> bool:
    """Still in the collapse: the decisions do not tell the classes apart, or miss some."""
    return not one.recovered or (starved and bool(one.missed))


def far_beyond(sham: Score, after: Score) -> bool:
    """Whether a changed side does better than a negative control, and twice as well."""
    return gain([sham], [after]).low > 0 and after.advantage >= 2 * sham.advantage


def cured(before: Score, after: Score) -> bool:
    """Whether the changed side has left the state that the control is in.

    From a collapse: its decisions tell the classes apart. From a control that tells them apart and
    misses some: at most half as many are missed. A control that is well cannot be left.
    """
    if not before.recovered:
        return after.recovered
    return after.recovered and bool(before.missed) and 2 * len(after.missed) <= len(before.missed)
