"""The experiments: copies of a training, one change each, beside an unchanged control.

Comes in: a `Case`, what checks accuse, a budget in seconds. Goes out: `Trial` values and what was
excluded. Both sides of a trial have the same first weights, batches, order and draws; what counts
is balanced accuracy on captured images that neither side was trained on. Knows no sentence for the
user: `diagnose` makes these.

Accused causes are tried first, at full length. When none of them is the matter, all changes are
tried for a quarter of the length, the best third go on (successive halving: Jamieson and Talwalkar
2016, arXiv:1502.07943), and when no single change suffices the best are tried in pairs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from everyclass.diagnoses import Trial
from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import CapturedBatch, Case
from everyclass.diagnosis.changes import Change, changes
from everyclass.diagnosis.heldout import divide
from everyclass.diagnosis.lab import IMBALANCED, Lab
from everyclass.diagnosis.material import Material, unwrapped
from everyclass.diagnosis.scores import Score, gain, score
from everyclass.diagnosis.snapshot import untouched
from everyclass.diagnosis.streams import permute_labels
from everyclass.diagnosis.trainee import Trainee, TrialError, lacking, on_device, trainee_of
from everyclass.findings import CauseId

LEAST_STEPS, MOST_STEPS = 80, 1500
"""Forward passes of a trial at full length."""

ARMS_IN_BUDGET, ARMS_FOR_ACCUSED = 8, 5
"""Full lengths that a budget is thought to hold; fewer and longer ones where checks accuse."""

SLOWER, LEAST_SECONDS = 4.0, 2.0
"""Times the control's pace that a changed side may take, and seconds that it has in any case."""

RUNGS = 4
"""The first rung has a fourth of the full length."""

KEPT_SHARE, LEAST_KEPT = 3, 3
"""After it a third goes on, and three at least."""

MOST_BYTES = 2 * 2**30
"""Of all copies that are kept at a time: weights, gradients, and two moments for each."""

MOST_CONFIRMED = 3
MOST_BY_HEART = 16
"""Batches that are asked for what was learned by heart."""

SEEDS = (0, 1)


@dataclass(slots=True)
class Arm:
    """One side of a trial, or the control, under one seed.

    Args:
        changes: made to it; none for the control.
        trainee: the copy; None once its memory was given back.
        passes: that it made.
        scores: (steps, score) so far.
    """

    changes: tuple[Change, ...]
    trainee: Trainee | None
    passes: int = 0
    scores: dict[int, Score] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the changes."""
        return " + ".join(one.name for one in self.changes) or "control"

    @property
    def last(self) -> Score:
        """At the most steps."""
        return self.scores[max(self.scores)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """What the experiments showed.

    Args:
        trials: the proved ones first, each kind by its gain.
        excluded: name of a change -> why it was not tried, or what it raised.
        control: the unchanged side; None when none could be trained.
        permuted: the control with permuted labels, None when it was not needed.
        steps: of the full length.
        reproduced: the control stayed ill.
        best: the highest score of any side, by name.
        learned_by_heart: advantage over chance, on images that it was trained on, of the side that
            knows them best; None when it was not asked for.
        complete: every change that applies was tried.
        notes: what a reader has to know.
        seconds: spent.
    """

    trials: tuple[Trial, ...] = ()
    excluded: dict[str, str] = field(default_factory=dict)
    control: Score | None = None
    permuted: Score | None = None
    steps: int = 0
    reproduced: bool = False
    best: tuple[str, Score] | None = None
    learned_by_heart: float | None = None
    complete: bool = False
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def run_trials(
    case: Case,
    *,
    accused: Iterable[CauseId] = (),
    starved: bool = False,
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
        budget_seconds: spent about; the accused causes are tried even when it is too short.
        seed: of everything that is drawn.
        on_trial: called with the name of each side as its training begins.
        clock: tells the seconds of the budget.
    """
    start = clock()
    with untouched(unwrapped(case.model), case.optimizers):
        try:
            trials = _Trials(
                case, tuple(accused), starved, start + budget_seconds, seed, on_trial, clock
            )
            report = trials.run()
        except (NotApplicable, TrialError) as error:
            report = TrialReport(notes=(f"No trial could be made: {lacking(error)}",))
    return replace(report, seconds=clock() - start)


class _Trials:
    def __init__(
        self,
        case: Case,
        accused: tuple[CauseId, ...],
        starved: bool,
        deadline: float,
        seed: int,
        on_trial: Callable[[str], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self._case = case
        self._accused = accused
        self._starved = starved
        self._deadline = deadline
        self._seed = seed
        self._on_trial = on_trial
        self._clock = clock
        self._material = Material(case)
        parts = divide(case.batches, epoch=case.epoch_batches)
        device = self._material.device
        self._held_out = [on_device(one, device) for one in parts.held_out]
        self._training = [on_device(one, device) for one in parts.training]
        self._lab = Lab(
            case=case,
            material=self._material,
            parts=replace(parts, training=tuple(self._training), held_out=tuple(self._held_out)),
            accused=frozenset(accused),
            seed=seed,
        )
        self._from_start = case.initial_state is not None
        self._excluded: dict[str, str] = {}
        self._notes: list[str] = []
        self._controls: dict[int, Arm] = {}
        self._cut_short = False
        self._kept: list[Arm] = []
        self._full = LEAST_STEPS
        self._a_pass = 1.0

    def run(self) -> TrialReport:
        control = self._control(0)
        self._full = self._length(control)
        self._train(control, self._full // RUNGS)
        self._train(control, self._full)
        reproduced = _ill(control.last, self._starved)
        if not reproduced:
            self._notes.append(
                "The unchanged copy leaves the collapse in "
                f"{self._full} passes by itself (balanced accuracy "
                f"{control.last.balanced_accuracy:.2f}): nothing can be proved against it."
            )
        at_once = self._at_once()
        tried = self._tried_accused(control)
        if reproduced and not any(self._helps(one, control) for one in tried):
            tried += self._halving(control, tried)
        if reproduced and not any(self._helps(one, control) for one in tried):
            tried += self._pairs(control, tried)
        trials = [*at_once, *self._confirmed(control, tried, reproduced)]
        permuted, by_heart = None, None
        if reproduced and not any(one.proved for one in trials):
            permuted = self._permuted(())
            by_heart = self._by_heart((control, *tried))
            trials += self._released(tried)
        sides = {one.name: one.last for one in (control, *tried)}
        best = max(sides, key=lambda name: sides[name].balanced_accuracy)
        trials.sort(key=lambda one: (not one.proved, not one.recovered, -one.gain))
        return TrialReport(
            trials=tuple(trials),
            excluded=self._excluded,
            control=control.last,
            permuted=permuted,
            steps=self._full,
            reproduced=reproduced,
            best=(best, sides[best]),
            learned_by_heart=by_heart,
            complete=not self._cut_short,
            notes=tuple(self._notes),
        )

    # -- sides ---------------------------------------------------------------------------------

    def _arm(self, made: Sequence[Change], *, seed: int, start: bool | None = None) -> Arm:
        from_start = self._from_start if start is None else start
        trainee = trainee_of(self._case, self._order(seed), from_start=from_start)
        for change in made:
            change.apply(self._lab, trainee)
        return Arm(tuple(made), trainee)

    def _order(self, seed: int) -> tuple[CapturedBatch, ...]:
        """The batches as they came; for another seed begun elsewhere."""
        shift = seed * len(self._training) // len(SEEDS)
        return (*self._training[shift:], *self._training[:shift])

    def _control(self, seed: int) -> Arm:
        if seed not in self._controls:
            self._controls[seed] = self._arm((), seed=seed)
        return self._controls[seed]

    def _train(self, arm: Arm, until: int, *, seed: int = 0) -> None:
        """To so many passes in all, and score it."""
        if until in arm.scores:
            return
        if arm.trainee is None:  # its memory was given back: once more from the start
            arm.trainee = self._arm(arm.changes, seed=seed).trainee
            arm.passes = 0
        assert arm.trainee is not None
        if self._on_trial is not None:
            self._on_trial(arm.name)
        passes = until - arm.trainee.step
        begin = self._clock()
        # A change may make passes dear (each image by itself): then it makes fewer of them.
        allowed = begin + max(LEAST_SECONDS, SLOWER * passes * self._a_pass)
        arm.trainee.train(
            passes, seed=self._seed + 100_003 * seed, until=allowed, clock=self._clock
        )
        arm.passes = arm.trainee.step
        arm.scores[until] = score(arm.trainee, self._held_out)
        self._give_back(arm)

    def _give_back(self, newest: Arm) -> None:
        """Keep the copies that do best, and the control's, within the limit."""
        known = [one for one in self._kept if one.trainee is not None and one is not newest]
        self._kept = [*known, newest]
        most = max(2, MOST_BYTES // max(1, 4 * _bytes(newest.trainee)))
        candidates = [one for one in known if one.changes]
        candidates.sort(key=lambda one: _rank(one.last), reverse=True)
        for arm in candidates[max(0, most - 2) :]:
            arm.trainee = None

    def _try(self, made: Sequence[Change], until: int) -> Arm | None:
        """A side trained that far; None, and why is noted, when it cannot be."""
        name = " + ".join(one.name for one in made)
        try:
            arm = self._arm(made, seed=0)
            self._train(arm, until)
        except (NotApplicable, TrialError) as error:
            self._excluded[name] = lacking(error)
            return None
        return arm

    def _length(self, control: Arm) -> int:
        """Passes of a full trial: as many as the script made, within limits and the budget."""
        begin = self._clock()
        warm = 4
        assert control.trainee is not None
        control.trainee.train(warm, seed=self._seed, clock=self._clock)
        a_pass = self._a_pass = max(1e-4, (self._clock() - begin) / warm)
        made = (self._case.steps or 0) * control.trainee.forwards_a_step
        wanted = min(max(made, 4 * LEAST_STEPS), MOST_STEPS)
        arms = ARMS_FOR_ACCUSED if self._accused else ARMS_IN_BUDGET
        affordable = int((self._deadline - begin) / arms / a_pass)
        return max(LEAST_STEPS, min(wanted, affordable))

    def _time_is_up(self) -> bool:
        return self._clock() > self._deadline

    # -- stages --------------------------------------------------------------------------------

    def _tried_accused(self, control: Arm) -> list[Arm]:
        """Accused causes at full length, and those that the labels alone suggest."""
        found = []
        for cause in (*self._accused, *self._suggested()):
            for change in changes():
                if _cause_of(change, self._lab) == cause and not change.at_once:
                    arm = self._try((change,), self._full)
                    found += [] if arm is None else [arm]
                    if arm is not None and self._helps(arm, control):
                        break
        return found

    def _suggested(self) -> tuple[CauseId, ...]:
        counts = [one for one in self._lab.class_counts if one]
        uneven = len(counts) > 1 and max(counts) >= IMBALANCED * min(counts)
        return ("class-imbalance",) if uneven and "class-imbalance" not in self._accused else ()

    def _halving(self, control: Arm, tried: Sequence[Arm]) -> list[Arm]:
        done = {one.name for one in tried}
        begun: list[Arm] = []
        for change in changes():
            if change.name in done or change.name in self._excluded or change.at_once:
                continue
            if self._time_is_up():
                self._excluded[change.name] = "The budget was spent."
                self._cut_short = True
                continue
            arm = self._try((change,), self._full // RUNGS)
            begun += [] if arm is None else [arm]
        begun.sort(key=lambda one: _rank(one.last), reverse=True)
        going_on = begun[: max(LEAST_KEPT, len(begun) // KEPT_SHARE)]
        for arm in going_on:
            if self._time_is_up():
                self._notes.append("The budget was spent before every promising change was done.")
                self._cut_short = True
                break
            self._go_on(arm)
        return [one for one in going_on if self._full in one.scores]

    def _go_on(self, arm: Arm) -> None:
        try:
            self._train(arm, self._full)
        except TrialError as error:
            self._excluded[arm.name] = str(error)

    def _pairs(self, control: Arm, tried: Sequence[Arm]) -> list[Arm]:
        """The best changes of different causes together."""
        promising = sorted(tried, key=lambda one: _rank(one.last), reverse=True)
        # An accused cause stays in the game even when alone it changes nothing.
        first = [one for one in promising if self._causes(one)[0] in self._accused]
        chosen = [*first, *(one for one in promising if one not in first)][:4]
        found = []
        for a, b in combinations(chosen, 2):
            if self._time_is_up() or self._causes(a) == self._causes(b):
                continue
            arm = self._try((*a.changes, *b.changes), self._full)
            if arm is not None:
                found.append(arm)
                if self._helps(arm, control):
                    break
        return found

    def _at_once(self) -> list[Trial]:
        """Changes that are judged on the weights as they are."""
        found = []
        for change in changes():
            if not change.at_once:
                continue
            try:
                before = self._as_it_is(())
                after = self._as_it_is((change,))
            except (NotApplicable, TrialError) as error:
                self._excluded[change.name] = lacking(error)
                continue
            measured = gain([before], [after])
            recovered = cured(before, after)
            found.append(
                Trial(
                    change=change.name,
                    causes=(change.cause,),
                    words=change.words,
                    steps=0,
                    control=before.balanced_accuracy,
                    changed=after.balanced_accuracy,
                    gain=measured.mean,
                    ci95=(measured.low, measured.high),
                    chance=after.chance,
                    seeds=1,
                    images=len(after.targets),
                    missed=after.missed,
                    recovered=recovered,
                    proved=recovered and measured.low > 0,
                )
            )
        return found

    def _as_it_is(self, made: Sequence[Change]) -> Score:
        trainee = self._arm(made, seed=0, start=False).trainee
        assert trainee is not None
        return score(trainee, self._held_out)

    def _confirmed(self, control: Arm, tried: Sequence[Arm], reproduced: bool) -> list[Trial]:
        """Trials of all sides at full length; the best ones under a second seed too."""
        full = [one for one in tried if self._full in one.scores]
        full.sort(
            key=lambda one: (
                self._helps(one, control),
                self._causes(one)[0] in self._accused,
                _rank(one.last),
            ),
            reverse=True,
        )
        found = []
        for i, arm in enumerate(full):
            confirm = i < MOST_CONFIRMED and reproduced and self._helps(arm, control)
            found.append(self._trial(arm, confirm=confirm))
        return found

    def _trial(self, arm: Arm, *, confirm: bool) -> Trial:
        before, after = [self._control(0).scores[self._full]], [arm.scores[self._full]]
        guarded = False
        if confirm:
            try:
                for seed in SEEDS[1:]:
                    control = self._control(seed)
                    self._train(control, self._full, seed=seed)
                    again = self._arm(arm.changes, seed=seed)
                    self._train(again, self._full, seed=seed)
                    before.append(control.last)
                    after.append(again.last)
                permuted = self._permuted(arm.changes)
                guarded = permuted is not None and not permuted.recovered
            except (NotApplicable, TrialError) as error:
                self._notes.append(f"{arm.name} could not be repeated: {lacking(error)}")
        told = self._measured(arm, before, after)
        return replace(told, proved=guarded and told.recovered and told.ci95[0] > 0)

    def _measured(self, arm: Arm, before: Sequence[Score], after: Sequence[Score]) -> Trial:
        measured = gain(before, after)
        return Trial(
            change=arm.name,
            causes=self._causes(arm),
            words=" and ".join(one.words for one in arm.changes),
            steps=min(self._full, arm.passes),
            control=sum(one.balanced_accuracy for one in before) / len(before),
            changed=sum(one.balanced_accuracy for one in after) / len(after),
            gain=measured.mean,
            ci95=(measured.low, measured.high),
            chance=after[0].chance,
            seeds=len(after),
            images=len(after[0].targets),
            missed=tuple(sorted(set[int]().union(*(one.missed for one in after)))),
            recovered=all(cured(old, new) for old, new in zip(before, after)),
            proved=False,
        )

    def _permuted(self, made: Sequence[Change]) -> Score | None:
        """The same side with labels that belong to other images."""
        try:
            trainee = trainee_of(self._case, self._order(0), from_start=self._from_start)
            for change in made:
                change.apply(self._lab, trainee)
            permute_labels(self._lab, trainee)
            trainee.train(self._full, seed=self._seed)
            return score(trainee, self._held_out)
        except (NotApplicable, TrialError) as error:
            self._notes.append(f"No control with permuted labels: {lacking(error)}")
            return None

    def _released(self, tried: Sequence[Arm]) -> list[Trial]:
        """Faults of form that keep the network from learning anything, if only by heart.

        Where labels tell nothing about images no held-out image can show that a change helps.
        """
        exact = [one for one in tried if all(change.form for change in one.changes)]
        found = []
        for arm in exact[:MOST_CONFIRMED]:
            if self._causes(arm)[0] not in self._accused:
                continue
            try:
                sides = [(self._control(0), arm)]
                for seed in SEEDS[1:]:
                    self._train(self._control(seed), self._full, seed=seed)
                    again = self._arm(arm.changes, seed=seed)
                    self._train(again, self._full, seed=seed)
                    sides.append((self._control(seed), again))
                before = [self._by_own_images(one) for one, _ in sides]
                after = [self._by_own_images(one) for _, one in sides]
            except (NotApplicable, TrialError) as error:
                self._notes.append(f"{arm.name} could not be repeated: {lacking(error)}")
                continue
            freed = all(cured(old, new) for old, new in zip(before, after))
            if freed and gain(before, after).low > 0:
                found.append(
                    replace(self._measured(arm, before, after), proved=True, judged_on="trained")
                )
        return found

    def _by_own_images(self, arm: Arm) -> Score:
        if arm.trainee is None:
            raise TrialError("its copy was given back to stay within the memory limit.")
        return score(arm.trainee, self._known())

    def _known(self) -> Sequence[CapturedBatch]:
        return self._training[:: max(1, len(self._training) // MOST_BY_HEART)]

    def _by_heart(self, arms: Sequence[Arm]) -> float:
        """The best advantage on images that a side was trained on; Adam's is asked in any case."""
        names = {one.name for one in arms}
        able = next(one for one in changes() if one.name == "adam")
        extra = None if able.name in names else self._try((able,), self._full)
        arms = arms if extra is None else [*arms, extra]
        found = [0.0]
        for arm in arms:
            try:
                found.append(self._by_own_images(arm).advantage)
            except TrialError as error:
                self._notes.append(f"{arm.name}: {lacking(error)}")
        return max(found)

    # -- judging -------------------------------------------------------------------------------

    def _causes(self, arm: Arm) -> tuple[CauseId, ...]:
        return tuple(_cause_of(one, self._lab) for one in arm.changes)

    def _helps(self, arm: Arm, control: Arm) -> bool:
        if self._full not in arm.scores or self._full not in control.scores:
            return False
        before, after = control.scores[self._full], arm.scores[self._full]
        return cured(before, after) and gain([before], [after]).low > 0


def _cause_of(change: Change, lab: Lab) -> CauseId:
    """A change may answer two causes; which one it is shows in what was measured."""
    try:
        return change.cause if change.cause_of is None else change.cause_of(lab)
    except NotApplicable:
        return change.cause


def _bytes(trainee: Trainee | None) -> int:
    """Of the parameters."""
    if trainee is None:
        return 0
    return sum(one.numel() * one.element_size() for one in trainee.model.parameters())


def _ill(one: Score, starved: bool) -> bool:
    """Still in the collapse: the decisions do not tell the classes apart, or miss some."""
    return not one.recovered or (starved and bool(one.missed))


def cured(before: Score, after: Score) -> bool:
    """Whether the changed side has left the state that the control is in.

    From a collapse: its decisions tell the classes apart. From a control that tells them apart and
    misses some: at most half as many are missed. A control that is well cannot be left.
    """
    if not before.recovered:
        return after.recovered
    return after.recovered and bool(before.missed) and 2 * len(after.missed) <= len(before.missed)


def _rank(one: Score) -> tuple[float, float]:
    return one.balanced_accuracy, -one.log_loss
