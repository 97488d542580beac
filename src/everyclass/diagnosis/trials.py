"""The experiments: copies of a training, one change each, beside an unchanged control.

Comes in: a `Case`, what checks accuse, a budget in seconds. Goes out: `Trial` values and what was
excluded. Both sides of a trial have the same first weights, batches, order and draws; what counts
is balanced accuracy on captured images that neither side was trained on. Knows no sentence for the
user: `diagnose` makes these.

Accused causes are tried first, at full length, and then in pairs. When none of them is the matter,
a network of ours is asked whether the labels can be told from the images at all. Where they can, or
nobody knows, all changes are tried for a quarter of the length, the best third go on (successive
halving: Jamieson and Talwalkar 2016, arXiv:1502.07943), and when no single change suffices the best
are tried in pairs. Where labels say nothing, an accused fault of form is tried on a few images to
be learned by heart.

How sides are judged is in `judge`, how what helps is proved in `proofs`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from everyclass.diagnoses import Trial
from everyclass.diagnosis.alterations import keep_gradients
from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import Case
from everyclass.diagnosis.changes import Change, changes
from everyclass.diagnosis.judge import Judge, cause_of, ill
from everyclass.diagnosis.lab import IMBALANCED
from everyclass.diagnosis.material import unwrapped
from everyclass.diagnosis.proofs import TO_CONFIRM, Proofs
from everyclass.diagnosis.reference import Reference, ask_reference
from everyclass.diagnosis.scores import Score, gain
from everyclass.diagnosis.sides import MOST_STEPS, Side, Sides, rank_of, reason
from everyclass.diagnosis.snapshot import untouched
from everyclass.diagnosis.trainee import TrialError
from everyclass.findings import CauseId

LENGTHS, LENGTHS_FOR_ACCUSED = 9, 8
"""Full lengths that a budget is thought to hold; a bit longer ones where checks accuse."""

RESERVED = 1
"""Full lengths of a proof that are kept back while changes are tried: what helps is proved beyond
the budget."""

RUNGS = 4
"""The first rung has a fourth of the full length."""

KEPT_SHARE, LEAST_KEPT = 4, 3
"""After it a fourth goes on, and three at least."""

FOR_SUGGESTED = 4
"""Full lengths that must be left for what labels alone suggest to be tried first."""

HIGH_LOSS = 1.05
"""Of a control, as a multiple of what the class frequencies cost."""

BETTER_BY = 0.03
"""In balanced accuracy, or as a share of the loss: a change that did as much better than the
control in its first quarter is promising."""

REFERENCE_SHARE = 0.25
"""Of the budget, at most, for each training of the network of ours."""

MOST_PROLONGED, LEAST_PROLONGED, OVERDRAFT = 2, 1.5, 0.5
"""Accused changes that are trained for longer when nothing helps; times the full length that this
must be at least; and the share of the budget that it may take beyond."""

_IN_EVALUATION_ALONE = (
    "In training mode the network as it stands tells the training images apart: what fails is how "
    "evaluation images are read, or how they go through. No change of the training was tried."
)
_LOOP_NOT_SEEN = (
    " What fails may stand in the training's own loop, which copies do not share: zero_grad, step, "
    "a detached loss, the order of the batches."
)
_BROKEN = (
    "An error of everyclass itself ended the trials ({}). What the checks say holds; please report "
    "it with the script."
)
_GRADIENTS_KEPT = Change(
    name="gradients-kept",
    cause="gradients-not-cleared",
    words="gradients that are never cleared",
    remedy="",
    apply=keep_gradients,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """What the experiments showed.

    Args:
        trials: the proved ones first, each kind by its gain.
        excluded: name of a change -> why it was not tried, or what it raised.
        control: the unchanged side; None when none could be trained.
        reference: what a network of ours makes of the images; None when it was not asked.
        steps: of the full length.
        reproduced: the control stayed ill.
        best: the highest score of any side, by name.
        loop: where the unchanged copy learns and the training's own loop was not seen: a fault of
            a loop with which a copy fails as well, beside the copy without it.
        notes: what a reader has to know.
        seconds: spent.
    """

    trials: tuple[Trial, ...] = ()
    excluded: dict[str, str] = field(default_factory=dict)
    control: Score | None = None
    reference: Reference | None = None
    steps: int = 0
    reproduced: bool = False
    best: tuple[str, Score] | None = None
    loop: Trial | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def run_trials(
    case: Case,
    *,
    accused: Iterable[CauseId] = (),
    starved: bool = False,
    learned: bool = False,
    budget_seconds: float = 20.0,
    seed: int = 0,
    on_trial: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> TrialReport:
    """Try what might be the matter.

    Args:
        case: left as it was.
        accused: causes that checks accuse, the likeliest first.
        starved: what is wrong is that some classes are never predicted.
        learned: the training tells the classes apart. Only what checks accuse is tried, and counts
            where it costs the training much (`judge.LEAST_COST`).
        budget_seconds: what trials may take. The control, the first accused cause and a proof that
            is under way are finished when it is too short for them.
        seed: of everything that is drawn.
        on_trial: called with the name of each side as its training begins.
        clock: tells the seconds of the budget.
    """
    start = clock()
    with untouched(unwrapped(case.model), case.optimizers):
        try:
            sides = Sides(
                case,
                tuple(accused),
                starved=starved,
                deadline=start + budget_seconds,
                seed=seed,
                clock=clock,
                on_trial=on_trial,
            )
            trials = _Trials(sides, tuple(accused), starved, budget_seconds, learned=learned)
            report = trials.run()
        except (NotApplicable, TrialError) as error:
            report = TrialReport(notes=(f"No trial could be made: {reason(error)}",))
        except Exception as error:  # noqa: BLE001  (the script's ending and the checks outlive it)
            report = TrialReport(notes=(_BROKEN.format(f"{type(error).__name__}: {error}"),))
    return replace(report, seconds=clock() - start)


BUDGET_SPENT = "The budget was spent."
"""Why a change was not tried, among what was excluded."""


class _Trials:
    def __init__(
        self,
        sides: Sides,
        accused: tuple[CauseId, ...],
        starved: bool,
        budget: float,
        *,
        learned: bool,
    ) -> None:
        self._sides = sides
        self._accused = accused
        self._starved = starved
        self._learned = learned
        self._budget = budget
        self._notes: list[str] = []
        self._begun: list[Side] = []
        self._together: set[str] = set()
        self._judge = Judge(sides, accused, learned=learned)
        self._proofs = Proofs(sides, self._judge, budget)

    def run(self) -> TrialReport:
        sides = self._sides
        lengths = LENGTHS_FOR_ACCUSED if self._accused else LENGTHS
        sides.measure_pace(lengths)
        sides.full = sides.passes_for(lengths)
        control = sides.control()
        sides.train(control, sides.full // RUNGS)
        sides.train(control, sides.full)
        reproduced = self._learned or ill(control.last, self._starved)
        at_once = self._proofs.at_once()
        if not reproduced and not any(one.proved for one in at_once):
            self._notes.append(
                "The unchanged copy leaves the collapse in "
                f"{sides.full} passes by itself (balanced accuracy "
                f"{control.last.balanced_accuracy:.2f}): nothing can be proved against it."
                + (_LOOP_NOT_SEEN if self._loop_unseen else "")
            )
        loop = None if reproduced or not self._loop_unseen else self._with_loop_fault(control)
        tried = self._tried_causes(self._accused)
        if reproduced and not self._judge.found(tried):
            tried += self._pairs([one for one in tried if self._judge.is_accused(one)])
        if reproduced and not self._learned and not self._judge.found(tried):
            tried += self._searched(tried)
        by_heart: list[Trial] = []
        if self._judge.reference is not None and self._judge.reference.nothing:
            by_heart = self._proofs.released(tried)
            tried += self._paired_anew()
        trials = [*at_once, *by_heart, *self._proofs.confirmed(tried, reproduced)]
        known = {one.name: one.last for one in (control, *tried) if not one.by_evaluation}
        best = max(known, key=lambda name: known[name].balanced_accuracy)
        trials.sort(key=lambda one: (not one.proved, not one.recovered, -one.gain))
        return TrialReport(
            trials=tuple(trials),
            excluded=sides.excluded,
            control=control.last,
            reference=self._judge.reference,
            steps=sides.full,
            reproduced=reproduced,
            best=(best, known[best]),
            loop=loop,
            notes=(*self._notes, *self._proofs.notes),
        )

    @property
    def _loop_unseen(self) -> bool:
        case = self._sides.case
        return case.gradients_cleared is None and bool(case.steps) and self._sides.from_start

    def _with_loop_fault(self, control: Side) -> Trial | None:
        """A copy whose gradients add up, the control as its cure; None where it learns too."""
        side = self._attempt((_GRADIENTS_KEPT,), self._sides.full)
        if side is None or not ill(side.last, self._starved):
            return None
        told = self._proofs.measured(side, [side.last], [control.scores[self._sides.full]])
        return replace(
            told, change="gradients-cleared", words="gradients cleared at each step", proved=False
        )

    # -- stages --------------------------------------------------------------------------------

    def _tried_causes(self, causes: Sequence[CauseId]) -> list[Side]:
        """The changes that answer these causes, at full length; of each until one helps."""
        found: list[Side] = []
        for cause in causes:
            for change in changes():
                relabels = change.pairing and change.cause == "labels-unrelated"
                if change.at_once or relabels or cause_of(change, self._sides.lab) != cause:
                    continue
                if found and not self._in_budget(change, 1):
                    break
                side = self._attempt((change,), self._sides.full)
                found += [] if side is None else [side]
                if side is not None and self._judge.helps(side):
                    found += self._further(side, found)
                    break
        return found

    def _further(self, side: Side, tried: Sequence[Side]) -> list[Side]:
        """How far the same way is best is part of the answer."""
        wanted = {one.further for one in side.changes} - {one.name for one in tried}
        found = [
            self._attempt((one,), self._sides.full)
            for one in changes()
            if one.name in wanted and self._in_budget(one, 1)
        ]
        return [one for one in found if one is not None]

    def _suggested(self) -> tuple[CauseId, ...]:
        counts = [one for one in self._sides.lab.class_counts if one]
        uneven = len(counts) > 1 and max(counts) >= IMBALANCED * min(counts)
        return ("class-imbalance",) if uneven and "class-imbalance" not in self._accused else ()

    def _searched(self, tried: Sequence[Side]) -> list[Side]:
        """Everything else, unless labels say nothing about images: then it cannot help. What the
        labels alone suggest comes first."""
        self._judge.reference = self._asked()
        if self._judge.reference is not None and self._judge.reference.nothing:
            return []
        if not self._starved and self._proofs.learned():
            self._notes.append(_IN_EVALUATION_ALONE)
            return []
        found = self._prolonged(tried)
        if found:
            return found
        # Two full lengths: where the budget is short they are tried among all others.
        roomy = self._sides.affords(FOR_SUGGESTED + RESERVED)
        found = self._tried_causes(self._suggested()) if roomy else []
        if not self._judge.found(found):
            found += self._halving([*tried, *found])
        if not self._judge.found(found):
            found += self._pairs([*tried, *found, *self._begun])
        if not self._judge.found(found):
            found += self._alone()
        return [*found, *self._completed(tried, found)]

    def _prolonged(self, tried: Sequence[Side]) -> list[Side]:
        """What is accused, for longer, where the run itself was longer by far: some networks learn
        nothing in their first hundred steps, with or without the fault."""
        sides, control = self._sides, self._sides.control()
        accused = [one for one in tried if self._judge.is_accused(one) and not one.by_evaluation]
        accused = [one for one in accused if len(one.changes) == 1][:MOST_PROLONGED]
        made = min(MOST_STEPS, sides.made)
        trained = 1 + len(accused)
        seconds = sides.seconds_left + OVERDRAFT * self._budget
        room = (seconds / sides.a_pass + trained * sides.full) / (trained + TO_CONFIRM)
        until, before = int(min(made, room)), sides.full
        if not accused or until < LEAST_PROLONGED * sides.full:
            return []
        sides.full = until
        try:
            for side in (control, *accused):
                sides.train(side, until)
        except TrialError as error:
            self._notes.append(f"Not tried for longer: {error}")
        found = [one for one in accused if self._judge.helps(one)]
        if not found:
            sides.full = before
        return found

    def _completed(self, accused: Sequence[Side], found: Sequence[Side]) -> list[Side]:
        """An accused fault of form cured nothing, another change did: both together, where that
        does better still, as when the one hides behind the other."""
        helping = [one for one in found if self._judge.helps(one) and len(one.changes) == 1]
        if not helping:
            return []
        best = max(helping, key=lambda one: rank_of(one.last))
        for side in accused:
            form = len(side.changes) == 1 and side.changes[0].form
            apart = self._judge.causes(side) != self._judge.causes(best) and not best.by_evaluation
            if form and apart and self._sides.affords(1):
                both = self._attempt((*side.changes, *best.changes), self._sides.full)
                if both is not None and gain([best.last], [both.last]).low > 0:
                    return [both]
        return []

    def _paired_anew(self) -> list[Side]:
        """What gives an image another label, or another look."""
        sides = (
            self._attempt((one,), self._sides.full)
            for one in changes()
            if one.pairing and self._in_budget(one, 1)
        )
        return [one for one in sides if one is not None]

    def _asked(self) -> Reference | None:
        sides = self._sides
        try:
            return ask_reference(
                sides.training,
                sides.held_out,
                evaluation=(sides.lab.evaluation, sides.evaluation),
                n_classes=sides.case.n_classes or 2,
                seed=sides.seed,
                seconds=REFERENCE_SHARE * self._budget,
                clock=sides.clock,
            )
        except NotApplicable as error:
            self._notes.append(f"No network of ours was tried on the images: {error.reason}")
            return None

    def _halving(self, tried: Sequence[Side]) -> list[Side]:
        done = {one.name for one in tried}
        begun = self._begun
        control = self._sides.control().scores[self._sides.full // RUNGS]

        def promising(side: Side) -> bool:
            better = side.last.balanced_accuracy >= control.balanced_accuracy + BETTER_BY
            return better or side.last.log_loss < (1 - BETTER_BY) * control.log_loss

        for change in self._likelier_first():
            skipped = change.name in done or change.name in self._sides.excluded
            if skipped or change.at_once or change.alone:
                continue
            # What it needs now; and the best one after it, where there is one.
            if self._in_budget(change, 1 if any(map(promising, begun)) else 1 / RUNGS):
                side = self._attempt((change,), self._sides.full // RUNGS)
                begun += [] if side is None else [side]
        begun.sort(key=lambda one: (promising(one), *rank_of(one.last)), reverse=True)
        going_on = begun[: max(LEAST_KEPT, len(begun) // KEPT_SHARE)]
        found = [one for one in going_on if self._gone_on(one)]
        for one in found[:]:
            if self._judge.helps(one):
                found += self._further(one, found)
        return found

    def _likelier_first(self) -> Sequence[Change]:
        """All changes; higher rates last where answers cost more than the class frequencies would:
        that does not come of too low a rate."""
        control = self._sides.control().last
        if control.log_loss <= HIGH_LOSS * control.prior_loss:
            return changes()
        higher = ("rate-ten-times", "rate-hundred-times")
        return sorted(changes(), key=lambda one: one.name in higher)

    def _gone_on(self, side: Side) -> bool:
        if not self._in_budget(side.changes[0], 1 - 1 / RUNGS):
            return False
        try:
            self._sides.train(side, self._sides.full)
        except TrialError as error:
            self._sides.excluded[side.name] = str(error)
            return False
        return True

    def _pairs(self, tried: Sequence[Side]) -> list[Side]:
        """The best changes of different causes together; at most once each."""
        known = {one.name: one for one in tried if len(one.changes) == 1 and not one.by_evaluation}
        promising = sorted(known.values(), key=lambda one: rank_of(one.last), reverse=True)
        # An accused cause stays in the game even when alone it changes nothing.
        first = [one for one in promising if self._judge.is_accused(one)]
        chosen = [*first, *(one for one in promising if one not in first)][:4]
        found = []
        for a, b in combinations(chosen, 2):
            name = " + ".join(sorted((a.name, b.name)))
            if self._judge.causes(a) == self._judge.causes(b) or name in self._together:
                continue
            if not self._sides.affords(1 + RESERVED):
                break
            self._together.add(name)
            side = self._attempt((*a.changes, *b.changes), self._sides.full)
            if side is not None:
                found.append(side)
                if self._judge.helps(side):
                    break
        return found

    def _alone(self) -> list[Side]:
        """What is asked last."""
        sides, found = self._sides, []
        for change in changes():
            if not change.alone:
                continue
            if sides.made >= change.stretch * sides.full:
                sides.excluded[change.name] = "The training itself saw as many images."
            elif self._in_budget(change, change.stretch):
                side = self._attempt((change,), sides.full)
                found += [] if side is None else [side]
        return found

    # -- judging -------------------------------------------------------------------------------

    def _attempt(self, made: Sequence[Change], until: int) -> Side | None:
        """A side trained that far, unless its copy says that it helped for another reason."""
        side = self._sides.attempt(made, until)
        if side is None or side.trainee is None or len(made) > 1:
            return side
        ask = made[0].rules_out
        if ask is not None and side.last.recovered and ask(self._sides.lab, side.trainee):
            self._sides.excluded[side.name] = "It knows the training images as well."
            return None
        return side

    def _in_budget(self, change: Change, lengths: float) -> bool:
        """Whether the budget holds so much more, and part of a proof; else it is noted."""
        if self._sides.affords(lengths + RESERVED):
            return True
        self._sides.excluded[change.name] = BUDGET_SPENT
        return False
