"""Where the time of one later epoch of `everyclass train` goes.

    python benchmarks/speed/profile_epoch.py FOLDER                     # the default recipe
    python benchmarks/speed/profile_epoch.py FOLDER --model tutorial --image-size 64
    ... --epochs 4 --set NAME=VALUE

FOLDER holds a folder a class. What runs is `train` itself, as the command line calls it, in a
process of its own; clocks stand around the functions that it calls. Reported is the mean of the
epochs after the first, in which every image comes from the store of decoded ones. An epoch lasts
from the line of one epoch to the line of the next, so validation and checkpoint are in it.

A clock counts what happens inside a function less what other clocks inside it count, and "rest" is
what no clock saw: parts add up to the epoch. On a processor calls return when the work is done, so
clocks in Python are exact; on a graphics card they would not be, and the script refuses one. Two
figures each: seconds by the clock, and of all threads of the process (more where a part uses
several cores, less than the clock where other programs keep it waiting). Reading batches from the
store happens in a thread beside; the loop sees it as waiting, and its own figure is told apart.
What the clocks cost is measured too: their number times the time of an empty one.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

Seconds = tuple[float, float]
"""By the clock, and of all threads of the process."""

EVALUATION = "evaluation"
BESIDE = "beside: gather from the store"
ORDER = (
    "waiting for batches",
    "random streams",
    "normalisation",
    "augmentation",
    "forward",
    "loss",
    "backward",
    "optimizer",
    "moving average",
    "watch",
    "sums for the view",
    "evaluation: gather",
    "evaluation: normalisation",
    "evaluation: forward",
    "evaluation: watch",
    "evaluation: figures",
    "checkpoint",
    "telling",
)


def _now() -> Seconds:
    return time.perf_counter(), time.process_time()


@dataclass(slots=True)
class Clocks:
    """Seconds by name, of the thread that made it; those of other threads are kept apart.

    Attributes:
        totals: name -> seconds less those of clocks inside.
        entries: how often a clock ran.
    """

    totals: dict[str, Seconds] = field(default_factory=dict)
    entries: int = 0
    _open: list[list[Any]] = field(default_factory=list)
    _thread: int = field(default_factory=threading.get_ident)

    @contextmanager
    def running(self, name: str, *, beside: str | None = None) -> Iterator[None]:
        """Count what is inside. In another thread only where `beside` names it there."""
        if threading.get_ident() != self._thread:
            started = time.perf_counter(), time.thread_time()
            yield
            if beside is not None:
                ended = time.perf_counter(), time.thread_time()
                self._add(beside, ended[0] - started[0], ended[1] - started[1])
            return
        if self._open and name != EVALUATION and self._open[0][0] == EVALUATION:
            name = f"{EVALUATION}: {name}"
        self.entries += 1
        inside = [name, 0.0, 0.0]
        self._open.append(inside)
        started = _now()
        try:
            yield
        finally:
            ended = _now()
            self._open.pop()
            clock, busy = ended[0] - started[0], ended[1] - started[1]
            self._add(name, clock - inside[1], busy - inside[2])
            if self._open:
                self._open[-1][1] += clock
                self._open[-1][2] += busy

    def _add(self, name: str, clock: float, busy: float) -> None:
        before = self.totals.get(name, (0.0, 0.0))
        self.totals[name] = before[0] + clock, before[1] + busy

    def around(self, function: Callable[..., Any], name: str, **how: str) -> Callable[..., Any]:
        """The function, with a clock around it."""

        @functools.wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            with self.running(name, **how):
                return function(*given, **named)

        return timed

    def each(self, make: Callable[..., Iterable[Any]], name: str) -> Callable[..., Iterator[Any]]:
        """What makes an iterator, with a clock around every step of it."""

        @functools.wraps(make)
        def timed(*given: Any, **named: Any) -> Iterator[Any]:
            values = iter(make(*given, **named))
            while True:
                with self.running(name):
                    value = next(values, self)
                if value is self:
                    return
                yield value

        return timed


def overhead() -> float:
    """Seconds that an empty clock costs, in the function it stands around."""
    clocks, n = Clocks(), 20_000
    timed = clocks.around(lambda: None, "nothing")
    started = time.perf_counter()
    for _ in range(n):
        timed()
    return (time.perf_counter() - started) / n


@contextmanager
def clocks_around_training(clocks: Clocks) -> Iterator[None]:
    """Clocks in `fit` and in what it calls, while this lasts."""
    import torch
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricOptimizer
    from torch.optim import Optimizer

    from everyclass.images.store import ImageStore
    from everyclass.models.classifier import Classifier
    from everyclass.monitoring.monitor import Monitor
    from everyclass.run_folder import RunFolder
    from everyclass.training import steps
    from everyclass.training.averaging import MovingAverage
    from everyclass.workflows import fit, stepper
    from everyclass.workflows.epoch import EpochSums

    watched = ("observe", "advance", "findings", "summary", "observe_evaluation", "end_evaluation")
    places: list[tuple[Any, str, str]] = [
        (torch, "manual_seed", "random streams"),
        (Classifier, "prepare", "normalisation"),
        (steps, "augment", "augmentation"),
        (Classifier, "forward", "forward"),
        (stepper.Stepper, "_loss", "loss"),
        (Fabric, "backward", "backward"),
        (_FabricOptimizer, "step", "optimizer"),
        (Optimizer, "zero_grad", "optimizer"),
        (MovingAverage, "update", "moving average"),
        *((Monitor, name, "watch") for name in watched),
        (EpochSums, "add", "sums for the view"),
        (fit._Fit, "_validate", EVALUATION),
        (fit._Fit, "_save", "checkpoint"),
        (fit._Fit, "_weights", "checkpoint"),
        (fit, "write_atomically", "checkpoint"),
        (RunFolder, "append_metrics", "checkpoint"),
    ]
    with ExitStack() as stack:
        for owner, name, told in places:
            stack.enter_context(
                patch.object(owner, name, clocks.around(getattr(owner, name), told))
            )
        gather = clocks.around(ImageStore.gather, "gather", beside=BESIDE)
        stack.enter_context(patch.object(ImageStore, "gather", gather))
        batches = clocks.each(stepper.training_batches, "waiting for batches")
        stack.enter_context(patch.object(stepper, "training_batches", batches))
        yield


@dataclass(slots=True)
class Epochs:
    """Takes the events of a training; cuts what the clocks saw into epochs.

    Attributes:
        each: of every epoch but the first: name -> seconds, with "epoch" for all of it.
        entries: of clocks, in all these epochs.
        settings: of the recipe.
        started, ended: when the loop began, and its last epoch ended.
    """

    clocks: Clocks
    show: Callable[[Any], None]
    each: list[dict[str, Seconds]] = field(default_factory=list)
    entries: int = 0
    settings: Any = None
    started: Seconds = (0.0, 0.0)
    ended: Seconds = (0.0, 0.0)
    _began: tuple[Seconds, dict[str, Seconds], int] | None = None

    def take(self, event: Any) -> None:
        from everyclass.workflows.events import Decided, EpochDone, TrainingStarted

        with self.clocks.running("telling"):
            self.show(event)
        if isinstance(event, Decided):
            self.settings = event.recipe.settings
        if isinstance(event, TrainingStarted):
            self.started = _now()
        if not isinstance(event, EpochDone):
            return
        ended, totals = _now(), dict(self.clocks.totals)
        if self._began is not None:
            started, before, entries = self._began
            found = {
                name: _less(seconds, before.get(name, (0.0, 0.0)))
                for name, seconds in totals.items()
            }
            self.each.append({"epoch": _less(ended, started), **found})
            self.entries += self.clocks.entries - entries
        self.ended = ended
        self._began = ended, totals, self.clocks.entries


def _less(a: Seconds, b: Seconds) -> Seconds:
    return a[0] - b[0], a[1] - b[1]


def profile(source: str, wishes: dict[str, Any]) -> dict[str, Any]:
    """Train in a folder of its own, and say where the time went."""
    import resource

    from rich.console import Console

    from everyclass.terminal.training import TrainingView
    from everyclass.workflows.data_source import DataSource
    from everyclass.workflows.repair import RepairOptions
    from everyclass.workflows.train import TrainOptions, train

    clocks = Clocks()
    with (
        tempfile.TemporaryDirectory() as temporary,
        open(os.devnull, "w") as nowhere,
        TrainingView(Console(file=nowhere, width=100)) as view,
        clocks_around_training(clocks),
    ):
        epochs = Epochs(clocks, view.show)
        out = Path(temporary) / "run"
        trained = _now()
        # Alarms are told only: experiments after one are no part of an epoch.
        options = TrainOptions(wishes=wishes, repair=RepairOptions(most=None))
        train(DataSource(source=source), out, options, on_event=epochs.take)
        ended = _now()
        written = {one.name: one.stat().st_size for one in out.iterdir() if one.is_file()}
    parts: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for epoch in epochs.each:
        for name, found in epoch.items():
            for i in range(2):
                parts[name][i] += found[i] / len(epochs.each)
    whole = parts.pop("epoch")
    if EVALUATION in parts:
        parts[f"{EVALUATION}: figures"] = parts.pop(EVALUATION)
    known = [found for name, found in parts.items() if name != BESIDE]
    parts["rest"] = [whole[i] - sum(found[i] for found in known) for i in range(2)]
    settings = epochs.settings
    return {
        "epoch": whole,
        "spread": [limit(one["epoch"][0] for one in epochs.each) for limit in (min, max)],
        "parts": parts,
        "epochs": len(epochs.each),
        "clocks": epochs.entries / len(epochs.each) * overhead(),
        "before": _less(epochs.started, trained),
        "after": _less(ended, epochs.ended),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "written": written,
        "way": {
            name: getattr(settings, name)
            for name in ("model", "image_size", "batch_size", "threads", "precision")
        }
        | {"memory_format": settings.memory_format},
    }


def in_a_process(source: str, wishes: dict[str, Any]) -> dict[str, Any]:
    """`profile`, in a fresh process whose threads wait as those of the command line do."""
    done = subprocess.run(
        [sys.executable, __file__, source, "--child", json.dumps(wishes)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(found: dict[str, Any]) -> list[str]:
    """Rows of a table: seconds of each part, its share of the epoch, seconds of all threads."""
    whole, parts = found["epoch"], found["parts"]
    lines = ["| part | seconds | share | processor seconds | share |", "|---|---|---|---|---|"]
    for name in (*ORDER, *sorted(set(parts) - {*ORDER, "rest", BESIDE}), "rest"):
        clock, busy = parts.get(name, (0.0, 0.0))
        if clock > 0:
            shares = f"{clock / whole[0]:.1%}", f"{busy / whole[1]:.1%}"
            lines.append(f"| {name} | {clock:.3f} | {shares[0]} | {busy:.3f} | {shares[1]} |")
    lines.append(f"| **the epoch** | **{whole[0]:.3f}** | 100% | **{whole[1]:.3f}** | 100% |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--model", help="a timm name, or tutorial; default: as train decides")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--epochs", type=int, default=4, help="at least 2")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(profile(options.folder, json.loads(options.child))))
        return
    given = {"model": options.model, "image_size": options.image_size, "epochs": options.epochs}
    wishes = {name: value for name, value in given.items() if value is not None}
    for one in options.set:
        name, value = one.split("=", 1)
        wishes[name] = json.loads(value) if value[:1] in "[{0123456789tf" else value
    wishes["device"] = "cpu"
    load = os.getloadavg()[0]
    found = in_a_process(options.folder, wishes)
    low, high = found["spread"]
    print(", ".join(f"{name} {value}" for name, value in found["way"].items()))
    print(f"mean of {found['epochs']} later epochs ({low:.2f} to {high:.2f} s), load {load:.1f}\n")
    print("\n".join(table(found)))
    clock, busy = found["parts"].get(BESIDE, (0.0, 0.0))
    print(
        f"\nBeside, in a thread of their own: {clock:.3f} s (processor {busy:.3f}) to gather "
        f"batches from the store. The clocks themselves: {found['clocks'] * 1000:.1f} ms."
    )


if __name__ == "__main__":
    main()
