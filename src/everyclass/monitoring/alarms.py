"""The alarms: four sequential tests over rounds, each with its null in words.

Together they raise a false alarm in a run with at most the stated probability, however long it
is, *relative to their nulls*: a run that meets them is what is called healthy here. Each null
speaks of rounds at which the test is armed; what arms it is known before the round, so arming
costs no validity. After its opening phase a healthy run ...

- **collapsed**: ... gives another class to at least 10 % of the images that do not belong to the
  most frequent prediction of their batch.
- **not-learning**: ... has a loss at least 1 % below that of the class frequencies (where labels
  come sorted: below that of the labels of the pass before), or hits kappa >= 0.2 above shuffled
  labels (the score is the larger of gain and kappa / 20, cut at 5 %).
- **diverged**: ... has, in at least half of the rounds, a loss below twice that of even guessing or
  kappa >= 0.2 (a class that is given up costs much, and is `starved`).
- **starved**: ... recognises at least 10 % of the images of each class. Armed when progress has
  ended (slow runs learn their classes one after the other, and the last may come late), for
  classes with 30 images since, and not while the log-probability of a class's own images rises.

The opening phase lasts until 16 rounds and 30 images a class (or one epoch, when its length is
known) have passed, and after that as long as progress cannot be excluded (`History.no_rise`) or the
learning rate rises. It ends when predictions have been shown to be informative *and* the loss to
be 1 % below that of the class frequencies, or kappa to be 0.2; the tests are then armed whenever
the run shows no progress. Nothing excuses a run for longer than 2,000 rounds.

Every bet is a mean of a bounded score (`stats.sequential.at_least`), every wealth a `Detector`
that may begin to pay at any round. Whether a run left a state is decided by the mirrored bets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from everyclass.monitoring.rounds import ROUND_IMAGES, History, Round
from everyclass.stats.sequential import Detector, Detectors, at_least, at_most

AlarmId = Literal["collapsed", "not-learning", "diverged", "starved"]

SHARE_OF_LEVEL: dict[AlarmId, float] = {
    "collapsed": 0.4,
    "starved": 0.3,
    "not-learning": 0.2,
    "diverged": 0.1,
}
"""How the false-alarm probability of a run is divided."""

LEAST_ESCAPES = 0.1
LEAST_GAIN = 0.01
GAIN_RANGE = 0.05
LEAST_KAPPA = 0.2
KAPPA_ROUNDS = 16
MOST_BAD_ROUNDS = 0.5
BAD_LOSS = 2.0
LEAST_RECALL = 0.1
FULL_BET_IMAGES = 2
"""Images of a class in a round from which its recall is bet on in full."""

EXCUSED_ROUNDS = 2000
LEAST_OTHERS = 16
"""Images that a round's escapes are judged on; with fewer, less is bet."""

OPENING_ROUNDS = 16
OPENING_IMAGES_A_CLASS = 30
STATE_LEVEL = 0.01
"""Level at which a state is said to be reached or left (informative, learned, recovered)."""


@dataclass(slots=True)
class MeanTest:
    """A bet on a bounded score, in both directions: raised by one, taken back by the other.

    Args:
        mean: of the null that is raised against.
        low, high: where the score is cut.
        level: of the alarm.
    """

    mean: float
    low: float
    high: float
    level: float
    raised: bool = False
    against: Detector = field(default_factory=Detector)
    back: Detector = field(default_factory=Detector)

    def update(self, score: float, *, armed: bool, weight: float = 1.0) -> bool:
        """Take a round's score in; whether the alarm is raised by it.

        Args:
            weight: in [0, 1], share of the bet to lay.
        """
        if math.isnan(score):
            return False
        if self.raised:
            factor = at_most(score, mean=self.mean, low=self.low, high=self.high)
            self.back.update(1 + weight * (factor - 1))
            if self.back.crossed(STATE_LEVEL):
                self.raised = False
                self.back.restart()
                self.against.restart()
            return False
        if armed:
            factor = at_least(score, mean=self.mean, low=self.low, high=self.high)
            self.against.update(1 + weight * (factor - 1))
            if self.against.crossed(self.level):
                self.raised = True
                return True
        return False


@dataclass(slots=True)
class Shown:
    """Whether a score has been shown to be above `mean` (null: at most that)."""

    mean: float
    low: float
    high: float
    detector: Detector = field(default_factory=Detector)
    step: int | None = None

    def update(self, score: float, step: int) -> None:
        """Take a round in."""
        if self.step is None and not math.isnan(score):
            self.detector.update(at_most(score, mean=self.mean, low=self.low, high=self.high))
            if self.detector.crossed(STATE_LEVEL):
                self.step = step


@dataclass(slots=True, kw_only=True)
class Alarms:
    """The tests of one run.

    Args:
        n_classes: C.
        false_alarm_probability: of the whole run.
        epoch_images: images of one epoch, None when not known.
    """

    n_classes: int
    false_alarm_probability: float
    epoch_images: int | None = None
    images: float = field(default=0.0, init=False)
    rounds: int = field(default=0, init=False)
    kappa: float = field(default=0.0, init=False)
    learning: bool = field(default=False, init=False)
    stuck: bool = field(default=False, init=False)
    collapse: MeanTest = field(init=False)
    not_learning: MeanTest = field(init=False)
    diverged: MeanTest = field(init=False)
    starved: Detectors = field(init=False)
    starved_back: Detectors = field(init=False)
    starved_raised: NDArray[np.bool_] = field(init=False)
    informative: Shown = field(init=False)
    gaining: Shown = field(init=False)
    knowing: Shown = field(init=False)
    seen_since: NDArray[np.float64] = field(init=False)
    since_hit: NDArray[np.float64] = field(init=False)
    hits_since: NDArray[np.float64] = field(init=False)
    _class_learning: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.collapse = MeanTest(LEAST_ESCAPES, 0.0, 1.0, self._level("collapsed"))
        self.not_learning = MeanTest(
            LEAST_GAIN, -GAIN_RANGE, GAIN_RANGE, self._level("not-learning")
        )
        # A good round scores 1, a bad one 0.
        self.diverged = MeanTest(1 - MOST_BAD_ROUNDS, 0.0, 1.0, self._level("diverged"))
        self.starved = Detectors((self.n_classes,))
        self.starved_back = Detectors((self.n_classes,))
        self.starved_raised = np.zeros(self.n_classes, dtype=bool)
        self.informative = Shown(0.0, -0.25, 0.25)
        self.gaining = Shown(LEAST_GAIN, -GAIN_RANGE, GAIN_RANGE)
        self.knowing = Shown(LEAST_KAPPA, LEAST_KAPPA - 0.25, LEAST_KAPPA + 0.25)
        self.seen_since = np.zeros(self.n_classes)
        self.since_hit = np.zeros(self.n_classes)
        self.hits_since = np.zeros(self.n_classes)
        self._class_learning = np.zeros(self.n_classes, dtype=bool)

    def _level(self, name: AlarmId) -> float:
        return self.false_alarm_probability * SHARE_OF_LEVEL[name]

    def opening_budget_spent(self) -> bool:
        """Whether enough was seen for a healthy run to have left its opening phase."""
        enough = float(OPENING_IMAGES_A_CLASS * self.n_classes)
        if self.epoch_images is not None:
            enough = min(enough, float(self.epoch_images))
        return self.rounds >= OPENING_ROUNDS and self.images >= enough

    @property
    def opening(self) -> bool:
        """Whether it has not yet been shown that the run learns what tells the classes apart."""
        return self.learned_step is None

    @property
    def learned_step(self) -> int | None:
        """The step at which that was shown."""
        known = [step for step in (self.knowing.step,) if step is not None]
        if self.informative.step is not None and self.gaining.step is not None:
            known.append(max(self.informative.step, self.gaining.step))
        return min(known, default=None)

    def look(self, history: History) -> None:
        """Renew what is known about progress; before the rounds that it arms."""
        self.learning = history.learning()
        self.stuck = not self.learning and history.no_rise()
        self._class_learning = history.class_learning()

    def update(self, one: Round, *, rate_rises: bool) -> list[AlarmId]:
        """Take a round in; the alarms it raises.

        Args:
            rate_rises: whether the learning rate is still warming up.
        """
        armed = self._armed(rate_rises=rate_rises)
        self.rounds += 1
        self.images += one.images
        self.since_hit = np.where(one.hits > 0, 0.0, self.since_hit + one.labelled)
        raised: list[AlarmId] = []
        if one.others > 0 and self.collapse.update(
            one.escapes / one.others,
            armed=armed,
            weight=min(1.0, one.others / LEAST_OTHERS),
        ):
            raised.append("collapsed")
        self.kappa += (one.kappa - self.kappa) / min(self.rounds, KAPPA_ROUNDS)
        score = max(_cut(one.gain), _cut(self.kappa * LEAST_GAIN / LEAST_KAPPA))
        if self.not_learning.update(score, armed=armed):
            raised.append("not-learning")
        guessing = max(one.anchor, one.images * math.log(self.n_classes))
        bad = one.log_loss > BAD_LOSS * guessing and self.kappa < LEAST_KAPPA
        if self.diverged.update(0.0 if bad else 1.0, armed=armed):
            raised.append("diverged")
        self.informative.update(_clip(one.kappa, 0.25), one.last_step)
        self.gaining.update(one.gain, one.last_step)
        self.knowing.update(one.kappa, one.last_step)
        if self._update_starved(one):
            raised.append("starved")
        return raised

    def _armed(self, *, rate_rises: bool) -> bool:
        if self.rounds >= EXCUSED_ROUNDS:
            return True
        if not self.opening:
            return not self.learning
        return self.opening_budget_spent() and self.stuck and not rate_rises

    def _update_starved(self, one: Round) -> bool:
        """Whether a further class is alarmed on."""
        settled = not self.learning or self.rounds >= EXCUSED_ROUNDS
        if self.opening or not settled:
            return False
        self.seen_since += one.labelled
        self.hits_since += one.hits
        enough = self.seen_since >= OPENING_IMAGES_A_CLASS
        present = one.labelled > 0
        recalls = one.hits / np.maximum(one.labelled, 1)
        weight = np.minimum(1.0, one.labelled / FULL_BET_IMAGES)
        against = at_least(recalls, mean=LEAST_RECALL, low=0.0, high=1.0)
        self.starved.update(
            1 + weight * (against - 1),
            where=present & enough & ~(self._class_learning | self.starved_raised),
        )
        if self.starved_raised.any():
            back = at_most(recalls, mean=LEAST_RECALL, low=0.0, high=1.0)
            self.starved_back.update(1 + weight * (back - 1), where=present & self.starved_raised)
            self._take_back()
        new = self.starved.crossed(self._level("starved") / self.n_classes) & ~self.starved_raised
        self.starved_raised |= new
        return bool(new.any())

    def _take_back(self) -> None:
        recovered = self.starved_raised & self.starved_back.crossed(STATE_LEVEL)
        if recovered.any():
            self.starved_raised &= ~recovered
            self.starved.restart(where=recovered)
            self.starved_back.restart(where=recovered)


def _cut(gain: float) -> float:
    return -GAIN_RANGE if math.isnan(gain) else _clip(gain, GAIN_RANGE)


def _clip(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))


def rounds_to_alarm(*, escape_share: float, level: float, armed_rounds_before: int = 0) -> float:
    """About how many armed rounds a collapse needs to be alarmed on.

    Args:
        escape_share: what is left of escapes, below `LEAST_ESCAPES`.
        armed_rounds_before: healthy ones.
    """
    growth = math.log(at_least(escape_share, mean=LEAST_ESCAPES, low=0.0, high=1.0))
    start = armed_rounds_before + 1
    return (math.log(1 / level) + math.log(start * (start + 1))) / growth


assert ROUND_IMAGES >= LEAST_OTHERS
