"""How a training computes on this machine, by measuring: memory format, precision, threads.

Comes in: a job made for this alone and the recipe it follows. Goes out: the recipe with the fastest
way that gives the losses of plain float32, and the numbers as its reasons. What wins is written
down, so that a resumed training computes as it began; nothing is measured twice.

Not tried: `torch.compile`, which needs a C++ compiler and minutes on a processor; batches in parts,
because batch normalisation would see smaller batches.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import torch

from everyclass.models.classifier import suits_channels_last
from everyclass.recipe import Recipe
from everyclass.settings import MemoryFormat, Precision
from everyclass.training.batches import Batch, Rows, steps_per_epoch, training_batches
from everyclass.training.duel import MARGIN, Duel, duel
from everyclass.training.steps import steps
from everyclass.workflows.inference import make_fabric
from everyclass.workflows.job import Job, optimizer_of, rate_course

MEASURED = ("memory_format", "precision", "threads")
LEAST_STEPS, LEAST_SECONDS = 500, 60.0
"""In a training of fewer steps, or of less time at the plain pace, not everything is measured: two
dozen steps of measuring would cost more than they may save."""
LEAST_STEPS_FOR_BF16, LEAST_SECONDS_FOR_BF16 = 100, 15.0
"""Bfloat16 alone takes eight steps more, and may save half of the time."""
SHARE, MOST_SECONDS = 0.02, 15.0
"""Time for measuring: a share of the training's, within a limit. Three rounds are always had."""
TOLERANCES: dict[Precision, float] = {"fp32": 1e-3, "bf16": 2e-2, "fp16": 2e-2}
"""Relative difference to plain losses: of rounding in another order, and of 8 or 11 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to compute the same training."""

    memory_format: MemoryFormat
    precision: Precision
    threads: int


def measured(
    recipe: Recipe,
    make_job: Callable[[], Job],
    *,
    n_train: int,
    fixed: Collection[str],
    bf16: bool,
) -> Recipe:
    """The recipe with the fastest way to compute.

    Changes are tried in turn against the fastest way so far, beginning with plain float32: one
    setting at a time, and the memory format together with bfloat16, which gains most in
    channels-last order. Where several changes won, together they must beat plain float32 as well;
    else the first of them stays alone, which did. In a short training bfloat16 alone is tried.

    Args:
        recipe: so far.
        make_job: a job that follows it, whose network is used on copies; called only where there
            is something to measure. Random states and threads are put back.
        n_train: training images.
        fixed: names in `MEASURED` that the user decided.
        bf16: whether the device computes in bfloat16 natively.
    """
    names = [name for name in MEASURED if name not in fixed]
    settings = recipe.settings
    n_steps = settings.epochs * steps_per_epoch(n_train, settings.batch_size)
    halves = bf16 and "precision" in names and settings.precision == "fp32"
    least = min(LEAST_STEPS, LEAST_STEPS_FOR_BF16) if halves else LEAST_STEPS
    if not names or n_steps < least:
        return recipe
    plain = Way(
        memory_format="contiguous" if "memory_format" in names else settings.memory_format,
        precision="fp32" if "precision" in names else settings.precision,
        threads=settings.threads,
    )
    job = make_job()
    changes = _changes(job, names, bf16=bf16)
    if not changes:
        return recipe
    cuda = [torch.cuda.current_device()] if settings.device == "cuda" else []
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=cuda):
            contest = _Contest(job, _first_batch(job, n_train), n_steps)
            seconds = n_steps * contest.plain_seconds(plain)
            if n_steps < LEAST_STEPS or seconds < LEAST_SECONDS:
                tried = halves and seconds >= LEAST_SECONDS_FOR_BF16
                return _with_bf16(recipe, contest) if tried else recipe
            budget = min(MOST_SECONDS, SHARE * seconds) / (len(changes) + 1)
            held = contest.held(plain, changes, budget)
            return _with_reasons(recipe, *held, batch=images_a_step(job))
    except RuntimeError:
        return recipe  # not even the plain way can be had here; the training will tell why
    finally:
        torch.set_num_threads(threads)


def _with_bf16(recipe: Recipe, contest: _Contest) -> Recipe:
    """The recipe in bfloat16 where that is faster; everything else as it stands."""
    settings = recipe.settings
    own = Way(
        memory_format=settings.memory_format,
        precision=settings.precision,
        threads=settings.threads,
    )
    way, trials, _ = contest.held(own, [{"precision": "bf16"}], 0.0)
    return _with_reasons(recipe, way, trials, None, batch=images_a_step(contest.job))


def seconds_a_step(job: Job, *, n_train: int, steps: int = 3) -> float:
    """Seconds that an optimizer step takes as the job's recipe has it: the median of a few on a
    copy, the first one not counted. Random states and threads are put back.

    Args:
        job: made for this alone.
        n_train: training images.
        steps: that are timed.
    """
    settings = job.settings
    cuda = [torch.cuda.current_device()] if settings.device == "cuda" else []
    way = Way(
        memory_format=settings.memory_format,
        precision=settings.precision,
        threads=settings.threads,
    )
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=cuda):
            step = _Contest(job, _first_batch(job, n_train), steps + 1).stepper(way)
            times = []
            for _ in range(steps + 1):
                begin = time.perf_counter()
                step()
                times.append(time.perf_counter() - begin)
    finally:
        torch.set_num_threads(threads)
    return float(np.median(times[1:]))


def _changes(job: Job, names: Collection[str], *, bf16: bool) -> list[dict[str, Any]]:
    """The challengers, each as the settings it changes."""
    settings, changes = job.settings, list[dict[str, Any]]()
    if "memory_format" in names and suits_channels_last(job.classifier.network):
        changes.append({"memory_format": "channels_last"})
    if "precision" in names and bf16:
        changes += [{"precision": "bf16"}, *({**one, "precision": "bf16"} for one in changes)]
    if "threads" in names and settings.device == "cpu" and settings.threads > 1:
        changes.append({"threads": settings.threads // 2})
    return changes


def _first_batch(job: Job, n_train: int) -> Batch:
    rows = np.flatnonzero(job.table.split_codes() == 0).astype(np.int64)

    def order(epoch: int) -> Rows:
        return rows[job.correction.epoch_order(epoch)]

    batches = training_batches(
        job.store.gather,
        job.table.labels(),
        order,
        n_images=n_train,
        batch_size=images_a_step(job),
        first_step=0,
        n_steps=1,
        pinned=job.settings.device == "cuda",
    )
    return next(batches)


def images_a_step(job: Job) -> int:
    """That one process computes."""
    return -(-job.settings.batch_size // job.processes.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """How a change fared. `duel` is None where it could not be computed at all."""

    names: tuple[str, ...]
    held: Way
    tried: Way
    duel: Duel | None
    failure: str = ""

    @property
    def won(self) -> bool:
        return self.duel is not None and self.duel.challenger_wins


@dataclass(frozen=True, slots=True)
class _Contest:
    """Steps of one job's training, done in several ways."""

    job: Job
    batch: Batch
    n_steps: int

    def plain_seconds(self, plain: Way) -> float:
        """Of a step; the first one is not counted."""
        step = self.stepper(plain)
        step()
        begin = time.perf_counter()
        step()
        return time.perf_counter() - begin

    def held(
        self, plain: Way, changes: list[dict[str, Any]], budget: float
    ) -> tuple[Way, list[_Trial], Duel | None]:
        """The way that holds in the end, every trial, and plain against it where several won."""
        best, trials, known = plain, list[_Trial](), {plain}
        for change in changes:
            challenger = replace(best, **change)
            if challenger in known:
                continue
            known.add(challenger)
            trials.append(self._trial(tuple(change), best, challenger, budget))
            if trials[-1].won:
                best = challenger
        won = [trial for trial in trials if trial.won]
        if len(won) < 2:
            return best, trials, None
        last = self._duel(plain, best, budget)
        return (best if last.challenger_wins else won[0].tried), trials, last

    def _trial(self, names: tuple[str, ...], best: Way, challenger: Way, budget: float) -> _Trial:
        try:
            found = self._duel(best, challenger, budget)
        except RuntimeError as error:  # an operation without a kernel, memory that is not there
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            return _Trial(names=names, held=best, tried=challenger, duel=None, failure=why)
        return _Trial(names=names, held=best, tried=challenger, duel=found)

    def _duel(self, holder: Way, challenger: Way, budget: float) -> Duel:
        return duel(
            self.stepper(holder),
            self.stepper(challenger),
            tolerance=TOLERANCES[challenger.precision],
            seconds=budget,
        )

    def stepper(self, way: Way) -> Callable[[], float]:
        """Steps of the real training on a copy, all on its first batch."""
        job, settings = self.job, self.job.settings
        classifier = copy.deepcopy(job.classifier)
        classifier.lay_out(channels_last=way.memory_format == "channels_last")
        fabric = make_fabric(device=settings.device, precision=way.precision)
        model, optimizer = fabric.setup(classifier, optimizer_of(settings, classifier))
        results = steps(
            model,
            optimizer,
            (replace(self.batch, step=step) for step in count()),
            job.correction.loss,
            fabric=fabric,
            rate=rate_course(settings, n_steps=self.n_steps),
            seed=settings.seed,
            accumulation=settings.accumulation,
            clip_norm=settings.clip_norm,
            augmentation=settings.augmentation,
        )

        def step() -> float:
            torch.set_num_threads(way.threads)
            loss = float(next(results).loss)
            if settings.device == "cuda":
                torch.cuda.synchronize()  # the loss was there before the step had ended
            return loss

        return step


def _with_reasons(
    recipe: Recipe, way: Way, trials: list[_Trial], against_plain: Duel | None, *, batch: int
) -> Recipe:
    """The values of `way`; a setting's reasons are the trials that changed it, the last first.

    Args:
        batch: images a step that was timed.
    """
    reasons = dict[str, list[str]]()
    for trial in trials:
        reason = _reason(trial, batch)
        if trial.won and against_plain is not None:
            reason += (
                f"; all changes together take {_ms(against_plain.challenger_seconds)}, plain "
                f"float32 {_ms(against_plain.holder_seconds)}"
                + ("" if against_plain.challenger_wins else ", so that only the first one stays")
            )
        for name in trial.names:
            reasons.setdefault(name, []).insert(0, reason)
    for name in MEASURED:
        if name in reasons:
            told = "; ".join(reasons[name])
            recipe = recipe.with_value(name, getattr(way, name), told, origin="measured")
    return recipe


def _reason(trial: _Trial, batch: int) -> str:
    held, tried = (
        " and ".join(_named(name, getattr(way, name)) for name in trial.names)
        for way in (trial.held, trial.tried)
    )
    found = trial.duel
    if found is None:
        return f"{tried} cannot be computed here: {trial.failure}"
    if not found.agree:
        return (
            f"with {tried} the loss differs by {found.loss_difference:.1%} from that with {held}, "
            f"more than {found.tolerance:.1%}"
        )
    faster = "" if found.challenger_wins else f"; a change must save {MARGIN:.0%} to be made"
    return (
        f"a step of {batch} images takes {_ms(found.challenger_seconds)} with {tried}, "
        f"{_ms(found.holder_seconds)} with {held} (medians of {found.rounds}, in turns; losses "
        f"within {found.loss_difference:.2%}){faster}"
    )


def _named(name: str, value: Any) -> str:
    if name == "threads":
        return f"{value} thread" + ("" if value == 1 else "s")
    return str(value)


def _ms(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
