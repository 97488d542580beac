"""What helped is proved, or is not: repeated in another order, beside negative controls.

Comes in: `Sides`, a `Judge`, sides at full length. Goes out: `Trial` values. What helps is repeated
with the batches in another order, beside two negative controls: the unchanged copy in that order (a
sham: it ought to do nothing), and the changed one with permuted labels. Where labels tell nothing
about images, an accused fault of form is proved on a few images to be learned by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from everyclass.diagnoses import Trial
from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import CapturedBatch
from everyclass.diagnosis.changes import Change, changes
from everyclass.diagnosis.judge import Judge, cured, far_beyond
from everyclass.diagnosis.material import rows_of
from everyclass.diagnosis.reference import BY_HEART_ADVANTAGE
from everyclass.diagnosis.scores import Score, gain, score
from everyclass.diagnosis.sides import MOST_STEPS, SEEDS, Side, Sides, pieces, reason
from everyclass.diagnosis.streams import permute_labels
from everyclass.diagnosis.trainee import Trainee, TrialError

TO_CONFIRM = 3
"""Full lengths that a proof takes: both sides in another order, and with permuted labels."""

MOST_CONFIRMED = 3

BY_HEART_IMAGES, BY_HEART_ROWS, BY_HEART_STEP, BY_HEART_SHARE = 8, 4, 50, 2.0
"""To be learned by heart; of these in a batch; passes between two looks; of the budget, that both
sides of this proof may take even when nothing is left."""


class Proofs:
    """Makes trials of sides.

    Args:
        sides: trains what a proof needs.
        judge: says what helped.
        budget: seconds for all trials.

    Attributes:
        notes: what could not be done, as sentences.
    """

    def __init__(self, sides: Sides, judge: Judge, budget: float) -> None:
        self.notes: list[str] = []
        self._sides = sides
        self._judge = judge
        self._budget = budget

    def at_once(self) -> list[Trial]:
        """Changes that are judged on the weights as they are."""
        found = []
        for change in changes():
            if not change.at_once:
                continue
            try:
                before = self._as_it_is((), change)
                after = self._as_it_is((change,), change)
            except (NotApplicable, TrialError) as error:
                self._sides.excluded[change.name] = reason(error)
                continue
            side = Side((change,), 0, None)
            told = self.measured(side, [before], [after])
            found.append(replace(told, steps=0, proved=told.recovered and told.ci95[0] > 0))
        return found

    def _as_it_is(self, made: Sequence[Change], judged: Change) -> Score:
        sides = self._sides
        trainee = sides.make(made, from_start=False).trainee
        assert trainee is not None
        if judged.on_evaluation and not sides.evaluation:
            raise NotApplicable("Too few evaluation images were captured.")
        return score(trainee, sides.evaluation if judged.on_evaluation else sides.held_out)

    def learned(self) -> bool:
        """Whether the network as it stands tells training images apart, as training sends them
        through: then what fails, fails in evaluation."""
        sides = self._sides
        try:
            trainee = sides.make((), from_start=False).trainee
            assert trainee is not None
            trainee.evaluates_in_training_mode = True
            trainee.drops = False
            told = score(trainee, [replace(one, training=False) for one in sides.held_out])
        except (NotApplicable, TrialError):
            return False
        return told.recovered

    def confirmed(self, tried: Sequence[Side], reproduced: bool) -> list[Trial]:
        """Trials of all sides at full length; the best ones under a second seed too."""
        full = [one for one in tried if self._sides.full in one.scores]
        order = [one.name for one in changes()]
        full.sort(
            key=lambda one: (
                not self._judge.helps(one),
                not self._judge.is_accused(one),
                # Of changes that do about as well the more exact one is the likelier cause.
                -round(one.last.balanced_accuracy, 1),
                order.index(one.changes[0].name),
            )
        )
        found: list[Trial] = []
        for i, side in enumerate(full):
            wanted = i < MOST_CONFIRMED and reproduced and self._judge.helps(side)
            affords = not found or self._sides.affords(TO_CONFIRM - 1)
            found.append(self._trial(side, confirm=wanted and affords))
        return found

    def _trial(self, side: Side, *, confirm: bool) -> Trial:
        sides = self._sides
        before, after = [self._judge.before(side)], [side.scores[sides.full]]
        sham: Score | None = None
        permuted: Score | None = None
        brought = any(one.brings for one in side.changes)
        if confirm:
            try:
                for seed in SEEDS[1:]:
                    sham = sides.train(sides.control(seed), sides.full)
                    again = sides.make(side.changes, seed=seed)
                    after.append(sides.train(again, sides.full))
                    before.append(self._judge.before(again))
                permuted = None if brought else self._permuted(side.changes)
            except (NotApplicable, TrialError) as error:
                self.notes.append(f"{side.name} could not be repeated: {reason(error)}")
        told = self.measured(side, before, after)
        # Neither negative control may leave the collapse: another order of the batches alone, nor
        # the change with labels that belong to other images. A training at the edge of a collapse
        # leaves it by chance: there an accused change must do far better than that chance.
        guarded = sham is not None and (
            not self._judge.left(sides.control().last, sham)
            or (self._judge.is_accused(side) and all(far_beyond(sham, one) for one in after))
        )
        # Where images of a class are much alike, permuted labels suit some of these by chance.
        guarded = guarded and (brought or permuted is not None)
        if permuted is not None and permuted.recovered:
            guarded = guarded and all(far_beyond(permuted, one) for one in after)
        return replace(
            told,
            proved=guarded and told.recovered and told.ci95[0] > 0,
            sham=None if sham is None else sham.balanced_accuracy,
            permuted=None if permuted is None else permuted.balanced_accuracy,
        )

    def measured(self, side: Side, before: Sequence[Score], after: Sequence[Score]) -> Trial:
        """A trial that proves nothing yet: scores of the control and of the side, seed by seed."""
        measured = gain(before, after)
        return Trial(
            change=side.name,
            causes=self._judge.causes(side),
            words=" and ".join(one.words for one in side.changes),
            steps=side.passes,
            control=sum(one.balanced_accuracy for one in before) / len(before),
            changed=sum(one.balanced_accuracy for one in after) / len(after),
            gain=measured.mean,
            ci95=(measured.low, measured.high),
            chance=after[0].chance,
            seeds=len(after),
            images=len(after[0].targets),
            batch_images=self._sides.rows,
            missed=tuple(sorted(set[int]().union(*(one.missed for one in after)))),
            recovered=all(self._judge.left(old, new) for old, new in zip(before, after)),
            proved=False,
        )

    def _permuted(self, made: Sequence[Change]) -> Score | None:
        """The same side with labels that belong to other images."""
        sides = self._sides
        try:
            side = sides.make(made)
            assert side.trainee is not None
            permute_labels(sides.lab, side.trainee)
            return sides.train(side, sides.full)
        except (NotApplicable, TrialError) as error:
            self.notes.append(f"No control with permuted labels: {reason(error)}")
            return None

    def released(self, tried: Sequence[Side]) -> list[Trial]:
        """Faults of form that keep the network from learning anything, if only by heart.

        Where labels tell nothing about images no held-out image can show that a change helps.
        """
        found = []
        for side in tried:
            exact = all(one.form and not one.on_evaluation for one in side.changes)
            if exact and self._judge.is_accused(side):
                try:
                    found.append(self._by_heart(side))
                except (NotApplicable, TrialError) as error:
                    self.notes.append(f"{side.name} could not be repeated: {reason(error)}")
                if len(found) and found[-1].proved:
                    break
        return found

    def _by_heart(self, side: Side) -> Trial:
        """Both sides on a few images, again and again, until the changed one knows them.

        In a second order as well, as far as the budget goes.
        """
        sides, few = self._sides, self._few()
        end = sides.clock() + max(sides.seconds_left, BY_HEART_SHARE * self._budget)
        before: list[Score] = []
        after: list[Score] = []
        passes = 0
        for seed in SEEDS:
            begin = sides.clock()
            order = few if seed == SEEDS[0] else (*few[1:], *few[:1])
            changed = sides.make(side.changes, seed=seed, batches=order).trainee
            control = sides.make((), seed=seed, batches=order).trainee
            assert changed is not None
            assert control is not None
            made = self._learned(changed, few, seed=seed, until=begin + (end - begin) / 2)
            control.train(made, seed=sides.seed + seed, clock=sides.clock)
            passes = max(passes, made)
            before.append(score(control, few))
            after.append(score(changed, few))
            spent = sides.clock() - begin
            if not cured(before[-1], after[-1]) or sides.clock() + spent > end:
                break
        told = replace(self.measured(side, before, after), steps=passes, judged_on="trained")
        return replace(told, proved=told.recovered and told.ci95[0] > 0)

    def _learned(
        self, trainee: Trainee, few: Sequence[CapturedBatch], *, seed: int, until: float
    ) -> int:
        """Train until it knows most of the images, or time is up; passes that it took."""
        sides = self._sides
        while trainee.step < MOST_STEPS and sides.clock() < until:
            trainee.train(BY_HEART_STEP, seed=sides.seed + seed, clock=sides.clock)
            told = score(trainee, few)
            if told.recovered and told.advantage >= BY_HEART_ADVANTAGE:
                break
        return trainee.step

    def _few(self) -> tuple[CapturedBatch, ...]:
        """Images to be learned by heart: in small batches, of which a pass costs little, unless
        the network takes whole ones alone."""
        sides = self._sides
        whole = _enough(sides.training)
        small = _enough([piece for one in whole for piece in pieces(one, BY_HEART_ROWS)])
        try:
            trainee = sides.make((), batches=small).trainee
            assert trainee is not None
            trainee.train(1, seed=sides.seed, clock=sides.clock)
        except TrialError:
            return whole
        return small


def _enough(batches: Sequence[CapturedBatch]) -> tuple[CapturedBatch, ...]:
    """The first ones that hold enough images to be learned by heart, two of them at least."""
    found: list[CapturedBatch] = []
    images = 0
    for batch in batches:
        found.append(batch)
        images += rows_of(batch) or 0
        if images >= BY_HEART_IMAGES and len(found) > 1:
            break
    return tuple(found)
