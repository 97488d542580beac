"""`everyclass train` on as many processes as torchrun, srun or Ray Train started, and again after a
failure.

Comes in: the same as for `train`. Goes out: on the first process an outcome, as on one alone; on
the others nothing. A process that was started again goes on with the run that it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from everyclass.errors import InputError
from everyclass.run_folder import RunFolder
from everyclass.training.processes import Processes
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.events import Event
from everyclass.workflows.finish import Outcome
from everyclass.workflows.follow import follow
from everyclass.workflows.job import InterruptedTraining, Job
from everyclass.workflows.launch import together
from everyclass.workflows.launched import Launch, find_launch
from everyclass.workflows.repair import Course
from everyclass.workflows.stepper import Word
from everyclass.workflows.stopping import Stop
from everyclass.workflows.train import Materials, TrainOptions, resume, train


@dataclass(frozen=True, slots=True)
class NothingToShow:
    """This process has no outcome. `sentence` says why, where that is worth saying."""

    sentence: str = ""


def train_together(
    data: DataSource,
    out: Path,
    options: TrainOptions,
    *,
    go_on: bool,
    on_event: Callable[[Event], None],
    stop: Stop | None = None,
) -> Outcome | NothingToShow:
    """Train, or go on with the run in `out`.

    A launcher that starts its processes anew after one was lost gives them the same command: they
    go on with the run of this launch, from its last checkpoint.

    Args:
        go_on: what --resume says.
        stop: asks the first process to stop, beside Ctrl-C and SIGTERM.
    Raises:
        Followed: the first process failed; it has said of what.
        Others as `train` and `resume`.
    """
    launch = find_launch()
    with together(launch) as processes:
        if not processes.first:
            follow(RunFolder(out), _jobs(data, options, processes), processes)
            return NothingToShow()
        with _ended_for_all(processes):
            again = _goes_on(out, options, launch)
            if again and RunFolder.open(out).evaluation.exists():
                return NothingToShow(f"{out} was finished before this start.")
            if again:  # by the recipe that these wishes led to
                options = replace(options, wishes={}, preset=None)
            work = resume if go_on or again else train
            return work(data, out, options, on_event=on_event, processes=processes, stop=stop)


def _goes_on(out: Path, options: TrainOptions, launch: Launch) -> bool:
    """Whether `out` holds a run of this very launch, made before it was started anew.

    torchrun counts restarts after failures. When machines come or go (`--nnodes 1:4`) it starts
    all anew and counts nothing: then the name of the launch tells, which the run has kept.
    """
    if not RunFolder.is_run(out):
        return False
    began = RunFolder(out).environment
    name = RunFolder(out).read_json(began).get("launch") if began.exists() else None
    own = bool(launch.name) and name == launch.name
    if options.overwrite and launch.restarted:
        # Another run is to be replaced, and this launch may have failed before it was.
        return own if launch.name else not RunFolder.in_preparation(out)
    return launch.restarted or (own and not options.overwrite)


def _jobs(
    data: DataSource, options: TrainOptions, processes: Processes
) -> Callable[[RunFolder], Callable[[Course], Job]]:
    def opened(run: RunFolder) -> Callable[[Course], Job]:
        materials = Materials.reopened(data, Course.of(run), options, processes)
        return lambda course: materials.job(course.recipe, course.run, course.start)

    return opened


@contextmanager
def _ended_for_all(processes: Processes) -> Iterator[None]:
    """However the work of the first process ends, the others hear of it."""
    code = 1
    try:
        yield
        code = 0
    except InputError:
        code = 2
        raise
    except (InterruptedTraining, KeyboardInterrupt):
        code = 130
        raise
    finally:
        if processes.several:
            processes.end(Word.END, code)
