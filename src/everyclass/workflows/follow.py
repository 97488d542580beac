"""A process of a training that is not the first: it does what it is told, on its share.

Comes in: words of the first process, and the run that it wrote. Goes out: steps and validations
together with it, nothing on disk and nothing to read. It decides nothing, so that all processes
always do the same: when to stop, what an alarm leads to, which checkpoint to go on from.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

from everyclass.errors import EveryclassError
from everyclass.run_folder import RunFolder
from everyclass.training.processes import Processes
from everyclass.training.steps import StepResult
from everyclass.workflows.job import Job
from everyclass.workflows.repair import Course
from everyclass.workflows.stepper import Stepper, Word, read_state

MakeJobs = Callable[[RunFolder], Callable[[Course], Job]]
"""The run, once it is there -> (course of it -> a job)."""


class Followed(EveryclassError):
    """The first process ended with an error, and has told it.

    Args:
        code: that it exits with.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"The first process ended with exit code {code}.")
        self.code = code


def follow(run: RunFolder, make_jobs: MakeJobs, processes: Processes) -> None:
    """Take part in a training until its first process ends it.

    Args:
        run: where the first process writes; on a file system that all machines see.
        make_jobs: opens the data.
    Raises:
        Followed: the first process ended with an error.
    """
    make_job: Callable[[Course], Job] | None = None
    stepper: Stepper | None = None
    results: Iterator[StepResult] = iter(())
    while True:
        word, first, second = processes.tell()
        if word == Word.END:
            if first:
                raise Followed(first)
            return
        if word == Word.OPEN:
            leave_signals_to_first()
            make_job = _opened(run, make_jobs, processes)
        elif word == Word.BEGIN:
            assert make_job is not None
            stepper = _begun(make_job, run, repair=first, checkpoint=second)
            results = stepper.results(stepper.batches(n_steps=stepper.n_steps))
        elif word == Word.STEP:
            next(results)
        elif word == Word.VALIDATE:
            assert stepper is not None
            stepper.validation_logits()


def open_for_all(processes: Processes) -> None:
    """The first process's part: say that the run is there, and wait until all have opened it."""
    if processes.several:
        processes.tell(Word.OPEN)
        processes.meet()
        processes.meet()


def _opened(run: RunFolder, make_jobs: MakeJobs, processes: Processes) -> Callable[[Course], Job]:
    """One process a machine makes what is to be kept of the images there; others find it."""
    if processes.local_rank == 0:
        made = make_jobs(run)
        processes.meet()
    else:
        processes.meet()
        made = make_jobs(run)
    processes.meet()
    return made


def _begun(
    make_job: Callable[[Course], Job], run: RunFolder, *, repair: int, checkpoint: int
) -> Stepper:
    """A training with the state that the first process has."""
    course = Course.of(run)
    assert course.run.repair == repair, "the repairs on disk are not those of the first process"
    job = make_job(course)
    stepper, state = Stepper(job), None
    if checkpoint >= 0:
        path = course.run.checkpoint_of(checkpoint)
        if path is None:
            raise EveryclassError(
                f"The checkpoint of step {checkpoint:,} in {course.run.checkpoints} cannot be read "
                "here. All processes must see the same run folder."
            )
        state = read_state(path.read_bytes())
        stepper.load(state)
        stepper.step = checkpoint
    elif course.start is not None:
        start = read_state(course.start)
        stepper.load(start)
        stepper.step = int(start["progress"]["step"])
    stepper.join()
    if state is not None:
        stepper.load_optimizer(state)
    return stepper


def leave_signals_to_first() -> None:
    """Ctrl-C and SIGTERM reach every process; the first one decides when all of them stop."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
