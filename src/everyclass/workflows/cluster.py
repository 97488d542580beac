"""A Ray cluster: connected to or started here, and whether its machines can do our work.

Comes in: an address. Goes out: a `Cluster`, while a `with` statement lasts. Knows no images and no
training: `cluster_blocks` hands out work that needs no order, `cluster_train` a training. Ray is
imported inside functions, an extra; never torch.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TextIO

from everyclass.errors import InputError
from everyclass.images.addresses import address_of
from everyclass.images.listing import is_uri
from everyclass.workflows.cores import usable_cores

LOCAL = "local"
"""The address of a cluster that is started for one command, on this machine."""

REACH_SECONDS = 5.0  # that a machine may take to answer at all
CONNECT_SECONDS = 90.0  # that Ray may take; by itself it tries for minutes
SILENT_SECONDS = 20.0  # of the head of a cluster at work, before it is told
LOOK_SECONDS = 180.0  # that all machines may take to start a process and look at paths

_LOCAL_STORE_BYTES = 200 << 20  # paths go in and numbers come out, never images
_CLIENT = "ray://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine of a cluster that computes.

    Args:
        key: Ray's id.
        name: host name and address, for messages.
        cpus, gpus: that Ray gives out there, used or not.
    """

    key: str
    name: str
    cpus: int
    gpus: int


@dataclass(slots=True, kw_only=True)
class Cluster:
    """A cluster that this process is connected to.

    Args:
        address: as it was given.
        nodes: that compute, at least one.
        workers: processes that were asked for; None = as many as there is room for.
        redone: pieces of work that were done again, because the process that did them ended.
    """

    address: str
    nodes: tuple[Node, ...]
    workers: int | None = None
    redone: int = field(default=0)

    @property
    def cpus(self) -> int:
        """Of all machines."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> int:
        """Of all machines."""
        return sum(node.gpus for node in self.nodes)

    def redone_sentence(self) -> str:
        """What was done again, in words; "" where nothing was."""
        if not self.redone:
            return ""
        return (
            f"{self.redone:,} {'part' if self.redone == 1 else 'parts'} of the work "
            f"{'was' if self.redone == 1 else 'were'} done again by other processes of the "
            "cluster: those that had begun ended on the way."
        )


@contextmanager
def connected(address: str, *, workers: int | None = None) -> Iterator[Cluster]:
    """The cluster at an address, until the block ends; what runs there for us then ends, too.

    Args:
        address: HOST:PORT, `auto`, or `local`, which starts one.
        workers: processes to use at most.
    Raises:
        InputError: Ray is not installed, or no cluster answers in time; or an address of Ray's
            client, through which Ray Data does not run (2.60: no core worker).
    """
    _refuse_client(address)
    ray = _loaded(address)
    if address != LOCAL:
        _refuse_unreachable(address)
    if ray.is_initialized():
        raise InputError(
            "This program is connected to a Ray cluster already.",
            remedy="Call ray.shutdown() first.",
        )
    _connect(ray, address)
    over = threading.Event()
    try:
        with redirect_stdout(_WithoutRay(sys.stdout)):
            cluster = _found(ray, address, workers)
            head = ray.get_runtime_context().gcs_address
            threading.Thread(target=_tell_of_silence, args=(head, over), daemon=True).start()
            yield cluster
    finally:
        over.set()
        ray.shutdown()


def _tell_of_silence(head: str, over: threading.Event) -> None:
    """Say once that the head of the cluster is gone. Ray ends this process a minute after that
    without a word, and nothing of ours is asked before."""
    silent_since: float | None = None
    while not over.wait(REACH_SECONDS):
        if _why_unreachable(head) is None:
            silent_since = None
            continue
        silent_since = silent_since or time.monotonic()
        if time.monotonic() - silent_since >= SILENT_SECONDS:
            sys.stderr.write(
                f"everyclass: The head of the Ray cluster ({head}) has not answered for "
                f"{SILENT_SECONDS:g} seconds; without it this command ends with exit code 1.\n"
            )
            return


def _found(ray: Any, address: str, workers: int | None) -> Cluster:
    nodes = tuple(
        Node(
            key=one["NodeID"],
            name=f"{one['NodeManagerHostname']} ({one['NodeManagerAddress']})",
            cpus=int(one["Resources"].get("CPU", 0)),
            gpus=int(one["Resources"].get("GPU", 0)),
        )
        for one in ray.nodes()
        if one["Alive"] and one["Resources"].get("CPU", 0) >= 1
    )
    if not nodes:
        raise InputError(
            f"The Ray cluster at {address} has no machine with a processor to give.",
            remedy="Start its workers (ray start --address=HOST:PORT).",
        )
    return Cluster(address=address, nodes=nodes, workers=workers)


class _WithoutRay:
    """Standard output without what threads of Ray write to it when a process of the cluster ends.

    There is no setting for that; nothing is lost, because work is done again, or fails with an
    error. Whatever else writes is let through.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if threading.current_thread().name.startswith("ray_"):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _loaded(address: str) -> Any:
    """Ray, with what it reads from the environment when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What is not Python writes to standard error as it likes; what matters raises an exception.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if address == LOCAL:
        # Else what works here gives way to everything else on this machine.
        os.environ.setdefault("RAY_worker_niceness", "0")
    if address == LOCAL and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        # Its ports are open to the network. Left to itself, Ray keeps a token in the home folder.
        # Once it is imported it asks no more.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError(
            f"--ray needs the package 'ray' ({error}).", remedy="pip install 'everyclass[ray]'."
        ) from error
    for name in ("ray", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    return ray


def _refuse_client(address: str) -> None:
    if address.startswith(_CLIENT):
        raise InputError(
            f"{address} is an address of Ray's client, through which Ray Data does not run.",
            where="--ray",
            remedy="Give the command on a machine of the cluster, with --ray auto or HOST:PORT.",
        )


def _refuse_unreachable(address: str) -> None:
    """Ask for a connection first: Ray goes on asking for minutes."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise InputError(
            f"--ray cannot be {address!r}.",
            remedy="Write HOST:PORT, auto or local.",
        )
    reason = _why_unreachable(f"{host}:{port}")
    if reason is not None:
        raise InputError(
            f"Nothing answers at {address} ({reason}).",
            where="--ray",
            remedy="Start a cluster there (ray start --head), or use --ray local.",
        )


def _why_unreachable(address: str) -> str | None:
    """Why nothing answers at HOST:PORT; None where something does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    return None


def _connect(ray: Any, address: str) -> None:
    """Within a time; what Ray writes of its attempts is not shown."""
    failures: list[BaseException] = []
    options: dict[str, Any] = {"address": address, "log_to_driver": False}
    options["logging_level"] = logging.CRITICAL
    if address == LOCAL:
        options |= {"num_cpus": usable_cores(), "include_dashboard": False}
        options["object_store_memory"] = _LOCAL_STORE_BYTES
    else:
        own = {name: text for name, text in os.environ.items() if name.startswith("EVERYCLASS_")}
        options["runtime_env"] = {"env_vars": {"OMP_WAIT_POLICY": "PASSIVE", **own}}

    def attempt() -> None:
        try:
            ray.init(**options)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  (Ray ends a process that it cannot connect)
            failures.append(error)

    waiting = False
    with _unheard():
        if address == LOCAL:
            # Here: the kernel ends what Ray starts together with the thread that started it. Ray
            # itself limits how long that takes.
            attempt()
        else:
            # In a thread: what waits inside Ray's own code cannot be stopped, only left behind.
            connecting = threading.Thread(target=attempt, daemon=True, name="ray")
            connecting.start()
            connecting.join(CONNECT_SECONDS)
            waiting = connecting.is_alive()
    if waiting:
        _leave_unheard()
    if failures or waiting:
        told = " ".join(str(failures[0]).split()) if failures else ""
        reason = told.partition(". ")[0].rstrip(".") if told else "no answer of a Ray cluster"
        raise InputError(
            f"{address} gives no Ray cluster in {CONNECT_SECONDS:g} seconds: {reason}."
            if not failures
            else f"{address} gives no Ray cluster: {reason}.",
            where="--ray",
            remedy="Look at it with `ray status`; versions of Ray and Python must be the same "
            "here and there, and HOST:PORT is for a machine of the cluster itself.",
        )


@contextmanager
def _unheard() -> Iterator[None]:
    """Standard error goes nowhere meanwhile, also for code that is not Python's."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _leave_unheard() -> None:
    """From here on Python alone writes to standard error: an attempt that was left behind goes on
    telling how it fails."""
    own = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(own, "w", buffering=1, errors="backslashreplace")


# -- whether the machines can do our work ----------------------------------------------------------


def on_disk(paths: Iterable[str]) -> list[str]:
    """The files and folders that are on file systems of this machine, as they stand. URIs of stores
    are not, nor are patterns of names, nor what is missing here as well."""
    found = []
    for path in paths:
        address = address_of(path)
        file = path if address is None else address.file
        if not is_uri(file) and os.path.exists(file):
            found.append(file)
    return found


def refuse_blind_nodes(cluster: Cluster, paths: Iterable[str]) -> None:
    """Refuse a cluster with a machine that lacks our package, or does not see a path.

    Args:
        paths: files and folders that exist here; relative ones as seen from this folder.
    Raises:
        InputError: the first machine of which that is so, by name.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    given = (version("everyclass"), os.getcwd(), list(dict.fromkeys(paths)))
    look = ray.remote(num_cpus=0, max_retries=1)(_complaint)
    asked = {
        look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.key, soft=False)
        ).remote(*given): node
        for node in cluster.nodes
    }
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=LOOK_SECONDS)
    for answer, node in asked.items():
        if answer not in ready:
            raise InputError(
                f"Machine {node.name} started no process in {LOOK_SECONDS:g} seconds.",
                where="--ray",
                remedy="Look at it with `ray status`, or take it out of the cluster.",
            )
        try:
            complaint = ray.get(answer)
        except ray.exceptions.RayError as error:
            complaint = _of_import(str(error))
        if complaint:
            what, remedy = complaint
            raise InputError(f"Machine {node.name} {what}.", where="--ray", remedy=remedy)


def _of_import(error: str) -> tuple[str, str]:
    reason = error.strip().splitlines()[-1].strip()
    return (
        f"cannot run everyclass: {reason.rstrip('.')}",
        "Install the same everyclass, with its extra 'ray', on every machine of the cluster.",
    )


def _complaint(release: str, folder: str, paths: list[str]) -> tuple[str, str] | None:
    """On a machine of the cluster: what keeps it from working, and what to do; None for nothing."""
    own = version("everyclass")
    if own != release:
        return (
            f"has everyclass {own}, and this one {release}",
            "Install the same release on every machine of the cluster.",
        )
    enter(folder)
    for path in paths:
        if not os.path.exists(path):
            return (
                f"does not see {os.path.join(folder, path)}",
                "Put images and runs where every machine of the cluster sees them at the same "
                "path.",
            )
    return None


def enter(folder: str) -> None:
    """On a machine of the cluster: work where the command was started, so that relative paths are
    the same. Whoever needs them has been refused where that folder is not there."""
    with suppress(OSError):
        os.chdir(folder)
