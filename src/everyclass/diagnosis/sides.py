"""The sides of a trial: copies of a training with changes made, trained and scored within a budget.

Comes in: a `Case`, the changes of a side, how far to train it. Goes out: a `Side` with its scores.
Keeps the time and the memory; judges nothing and knows no stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import CapturedBatch, Case
from everyclass.diagnosis.changes import Change
from everyclass.diagnosis.heldout import divide, divide_evaluation
from everyclass.diagnosis.lab import Lab
from everyclass.diagnosis.material import Material, class_ids, pick_rows, rows_of
from everyclass.diagnosis.scores import LEAST_SUPPORT, Score, score
from everyclass.diagnosis.trainee import Trainee, TrialError, on_device, trainee_of
from everyclass.findings import CauseId

LEAST_STEPS, MOST_STEPS = 80, 1500
"""Forward passes of a trial at full length."""

LEAST_ROWS, CUT_FROM = 8, 0.75
"""Images that a piece of a captured batch keeps where a pass is slow for the budget; and the share
of a batch from which it is left whole, as cutting would gain little."""

SLOWER, LEAST_SECONDS = 4.0, 2.0
"""Times the control's pace that a changed side may take, and seconds that it has in any case."""

MOST_BYTES = 2 * 2**30
"""Of all copies that are kept at a time: weights, gradients, and two moments for each."""

SEEDS = (0, 1)


@dataclass(slots=True)
class Side:
    """One side of a trial, or the control, under one seed.

    Args:
        changes: made to it; none for the control.
        seed: of the order of its batches and of its draws.
        trainee: the copy; None once its memory was given back.
        passes: that it made.
        scores: passes that were asked for -> score on held-out images.
        on_evaluation: the same on evaluation images, where it was judged by these.
    """

    changes: tuple[Change, ...]
    seed: int
    trainee: Trainee | None
    passes: int = 0
    scores: dict[int, Score] = field(default_factory=dict)
    on_evaluation: dict[int, Score] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the changes."""
        return " + ".join(one.name for one in self.changes) or "control"

    @property
    def last(self) -> Score:
        """At the most passes."""
        return self.scores[max(self.scores)]

    @property
    def by_evaluation(self) -> bool:
        """It trains on evaluation images, and is judged by others of them."""
        return any(one.on_evaluation for one in self.changes)


class Sides:
    """Makes sides, trains them and keeps the budget.

    Args:
        case: see `Case`.
        accused: causes that checks accuse.
        starved: what is wrong is that some classes are never predicted.
        deadline: on the clock, seconds.
        seed: of everything that is drawn.
        clock: tells the seconds.
        on_trial: called with the name of each side as its training begins.
    Raises:
        NotApplicable: too little was captured.

    Attributes:
        training, held_out, evaluation: batches, where the model is.
        full: forward passes of a trial at full length.
        a_pass: seconds of one.
        rows: images of a piece where captured batches were cut for the trials; None where whole.
        excluded: name of a change -> why it was not tried, or what it raised.
    """

    def __init__(
        self,
        case: Case,
        accused: Sequence[CauseId],
        *,
        starved: bool = False,
        deadline: float,
        seed: int,
        clock: Callable[[], float],
        on_trial: Callable[[str], None] | None,
    ) -> None:
        self.case = case
        self.deadline = deadline
        self.seed = seed
        self.clock = clock
        self.full = LEAST_STEPS
        self.a_pass = 1.0
        self.rows: int | None = None
        self._pieces = 1.0
        self.excluded: dict[str, str] = {}
        self._on_trial = on_trial
        self._kept: list[Side] = []
        self._controls: dict[int, Side] = {}
        self.from_start = case.initial_state is not None
        material = Material(case)

        def here(batches: Sequence[CapturedBatch]) -> tuple[CapturedBatch, ...]:
            return tuple(on_device(one, material.device) for one in batches)

        parts = divide(case.batches, epoch=case.epoch_batches)
        parts = replace(parts, training=here(parts.training), held_out=here(parts.held_out))
        seen = divide_evaluation(case.evaluation)
        self.training = parts.training
        self.held_out = parts.held_out
        self.evaluation = () if seen is None else here(seen.held_out)
        if starved and _tell_more(self.evaluation, self.held_out):
            self.held_out = self.evaluation
        self.lab = Lab(
            case=case,
            material=material,
            parts=parts,
            evaluation=() if seen is None else here(seen.training),
            accused=frozenset(accused),
            seed=seed,
        )

    # -- making ---------------------------------------------------------------------------------

    def make(
        self,
        changes: Sequence[Change],
        *,
        seed: int = 0,
        from_start: bool | None = None,
        batches: Sequence[CapturedBatch] | None = None,
    ) -> Side:
        """A side that was not trained yet.

        Args:
            from_start: with the initial weights; None for these where they are known.
            batches: to train on; None for all in the order of the seed.
        Raises:
            NotApplicable: there is nothing to change.
            TrialError: the training cannot be copied.
        """
        start = self.from_start if from_start is None else from_start
        trainee = trainee_of(
            self.case, self._order(seed) if batches is None else batches, from_start=start
        )
        modes = [one.model_training for one in self.case.evaluation]
        trainee.evaluates_in_training_mode = 2 * modes.count(True) > len(modes)
        trainee.rounding = self.lab.material.rounding
        for change in changes:
            change.apply(self.lab, trainee)
        return Side(tuple(changes), seed, trainee)

    def control(self, seed: int = 0) -> Side:
        """The unchanged side."""
        if seed not in self._controls:
            self._controls[seed] = self.make((), seed=seed)
        return self._controls[seed]

    def _order(self, seed: int) -> tuple[CapturedBatch, ...]:
        """The batches as they came; for another seed begun elsewhere."""
        shift = seed * len(self.training) // len(SEEDS)
        return (*self.training[shift:], *self.training[:shift])

    # -- training -------------------------------------------------------------------------------

    def train(self, side: Side, until: int) -> Score:
        """To so many passes in all (times what its changes ask for), and score it.

        Raises:
            TrialError: the model, the loss or the optimizer raised.
        """
        if until not in side.scores:
            self._advance(side, until)
            assert side.trainee is not None
            own = self.evaluation if side.by_evaluation else self.held_out
            side.scores[until] = score(side.trainee, own)
            if not side.changes and self.evaluation and until == self.full:
                side.on_evaluation[until] = score(side.trainee, self.evaluation)
            self._give_back(side)
        return side.scores[until]

    def _advance(self, side: Side, until: int) -> None:
        if side.trainee is None:  # its memory was given back: once more from the start
            side.trainee = self.make(side.changes, seed=side.seed).trainee
            side.passes = 0
        assert side.trainee is not None
        if self._on_trial is not None:
            self._on_trial(side.name)
        passes = until * max([1, *(one.stretch for one in side.changes)]) - side.trainee.step
        # A change may make passes dear (each image by itself): then it makes fewer of them.
        allowed = self.clock() + max(LEAST_SECONDS, SLOWER * passes * self.a_pass)
        side.trainee.train(
            passes, seed=self.seed + 100_003 * side.seed, until=allowed, clock=self.clock
        )
        side.passes = side.trainee.step

    def attempt(self, changes: Sequence[Change], until: int) -> Side | None:
        """A side trained that far; None, and why is noted, when it cannot be."""
        name = " + ".join(one.name for one in changes)
        try:
            side = self.make(changes)
            self.train(side, until)
        except (NotApplicable, TrialError) as error:
            self.excluded[name] = reason(error)
            return None
        return side

    def _give_back(self, newest: Side) -> None:
        """Keep the copies that do best, and the control's, within the limit."""
        known = [one for one in self._kept if one.trainee is not None and one is not newest]
        self._kept = [*known, newest]
        most = max(2, MOST_BYTES // max(1, 4 * _bytes(newest.trainee)))
        candidates = [one for one in known if one.changes]
        candidates.sort(key=lambda one: rank_of(one.last), reverse=True)
        for side in candidates[max(0, most - 2) :]:
            side.trainee = None

    # -- time -----------------------------------------------------------------------------------

    def measure_pace(self, lengths: float) -> None:
        """Seconds of a pass, by a few passes of the control.

        Where the budget does not hold so many of the shortest trials with whole batches, these are
        cut into pieces: in every side alike, so that sides stay comparable.
        """
        self._time_passes()
        allowed = (self.deadline - self.clock()) / lengths / LEAST_STEPS
        rows = max((rows_of(one) or 0 for one in self.training), default=0)
        wanted = max(LEAST_ROWS, int(rows * max(0.0, allowed) / self.a_pass))
        if wanted >= CUT_FROM * rows:
            return
        whole, lab = self.training, self.lab
        self.training = tuple(piece for one in whole for piece in pieces(one, wanted))
        self.lab = replace(lab, parts=replace(lab.parts, training=self.training))
        self._controls.clear()
        try:
            self._time_passes()
            self.rows = max(rows_of(one) or 0 for one in self.training)
            self._pieces = len(self.training) / len(whole)
        except (NotApplicable, TrialError):  # a model may insist on its batch size
            self.training, self.lab = whole, lab
            self._controls.clear()
            self._time_passes()

    def _time_passes(self) -> None:
        warm = 4
        control = self.control()
        assert control.trainee is not None
        begin = self.clock()
        control.trainee.train(warm, seed=self.seed, clock=self.clock)
        self.a_pass = max(1e-4, (self.clock() - begin) / warm)

    def passes_for(self, lengths: float) -> int:
        """Passes of a full trial, when the budget has to hold so many: as many as the script made,
        within limits."""
        wanted = min(max(self.made, 4 * LEAST_STEPS), MOST_STEPS)
        affordable = int((self.deadline - self.clock()) / lengths / self.a_pass)
        return max(LEAST_STEPS, min(wanted, affordable))

    @property
    def made(self) -> int:
        """Passes of a trial that has seen as many images as the script's training has."""
        trainee = self.control().trainee
        assert trainee is not None
        return round((self.case.steps or 0) * trainee.forwards_a_step * self._pieces)

    @property
    def seconds_left(self) -> float:
        """Of the budget."""
        return max(0.0, self.deadline - self.clock())

    def affords(self, lengths: float) -> bool:
        """The budget holds so many full lengths more."""
        return self.clock() + lengths * self.full * self.a_pass <= self.deadline


def _tell_more(evaluation: Sequence[CapturedBatch], held_out: Sequence[CapturedBatch]) -> bool:
    """Whether evaluation images show of a class what training images do not: of a rare one a
    quarter of the captured batches holds too few."""
    many, few = (_labels(one) for one in (evaluation, held_out))
    return any(n >= 2 * LEAST_SUPPORT and few[k] < LEAST_SUPPORT for k, n in many.items())


def _labels(batches: Sequence[CapturedBatch]) -> Counter[int]:
    found: Counter[int] = Counter()
    for one in batches:
        ids = None if one.targets is None else class_ids(one.targets, ignore=-100)
        found.update([] if ids is None else ids.tolist())
    return found


def pieces(batch: CapturedBatch, most: int) -> Iterator[CapturedBatch]:
    """The batch in parts of about equal size, at most so many images each."""
    n_rows = rows_of(batch) or 0
    for rows in torch.arange(n_rows).tensor_split(max(1, -(-n_rows // most))):
        yield batch if len(rows) == n_rows else pick_rows(batch, rows, n_rows=n_rows)


def _bytes(trainee: Trainee | None) -> int:
    """Of the parameters."""
    if trainee is None:
        return 0
    return sum(one.numel() * one.element_size() for one in trainee.model.parameters())


def rank_of(one: Score) -> tuple[float, float]:
    """For sorting: the better side has the larger."""
    return one.balanced_accuracy, -one.log_loss


def reason(error: NotApplicable | TrialError) -> str:
    """Why, as a sentence."""
    return error.reason if isinstance(error, NotApplicable) else str(error)
