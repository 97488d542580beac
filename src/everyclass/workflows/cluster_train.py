"""`everyclass train --ray`: a training by Ray Train, on the machines of a cluster.

Comes in: the same as for `train`, and a cluster. Goes out: the same. Ray Train starts the processes
and starts them anew when one is lost; what they do then, and what they go on from, is in the run
folder, as under torchrun. Ray's own storage holds nothing that is needed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from everyclass.errors import EveryclassError, InputError
from everyclass.recipe import Recipe
from everyclass.run_folder import RunFolder
from everyclass.workflows.cluster import Cluster, refuse_blind_nodes
from everyclass.workflows.cluster_audit import some_paths
from everyclass.workflows.cluster_blocks import last_line
from everyclass.workflows.cluster_post import Post
from everyclass.workflows.cluster_worker import Order, train_here
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.events import Event
from everyclass.workflows.finish import Outcome
from everyclass.workflows.stopping import Stop, stop_signals
from everyclass.workflows.train import TrainOptions
from everyclass.workflows.train_together import NothingToShow

RESTARTS = 3
"""Times that a training is started anew after a process was lost."""

POLL_SECONDS = 0.2
LEAVE_SECONDS = 30.0  # that processes may take to leave once the training has ended

Strategy = Literal["STRICT_PACK", "STRICT_SPREAD", "PACK"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the processes of a training run.

    Args:
        workers: processes.
        cpus: of each.
        gpu: whether each has a graphics card.
        strategy: of Ray's placement group.
    """

    workers: int
    cpus: int
    gpu: bool
    strategy: Strategy


def train_on(
    cluster: Cluster,
    data: DataSource,
    out: Path,
    options: TrainOptions,
    *,
    go_on: bool,
    on_event: Callable[[Event], None],
) -> Outcome | NothingToShow:
    """Train on a cluster, or go on with the run in `out`.

    Args:
        out: where every machine of the cluster sees it.
        go_on: what --resume says.
    Raises:
        InputError: a machine that does not see data or run, or lacks our package; a cluster without
            room for the processes; others as `train` and `resume`.
        EveryclassError: processes were lost more often than `RESTARTS`.
        Others as `train` and `resume`.
    """
    _refuse_run(out, options, go_on=go_on)
    placement = place(cluster, _device(out, options, go_on=go_on))
    table = data.read()
    with _seen_by_all(out) as probe:
        refuse_blind_nodes(cluster, [*some_paths(data.source, table), probe])
    del table
    return _trained(placement, data, out, options, go_on=go_on, on_event=on_event)


def _refuse_run(out: Path, options: TrainOptions, *, go_on: bool) -> None:
    """A run that is not to be touched is told before processes are started; they could take it for
    their own after a restart."""
    if not go_on and not options.overwrite and RunFolder.is_run(out):
        raise InputError(
            f"{out} holds a run already.",
            remedy="Continue it with --resume, choose another --out, or add --overwrite.",
        )


def _device(out: Path, options: TrainOptions, *, go_on: bool) -> str | None:
    device: str | None = options.wishes.get("device")
    if go_on:
        path = RunFolder.open(out).followed_recipe
        device = Recipe.from_yaml(path.read_text(encoding="utf-8"), where=str(path)).settings.device
    if device == "mps":
        raise InputError(
            "Processes of a Ray cluster cannot train on mps.", remedy="Use --device cpu."
        )
    return device


def place(cluster: Cluster, device: str | None) -> Placement:
    """As many processes on each machine that is used: on graphics cards on few machines, on
    processors on many.

    Args:
        device: cpu or cuda; None for cuda where the cluster has any.
    Raises:
        InputError: there is no room for them.
    """
    gpu = device == "cuda" or (device is None and cluster.gpus > 0)
    if gpu and not cluster.gpus:
        raise InputError(
            "No machine of the cluster has a graphics card to give.",
            where="--ray",
            remedy="Use --device cpu, or start its workers with --num-gpus.",
        )
    rooms = sorted((node.gpus if gpu else node.cpus for node in cluster.nodes), reverse=True)
    workers = cluster.workers or (sum(rooms) if gpu else len(cluster.nodes))
    divisors = [n for n in range(1, len(rooms) + 1) if workers % n == 0]
    fitting = [n for n in divisors if rooms[n - 1] >= workers // n]
    if not fitting:
        have = ", ".join(f"{node.name} {node.gpus if gpu else node.cpus}" for node in cluster.nodes)
        unit = "graphics cards" if gpu else "processor cores"
        raise InputError(
            f"The cluster has no room for {workers} processes, as many on each machine "
            f"({unit}: {have}).",
            where="--ray",
            remedy="Choose --ray-workers so that they fit, or --device cpu."
            if gpu
            else "Choose --ray-workers so that they fit.",
        )
    n = fitting[0] if gpu else fitting[-1]
    each = workers // n
    cores = sorted((node.cpus for node in cluster.nodes), reverse=True)[n - 1]
    if n == 1:
        strategy: Strategy = "STRICT_PACK"
    else:
        strategy = "STRICT_SPREAD" if each == 1 else "PACK"
    return Placement(
        workers=workers,
        cpus=max(1, cores // each),
        gpu=gpu,
        strategy=strategy,
    )


@contextmanager
def _seen_by_all(out: Path) -> Iterator[str]:
    """A file that lies for a moment where the run will: who does not see it sees no run."""
    folder = Path(os.path.abspath(out))
    while not folder.is_dir():
        folder = folder.parent
    probe = folder / f".everyclass-{uuid4().hex}"
    try:
        probe.touch()
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written to: {error.strerror}.", remedy="Choose another --out."
        ) from error
    try:
        yield str(probe)
    finally:
        probe.unlink(missing_ok=True)


def _trained(
    placement: Placement,
    data: DataSource,
    out: Path,
    options: TrainOptions,
    *,
    go_on: bool,
    on_event: Callable[[Event], None],
) -> Outcome | NothingToShow:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    post = ray.remote(num_cpus=0)(Post).options(scheduling_strategy=here).remote()
    order = Order(
        data=data,
        out=out,
        options=options,
        go_on=go_on,
        name=uuid4().hex,
        folder=os.getcwd(),
        command=tuple(sys.argv),
        post=post,
    )
    with tempfile.TemporaryDirectory(prefix="everyclass-ray-") as storage:
        ray_train = _RayTrain(_trainer(placement, order, storage))
        with stop_signals() as stop:
            ends = _told(post, ray_train, stop, on_event)
    if not ends:
        raise EveryclassError(
            f"The training on the cluster failed {RESTARTS + 1} times; last: {ray_train.reason()} "
            f"What it had saved is in {out}; go on with --resume."
        )
    if isinstance(ends[0], BaseException):
        raise ends[0]
    outcome: Outcome | NothingToShow = ends[0]
    return outcome


def _told(
    post: Any, ray_train: _RayTrain, stop: Stop, on_event: Callable[[Event], None]
) -> list[Any]:
    """Pass on what the training tells until it has ended; how it did."""
    import ray

    asked = False
    while True:
        over = ray_train.over(POLL_SECONDS)
        starts, events, ends = ray.get(post.taken.remote())
        for event in events:
            on_event(ray.cloudpickle.loads(event))
        if ends:
            # What holds on after this waits for a process that has given up.
            ray_train.over(LEAVE_SECONDS)
        if ends or over:
            return [ray.cloudpickle.loads(end) for end in ends]
        if stop() and not asked:
            if starts == 0:
                raise KeyboardInterrupt  # nothing has begun, and nobody would hear of it
            asked = True
            ray.get(post.ask_to_stop.remote())


def _trainer(placement: Placement, order: Order, storage: str) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    # Gloo for tensors on the processor, NCCL for those on graphics cards.
    backend = "cpu:gloo,cuda:nccl" if placement.gpu else "gloo"
    return TorchTrainer(
        train_here,
        train_loop_config={"order": order},
        torch_config=TorchConfig(backend=backend),
        scaling_config=ScalingConfig(
            num_workers=placement.workers,
            use_gpu=placement.gpu,
            resources_per_worker={"CPU": placement.cpus, **({"GPU": 1} if placement.gpu else {})},
            placement_strategy=placement.strategy,
        ),
        run_config=RunConfig(
            name=order.name,
            storage_path=storage,
            failure_config=FailureConfig(max_failures=RESTARTS),
        ),
    )


class _RayTrain:
    """A trainer at work, in a thread: this one hears Ctrl-C and passes on what is told."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._fit, daemon=True, name="ray-train")
        self._thread.start()

    def _fit(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:  # noqa: BLE001  (told by the thread that waits)
            self._error = error

    def over(self, seconds: float) -> bool:
        """Whether it has ended, within so many seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def reason(self) -> str:
        """Why it failed, in one line."""
        if self._error is None:
            return "it ended without a word."
        failures = getattr(self._error, "worker_failures", {})
        error = next(iter(failures.values()), self._error)
        return f"{last_line(error).rstrip('.')}."
