"""Train; at an alarm find the cause, change the recipe where a trial proved it, and go back.

Comes in: a recipe and a maker of jobs. Goes out: the job that came to its end, and a record of
every alarm that was answered. The loop in `fit` knows nothing of this, and the trials know nothing
of recipes: here the two meet.

A repair is in force from the moment its line stands in `repairs.json`; everything it needs has been
written before. Whatever is killed in between is done again from the checkpoint of the alarm.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from everyclass.contracts import Verdict
from everyclass.diagnoses import Diagnosis
from everyclass.diagnosis.check import check_case
from everyclass.diagnosis.diagnose import diagnose_case
from everyclass.errors import EveryclassError
from everyclass.findings import Finding
from everyclass.images.audit_values import Audit
from everyclass.recipe import Recipe, show_value
from everyclass.repairs import Repair, RepairOutcome
from everyclass.run_folder import RunFolder
from everyclass.training.batches import steps_per_epoch
from everyclass.workflows.events import Answered, Diagnosing, Event
from everyclass.workflows.fit import fit
from everyclass.workflows.inference import make_fabric
from everyclass.workflows.job import Fitted, InterruptedTraining, Job, Progress
from everyclass.workflows.own_case import own_case
from everyclass.workflows.probe import begin_with_head
from everyclass.workflows.remedies import Facts, Prescription, prescription, why_none

BUDGET_SHARE, LEAST_BUDGET, MOST_BUDGET = 0.25, 20.0, 300.0
"""Seconds for the trials: a share of what the run has taken so far, within limits."""

ALARMS: frozenset[Verdict] = frozenset(get_args(Verdict)) - {"healthy"}

MakeJob = Callable[[Recipe, RunFolder, bytes | None], Job]
"""(recipe, folder, checkpoint to begin with) -> a job with its first weights."""


class RepairsUsedUp(EveryclassError):
    """The training failed again after all repairs that it may make. Exit code 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairOptions:
    """Whether and how often a training repairs itself.

    Args:
        most: repairs before it stops; None to leave every alarm alone.
        clock: tells the seconds of the budget for trials.
    """

    most: int | None = 2
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A training with its repairs so far, as the run folder has it.

    Args:
        run: at the repair that is in force.
        recipe: that is followed.
        start: checkpoint that it began with, None for the first weights.
        repairs: answers so far, in order.
    """

    run: RunFolder
    recipe: Recipe
    start: bytes | None
    repairs: tuple[Repair, ...] = ()

    @classmethod
    def of(cls, run: RunFolder) -> Course:
        """As it stands on disk.

        Raises:
            InputError: a file that it needs is missing or damaged.
        """
        repairs: tuple[Repair, ...] = ()
        if run.repairs.exists():
            repairs = tuple(Repair.from_dict(one) for one in run.read_json(run.repairs)["repairs"])
        last = next((one for one in reversed(repairs) if one.outcome == "repaired"), None)
        now = run if last is None else run.at_repair(last.number)
        path = now.followed_recipe
        name = None if last is None else last.checkpoint
        return cls(
            run=now,
            recipe=Recipe.from_yaml(path.read_text(encoding="utf-8"), where=str(path)),
            start=None if name is None else run.read_checkpoint(name),
            repairs=repairs,
        )

    @property
    def made(self) -> int:
        """Repairs."""
        return sum(one.outcome == "repaired" for one in self.repairs)

    @property
    def begun_by(self) -> Repair | None:
        """The repair that is in force."""
        return next((one for one in self.repairs if one.number == self.run.repair), None)

    def gone_on(self, options: RepairOptions) -> Course:
        """The course of a run that goes on, where it had stopped for want of repairs too.

        Raises:
            RepairsUsedUp: it stopped, and no more repairs are allowed than then.
        """
        last = self.repairs[-1] if self.repairs else None
        if last is None or last.outcome != "stopped" or options.most is None:
            return self
        if self.made >= options.most:
            raise RepairsUsedUp(_used_up(last, options.most))
        return replace(self, repairs=self.repairs[:-1])

    def alarms(self, options: RepairOptions) -> frozenset[Verdict]:
        """Those that are to be answered: none once one was left alone. The training has the same
        beginning still, so that a later diagnosis would try the same."""
        left = any(one.outcome == "left" for one in self.repairs if one.number > self.run.repair)
        return frozenset() if left or options.most is None else ALARMS


def fit_and_repair(
    course: Course,
    make_job: MakeJob,
    options: RepairOptions,
    *,
    audit: Audit,
    stop: Callable[[], bool],
    on_event: Callable[[Event], None],
) -> tuple[Job, Progress, tuple[str, ...]]:
    """Train to the end, with repairs on the way.

    Args:
        course: where to go on.
        make_job: for any recipe and folder.
        options: how many repairs.
        audit: of the data; its statistics are a remedy.
        stop: asked between steps and between trials.
    Returns:
        The job whose best weights are the run's, its progress, and what was done about alarms in
        sentences.
    Raises:
        InterruptedTraining: `stop()` was true; the run can be resumed.
        NonFiniteLoss: and nothing could be repaired.
        RepairsUsedUp: an alarm after the last repair; the run can be resumed without repairs.
    """
    begin, answering = time.monotonic(), 0.0
    course = course.gone_on(options)
    while True:
        job = make_job(course.recipe, course.run, course.start)
        saved = course.run.last_checkpoint()
        fitted = fit(
            job,
            checkpoint=saved[0] if saved else None,
            stop=stop,
            on_event=on_event,
            alarms=course.alarms(options),
        )
        if fitted.alarm is None and fitted.failure is not None:
            raise fitted.failure
        ended = fitted.alarm is None or fitted.alarm.severity != "alarm"
        used_up = options.most is None or course.made >= options.most
        if fitted.alarm is None or (ended and used_up):
            return job, fitted.progress, _sentences(course.repairs, fitted.alarm)
        assert options.most is not None
        trained = time.monotonic() - begin - answering
        answer = _Answer(course, make_job, options, job, fitted, fitted.alarm, audit)
        told = answer.give(trained, stop=stop, on_event=on_event)
        answering += told.seconds
        if told.outcome == "left" and ended:
            return job, fitted.progress, _sentences((*course.repairs, told), None)
        if told.outcome == "stopped":
            if fitted.failure is not None and not used_up:
                raise fitted.failure
            raise RepairsUsedUp(_used_up(told, options.most))
        course = Course.of(course.run)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """A state that a training can go back to.

    Args:
        step: optimizer steps done.
        checkpoint: path inside the run, None for the first weights.
    """

    step: int = 0
    checkpoint: str | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is known when an alarm is answered."""

    course: Course
    make_job: MakeJob
    options: RepairOptions
    job: Job
    fitted: Fitted
    alarm: Finding
    audit: Audit

    def give(
        self, trained: float, *, stop: Callable[[], bool], on_event: Callable[[Event], None]
    ) -> Repair:
        """Diagnose, decide, write it down."""
        run, number = self.job.run, len(self.course.repairs) + 1
        begin = time.monotonic()
        budget = min(max(BUDGET_SHARE * trained, LEAST_BUDGET), MOST_BUDGET)
        good = self._good_point()
        diagnosis = self._diagnosis(good, budget, stop=stop, on_event=on_event)
        run.write_json(run.diagnosis(number), diagnosis.to_dict())
        found = prescription(diagnosis, self._facts())
        assert self.options.most is not None
        if self.course.made >= self.options.most:
            told = self._record(number, "stopped", diagnosis, found, good, begin)
        elif found is None:
            outcome: RepairOutcome = "left" if self.fitted.failure is None else "stopped"
            told = self._record(number, outcome, diagnosis, None, good, begin)
        else:
            told = self._record(number, "repaired", diagnosis, found, good, begin)
            run.keep_metrics(number)
            recipe = _changed(self.course.recipe, told)
            run.write_text(run.at_repair(number).followed_recipe, recipe.to_yaml())
        lines = [one.to_dict() for one in (*self.course.repairs, told)]
        run.write_json(run.repairs, {"repairs": lines})
        repaired = told.outcome == "repaired"
        on_event(
            Answered(
                repair=told,
                diagnosis=diagnosis,
                made=self.course.made + repaired,
                allowed=self.options.most,
                path=run.at_repair(number).followed_recipe if repaired else None,
            )
        )
        return told

    def _diagnosis(
        self,
        good: _Point,
        budget: float,
        *,
        stop: Callable[[], bool],
        on_event: Callable[[Event], None],
    ) -> Diagnosis:
        """Why, by trials that begin where the repaired training would begin."""

        def tell(trial: str) -> None:
            on_event(Diagnosing(finding=self.alarm, budget_seconds=budget, trial=trial))
            if stop():
                raise InterruptedTraining(
                    f"Stopped at step {self.fitted.progress.step:,}, before its alarm was answered."
                )

        tell("")
        case = own_case(
            self.job,
            self._weights_of(good),
            self.fitted.optimizer,
            first_step=good.step,
            step=self.fitted.progress.step,
        )
        return diagnose_case(
            case,
            verdict=self.alarm.id,
            findings=(self.alarm,),
            checks=check_case(case),
            classes=self.job.table.classes,
            budget_seconds=budget,
            seed=self.job.settings.seed,
            on_trial=tell,
            clock=self.options.clock,
        )

    def _weights_of(self, point: _Point) -> dict[str, Tensor]:
        if point.checkpoint is None:
            fresh = self.make_job(self.course.recipe, self.course.run, None)
            settings = fresh.settings
            fabric = make_fabric(device=settings.device, precision=settings.precision)
            begin_with_head(fresh, fabric=fabric)
            return {name: value.cpu() for name, value in fresh.classifier.state_dict().items()}
        content = self.job.run.read_checkpoint(point.checkpoint)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        weights: dict[str, Tensor] = state["model"]
        return weights

    def _facts(self) -> Facts:
        settings = self.job.settings
        n_train = int(self.job.table.counts("train").sum())
        return Facts(
            settings=settings,
            mean=self.audit.mean,
            std=self.audit.std,
            n_steps=settings.epochs * steps_per_epoch(n_train, settings.batch_size),
        )

    def _record(
        self,
        number: int,
        outcome: RepairOutcome,
        diagnosis: Diagnosis,
        found: Prescription | None,
        good: _Point,
        begin: float,
    ) -> Repair:
        cause = diagnosis.answer if found is None else found.cause
        to = _Point(step=self.fitted.progress.step)
        if outcome == "repaired" and found is not None:
            to = _Point() if found.from_start else good
        reason = why_none(diagnosis)
        if found is not None:
            reason = " ".join(one for one in (found.cause.sentence, found.nearly) if one)
        return Repair(
            number=number,
            outcome=outcome,
            verdict=self.alarm.id,
            step=self.fitted.progress.step,
            since_step=self.alarm.since_step,
            alarm=self.alarm.sentence,
            cause=None if cause is None else cause.id,
            proved=cause is not None and cause.proved,
            trial="" if cause is None or cause.trial is None else cause.trial.change,
            changes=() if found is None or outcome != "repaired" else found.changes,
            reason=reason,
            from_step=to.step,
            checkpoint=to.checkpoint,
            seconds=time.monotonic() - begin,
        )

    def _good_point(self) -> _Point:
        """The last epoch before what the alarm tells at whose end all was well; else where the
        training in force began."""
        run, since = self.job.run, self.alarm.since_step
        for step in reversed(self.fitted.progress.good_steps):
            path = run.checkpoint_of(step)
            if since is not None and step <= since and path is not None:
                return _Point(step=step, checkpoint=path.relative_to(run.path).as_posix())
        begun = self.course.begun_by
        if begun is None:
            return _Point()
        return _Point(step=begun.from_step, checkpoint=begun.checkpoint)


def _changed(recipe: Recipe, repair: Repair) -> Recipe:
    """The recipe with the repair's settings, each with what it was and why it is no more."""
    for one in repair.changes:
        recipe = recipe.with_value(
            one.name,
            one.new,
            f"repair {repair.number}, after the alarm at step {repair.step:,} "
            f"({repair.verdict}): it was {show_value(one.old)}. {repair.cause}: {repair.reason}",
            origin="measured",
        )
    return recipe


def _used_up(last: Repair, most: int) -> str:
    times = "once" if most == 1 else f"{most} times"
    made = "No repair is allowed" if most == 0 else f"It was repaired {times}, which is the limit"
    known = "What is proved now: " if last.proved else ""
    return (
        f"The training is {last.verdict} at step {last.step:,}: {last.alarm} {made}, so it stops "
        f"here. {known}{last.reason} See repairs.json and diagnosis-{last.number}.json in the run."
    )


def _sentences(repairs: tuple[Repair, ...], unanswered: Finding | None) -> tuple[str, ...]:
    """What a finished run says of its repairs, and of an end that was not repaired any more."""
    told = tuple(repair_sentence(one) for one in repairs)
    if unanswered is None:
        return told
    return (
        *told,
        f"The training ended {unanswered.id}, and no repair was left: {unanswered.sentence}",
    )


def repair_sentence(repair: Repair) -> str:
    """What was done about an alarm."""
    head = f"At step {repair.step:,} the training was {repair.verdict}"
    if repair.outcome != "repaired":
        end = "nothing was changed" if repair.outcome == "left" else "it stopped there"
        return f"{head}, and {end}: {repair.reason}"
    settings = " and ".join(
        f"{one.name} from {show_value(one.old)} to {show_value(one.new)}" for one in repair.changes
    )
    back = f"step {repair.from_step:,}" if repair.checkpoint is not None else "the first weights"
    return (
        f"{head} ({repair.cause}, proved); repair {repair.number} changed {settings} and went "
        f"back to {back}."
    )
