"""Forward passes pooled into rounds, and the bounded history of rounds that tells progress.

Comes in: `Rows`, a row a pass. Goes out: `Round` values of at least 32 images each, whatever the
batch size; and the answer to "is it still learning?". Alarms are in `alarms`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everyclass.monitoring.measures import Rows, ScoreKind

Floats = NDArray[np.float64]

ROUND_IMAGES = 32
"""A batch of four is too noisy to bet on; a batch of 32 or more is a round of its own."""

HISTORY = 256
"""Records kept. When full, neighbours are joined, so memory does not grow with the run."""

LEAST_RECORDS = 6
"""Records on each side of a comparison."""

SIGNIFICANT = 2.5
"""Standard errors that a trend needs. A trend only *excuses* a run: seen where there is none, it
delays an alarm; missed where there is one, it lets a slow run be accused."""

RECENT = 24
"""Rounds, half against half, that tell a change of late."""

LEAST_RISE = 0.15
"""Rise of the correlation of scores and labels, over the age of a run, that counts as a start."""

LEAST_GROWTH = 0.2
"""Relative growth, over the age of the run, that counts as learning."""

ONE_CLASS_SHARE = 0.95
"""Share of a round's predictions in one class from which the round counts as single-class."""

REPEATING = (0.5, 0.9, 0.99)
"""How sure one may be that a pass has the labels of the last one: three guesses by the order."""

LEAST_PASSES = 8
"""Passes before anything is said about their order."""

ORDERED_SHARE = 0.7
"""Share of the class frequencies' cost that the best of them must not exceed in a sorted stream.
In a shuffled one all three cost more than the frequencies (Jensen)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What consecutive passes with at least `ROUND_IMAGES` images tell together.

    Args:
        first_step, last_step: optimizer steps done at the first and the last pass.
        images: that counted.
        predicted, labelled, hits, own_log_probs: (C,), see `measures.Rows`.
        right: all hits.
        expected_hits: hits of the same predictions on shuffled labels, pass by pass.
        escapes: images neither labelled nor predicted as their pass's most frequent prediction.
        others: images not labelled as it.
        log_loss: sum of -ln p(own class), the smaller of the two readings of the logits.
        anchor: what the class frequencies alone cost on the same images, same unit; in a sorted
            stream what the labels of the pass before cost.
        ordered: whether the labels come in runs of one class. Answering with the class of the
            moment then makes the loss fall, and tells nothing about images.
        advantage: mean score of the own class above that of shuffled labels.
        square, common: see `measures.Rows`; means over passes.
        given_loss: mean of what the script's loss said, NaN when it was not given.
    """

    first_step: int
    last_step: int
    images: float
    predicted: Floats
    labelled: Floats
    hits: Floats
    own_log_probs: Floats
    right: float
    expected_hits: float
    escapes: float
    others: float
    log_loss: float
    anchor: float
    ordered: bool
    advantage: float
    square: float
    common: float
    given_loss: float

    @property
    def gain(self) -> float:
        """Share of the anchor that the loss is below it; NaN for images of one class only."""
        return 1 - self.log_loss / self.anchor if self.anchor > 0 else math.nan

    @property
    def excess(self) -> float:
        """Nats an image above the anchor; 0 in a sorted stream, where its fall means nothing."""
        return 0.0 if self.ordered else (self.log_loss - self.anchor) / self.images

    @property
    def correlation(self) -> float:
        """The advantage in units of the spread of the scores between images; 0 without any."""
        spread = math.sqrt(max(self.square - self.common, 0.0))
        # What float32 leaves of scores that are the same for all images is rounding.
        return self.advantage / spread if spread > 1e-5 * math.sqrt(self.square) else 0.0

    @property
    def kappa(self) -> float:
        """Hits above those of shuffled labels, as a share of what is possible (Cohen 1960)."""
        room = self.images - self.expected_hits
        return (self.right - self.expected_hits) / room if room > 1e-9 else 0.0

    @property
    def one_class(self) -> int | None:
        """The class that (almost) every image was given, if there is one."""
        top = int(self.predicted.argmax())
        return top if self.predicted[top] >= ONE_CLASS_SHARE * self.images else None


@dataclass(slots=True)
class LabelOrder:
    """Whether labels can be told from those of the pass before: a sorted stream.

    Three guesses are made of each pass before it is seen: with probability r (`REPEATING`) an
    image has a label drawn from the last pass, else one by the class frequencies.

    Args:
        n_classes: C.
    """

    n_classes: int
    counts: Floats = field(init=False)
    costs: Floats = field(init=False)
    prior_cost: float = field(default=0.0, init=False)
    passes: int = field(default=0, init=False)
    _last: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.n_classes)
        self.costs = np.zeros(len(REPEATING))
        self._last = np.zeros((1, self.n_classes))

    @property
    def ordered(self) -> bool:
        """Whether the best guess costs clearly less than the class frequencies."""
        sure = float(self.costs.min()) < ORDERED_SHARE * self.prior_cost
        return sure and self.passes >= LEAST_PASSES

    def add(self, labelled: Floats) -> Floats:
        """Take passes in.

        Args:
            labelled: (k, C) images of each class.
        Returns:
            (k,) nats that the guess which is best so far costs on the images of each pass.
        """
        before = np.vstack([self._last, labelled[:-1]])
        known = self.counts + np.cumsum(labelled, axis=0) - labelled + 1
        self.counts = self.counts + labelled.sum(axis=0)
        self._last = labelled[-1:]
        self.passes += len(labelled)
        prior = known / known.sum(axis=1, keepdims=True)
        images = before.sum(axis=1, keepdims=True)
        last = np.where(images > 0, before / np.maximum(images, 1), prior)
        self.prior_cost -= float((labelled * np.log(prior)).sum())
        costs = np.stack(
            [-(labelled * np.log(r * last + (1 - r) * prior)).sum(axis=1) for r in REPEATING]
        )
        self.costs += costs.sum(axis=1)
        return np.asarray(costs[int(self.costs.argmin())])


@dataclass(slots=True, kw_only=True)
class Pool:
    """Turns rows into rounds; keeps what is left over for the next rows.

    Args:
        kind: of the scores; the gain of mere `scores` is Cohen's kappa.
    """

    n_classes: int
    kind: ScoreKind
    order: LabelOrder = field(init=False)
    _left: _Left | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.order = LabelOrder(self.n_classes)

    @property
    def counts(self) -> Floats:
        """(C,) images of each class so far."""
        return self.order.counts

    def log_prior(self) -> Floats:
        """ln of the class frequencies seen so far, one image of each class added."""
        return np.asarray(np.log((self.counts + 1) / (self.counts.sum() + self.n_classes)))

    def add(self, rows: Rows, steps: list[int]) -> list[Round]:
        """Take rows in and give the rounds that are complete.

        Args:
            steps: optimizer steps done at each row.
        """
        costs = self.order.add(rows.labelled)
        if self._left is not None:
            rows = _joined(self._left.rows, rows)
            steps = self._left.steps + steps
            costs = np.concatenate([self._left.costs, costs])
        starts, first, images = list[int](), 0, 0.0
        for i, n in enumerate(rows.images.tolist()):
            images += n
            if images >= ROUND_IMAGES:
                starts.append(first)
                first, images = i + 1, 0.0
        rest = len(rows) - first
        self._left = _Left(_cut(rows, first, None), steps[first:], costs[first:]) if rest else None
        if not starts:
            return []
        return self._rounds(_cut(rows, 0, first), steps[:first], costs[:first], starts)

    def _rounds(
        self, rows: Rows, steps: list[int], costs: Floats, starts: list[int]
    ) -> list[Round]:
        """One round for each start, all at once: in numpy ten numbers cost what one does.

        Args:
            costs: (k,) of the labels, by their order.
            starts: index of the first row of each round.
        """

        def summed(values: Floats) -> Floats:
            return np.add.reduceat(values, starts) if len(starts) < len(values) else values

        images, labelled, hits = summed(rows.images), summed(rows.labelled), summed(rows.hits)
        predicted, own = summed(rows.predicted), summed(rows.own_log_probs)
        one_row = np.maximum(rows.images, 1)
        expected = summed((rows.predicted * rows.labelled).sum(axis=1) / one_row)
        at, top = np.arange(len(rows)), rows.predicted.argmax(axis=1)
        others = rows.images - rows.labelled[at, top]
        escapes = others - (rows.predicted[at, top] - rows.hits[at, top])
        if self.order.ordered:
            anchor = summed(costs)
        else:
            # What has been labelled here has been counted; 1 stands for what has not.
            known = np.where(self.counts > 0, self.counts, self.counts.sum())
            anchor = -(labelled @ np.log(known / self.counts.sum()))
        right = hits.sum(axis=1)
        log_loss = np.minimum(summed(rows.log_loss), summed(rows.shifted_log_loss))
        if self.kind == "scores":
            # No probabilities, so no loss: the advantage of the hits stands in its place.
            log_loss = anchor * (1 - (right - expected) / np.maximum(images - expected, 1e-9))

        def mean(values: Floats) -> Floats:
            return np.asarray(summed(values * rows.images) / images)

        numbers = {
            "images": images,
            "right": right,
            "expected_hits": expected,
            "escapes": summed(escapes),
            "others": summed(others),
            "log_loss": log_loss,
            "anchor": anchor,
            "advantage": mean(rows.own_score - rows.shuffled_score),
            "square": mean(rows.square_score),
            "common": mean(rows.common_score),
            "given_loss": summed(rows.given_loss) / np.diff([*starts, len(rows)]),
        }
        columns: dict[str, list[Any]] = {
            "first_step": [steps[i] for i in starts],
            "last_step": [steps[i - 1] for i in (*starts[1:], len(rows))],
            "predicted": list(predicted),
            "labelled": list(labelled),
            "hits": list(hits),
            "own_log_probs": list(own),
            "ordered": [self.order.ordered] * len(starts),
            **{name: values.tolist() for name, values in numbers.items()},
        }
        return [Round(**dict(zip(columns, values))) for values in zip(*columns.values())]


@dataclass(frozen=True, slots=True)
class _Left:
    """Passes with too few images for a round; the next ones complete it."""

    rows: Rows
    steps: list[int]
    costs: Floats


def _joined(first: Rows, second: Rows) -> Rows:
    return Rows(
        **{
            name: np.concatenate([getattr(first, name), getattr(second, name)])
            for name in Rows.__slots__
        }
    )


def _cut(rows: Rows, start: int, end: int | None) -> Rows:
    if start == 0 and end == len(rows):
        return rows
    return Rows(**{name: getattr(rows, name)[start:end] for name in Rows.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How a number changed from one part of the run to the next.

    Args:
        before, after: means of the two parts.
        error: standard error of their difference.
    """

    before: float
    after: float
    error: float

    def rose(self) -> bool:
        """By more than chance and by a share that matters."""
        rise = self.after - self.before
        return rise > SIGNIFICANT * self.error and rise > LEAST_GROWTH * abs(self.before)


@dataclass(slots=True, kw_only=True)
class History:
    """Rounds so far: one record a round at first, later one for 2, 4, 8 ... of them."""

    n_classes: int
    pooled: int = field(default=1, init=False)
    rounds: int = field(default=0, init=False)
    records: list[_Record] = field(default_factory=list, init=False)
    _open: _Record | None = field(default=None, init=False)
    _recent: list[_Record] = field(default_factory=list, init=False)

    def add(self, one: Round) -> None:
        """Take a round in."""
        self.rounds += 1
        record = _Record.of(one)
        self._recent.append(record)
        del self._recent[:-RECENT]
        self._open = record if self._open is None else self._open.joined(record)
        if self.rounds % self.pooled:
            return
        self.records.append(self._open)
        self._open = None
        if len(self.records) >= HISTORY:
            pairs = zip(self.records[::2], self.records[1::2])
            self.records = [first.joined(second) for first, second in pairs]
            self.pooled *= 2

    def learning(self) -> bool:
        """Whether the run shows progress, over its age or over the last rounds.

        Two signs. (1) The score of an image's own class rises above that of shuffled labels:
        information grows in the logits long before a prediction changes or the loss moves, and it
        does so at any scale of the logits. (2) The loss falls towards that of the class
        frequencies. A run that has arrived somewhere shows neither, and one whose information has
        lately shrunk makes no progress whatever it did before.
        """
        age, recent = self._age(), self._lately()
        if recent is not None and _progress(*recent):
            return True
        shrunk = recent is not None and _advantage(*reversed(recent)).rose()
        return age is not None and _progress(*age) and not shrunk

    def no_rise(self) -> bool:
        """Whether a slow start is excluded, not only unseen.

        The correlation of scores and labels (advantage over the spread of the scores) has about
        the same error in every run, 1 / sqrt(images). Unless its rise over the age of the run is
        below `LEAST_RISE` by two standard errors, a slow start cannot be told from none.
        """
        age = self._age()
        if age is None:
            return False
        trend = _correlation(*age)
        return trend.after - trend.before + 2 * trend.error < LEAST_RISE

    def class_learning(self) -> NDArray[np.bool_]:
        """(C,) whether the log-probability of a class's own images rises."""
        rising = np.zeros(self.n_classes, dtype=bool)
        for part in (self._age(), self._lately()):
            if part is None:
                continue
            before, after = part
            first, second = _class_means(before), _class_means(after)
            with np.errstate(invalid="ignore"):
                error = np.sqrt(first[1] + second[1])
                rise = second[0] - first[0]
                rising |= (rise > SIGNIFICANT * error) & (rise > 0.05)
        return rising

    def _age(self) -> Parts | None:
        """The second quarter of the run and its later half; at first, its two halves."""
        size = len(self.records)
        quarter, half = size // 4, size // 2
        if half - quarter >= LEAST_RECORDS:
            return self.records[quarter:half], self.records[half:]
        if size >= 2 * LEAST_RECORDS:
            return self.records[:half], self.records[half:]
        return None

    def _lately(self) -> Parts | None:
        """The last rounds but twelve, and the last twelve."""
        if len(self._recent) < RECENT:
            return None
        return self._recent[: RECENT // 2], self._recent[RECENT // 2 :]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    images: float
    advantage: float
    excess: float
    correlation: float
    own_log_probs: Floats
    labelled: Floats

    @classmethod
    def of(cls, one: Round) -> _Record:
        return cls(
            images=one.images,
            advantage=one.advantage,
            excess=one.excess,
            correlation=one.correlation,
            own_log_probs=one.own_log_probs,
            labelled=one.labelled,
        )

    def joined(self, other: _Record) -> _Record:
        images = self.images + other.images
        a, b = self.images / images, other.images / images
        return _Record(
            images=images,
            advantage=a * self.advantage + b * other.advantage,
            excess=a * self.excess + b * other.excess,
            correlation=a * self.correlation + b * other.correlation,
            own_log_probs=self.own_log_probs + other.own_log_probs,
            labelled=self.labelled + other.labelled,
        )


Parts = tuple[list[_Record], list[_Record]]


def _progress(before: list[_Record], after: list[_Record]) -> bool:
    return _advantage(before, after).rose() or _fall(before, after).rose()


def _correlation(before: list[_Record], after: list[_Record]) -> Trend:
    return _trend([one.correlation for one in before], [one.correlation for one in after])


def _advantage(before: list[_Record], after: list[_Record]) -> Trend:
    return _trend([one.advantage for one in before], [one.advantage for one in after])


def _fall(before: list[_Record], after: list[_Record]) -> Trend:
    """Of the loss above the anchor, turned round; below the anchor there is nothing to fall to."""
    return _trend(
        [-max(one.excess, 0.0) for one in before], [-max(one.excess, 0.0) for one in after]
    )


def _trend(before: list[float], after: list[float]) -> Trend:
    first, second = np.array(before), np.array(after)
    error = math.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    return Trend(before=float(first.mean()), after=float(second.mean()), error=error)


def _class_means(records: list[_Record]) -> tuple[Floats, Floats]:
    """Mean log-probability of each class's images, and its squared standard error."""
    seen = np.array([one.labelled for one in records])
    sums = np.array([one.own_log_probs for one in records])
    total = np.maximum(seen.sum(axis=0), 1e-9)
    mean = sums.sum(axis=0) / total
    # Of a ratio of sums, a record being the unit (delta method; Cochran 1977, section 2.11).
    spread = ((sums - seen * mean) ** 2).sum(axis=0) / total**2
    return mean, np.where(seen.sum(axis=0) > 0, spread, np.inf)
