"""The processes of one training brought together, and Fabric for them.

Comes in: what torchrun, srun or Ray Train says (`launched`). Goes out: `Processes` that can talk to
each other, and a Fabric whose models average their gradients over them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from uuid import uuid4

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from everyclass.errors import EveryclassError, InputError
from everyclass.settings import Device, Settings
from everyclass.training.fabric import (
    ClusterEnvironment,
    DDPStrategy,
    Fabric,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from everyclass.training.processes import ALONE, PATIENCE, Processes
from everyclass.workflows.inference import make_fabric
from everyclass.workflows.launched import Launch, find_launch

_SYNC_BUFFERS = (
    "forward_sync_buffers"
    if "forward_sync_buffers" in signature(DistributedDataParallel.__init__).parameters
    else "broadcast_buffers"
)
"""What DDP calls sending the first process's buffers before each forward pass; torch 2.14 renamed
it."""

POLL_SECONDS = 0.02


class OtherProcessEnded(EveryclassError):
    """A process that this one trains with is gone. Exit code 1."""


@contextmanager
def together(launch: Launch) -> Iterator[Processes]:
    """All processes of this launch, once each of them is here; `ALONE` where it is one.

    Raises:
        OtherProcessEnded: another one ended before its time; what it says tells why.
    """
    if launch.size == 1:
        yield ALONE
        return
    with told_of_lost_process(launch):
        if launch.launcher != "Ray Train":  # whose processes have met already
            # Gloo for tensors on the processor, NCCL for those on graphics cards: on which of them
            # is trained is not decided yet.
            dist.init_process_group(
                store=_meeting_point(launch), rank=launch.rank, world_size=launch.size
            )
        yield Processes(
            rank=launch.rank,
            size=launch.size,
            local_rank=launch.local_rank,
            local_size=launch.local_size,
            hosts=dist.new_group(backend="gloo", timeout=PATIENCE),  # type: ignore[arg-type]
        )
    if launch.launcher != "Ray Train":
        # Only here: after an error some process may still wait inside, and would be waited for.
        dist.destroy_process_group()


def _meeting_point(launch: Launch) -> Store:
    """Where the processes of this very start find each other.

    torchrun (torch 2.14) keeps one store through all restarts, with the addresses of processes that
    are gone. So the first process chooses a new name under which all of this start meet. Others ask
    for it by a number that nobody has used: no old answer can be taken for a new one.
    """
    environment = _environment(launch)
    url = "env://"  # torchrun keeps the store itself; srun's first task opens one
    if launch.launcher == "srun":
        url = f"tcp://{environment.main_address}:{environment.main_port}"
    store, _, _ = next(rendezvous(url, rank=launch.rank, world_size=launch.size))
    name = uuid4().hex
    if launch.rank > 0:
        store.set(f"everyclass/asks/{launch.rank}", name)
        start = store.get(f"everyclass/answers/{launch.rank}/{name}").decode()
        store.set(f"everyclass/{start}/{launch.rank}", "here")
        return PrefixStore(start, store)
    waited_for = list(range(1, launch.size))
    while waited_for:
        for rank in waited_for:
            if store.check([f"everyclass/asks/{rank}"]):
                asks = store.get(f"everyclass/asks/{rank}").decode()
                store.set(f"everyclass/answers/{rank}/{asks}", name)
        time.sleep(POLL_SECONDS)
        waited_for = [one for one in waited_for if not store.check([f"everyclass/{name}/{one}"])]
    return PrefixStore(name, store)


@contextmanager
def told_of_lost_process(launch: Launch) -> Iterator[None]:
    """Say what a failed exchange between processes means.

    Raises:
        OtherProcessEnded: in the place of what torch raises.
    """
    try:
        yield
    except RuntimeError as error:
        if not _lost_connection(error):
            raise
        raise OtherProcessEnded(
            f"Another of the {launch.size} processes ended, and process {launch.rank} cannot go on "
            "without it. What that one printed tells why."
        ) from error


def fabric_of(settings: Settings, processes: Processes) -> Fabric:
    """Fabric for the steps of a training: on one device each, gradients averaged over all."""
    if not processes.several:
        return make_fabric(device=settings.device, precision=settings.precision)
    strategy = DDPStrategy(
        cluster_environment=_environment(find_launch()),
        # Statistics of batch normalisation are the same on all: see `batch_statistics`.
        **{_SYNC_BUFFERS: False},
    )
    fabric = make_fabric(
        device=settings.device,
        precision=settings.precision,
        strategy=strategy,
        devices=processes.local_size,
        nodes=processes.size // processes.local_size,
    )
    fabric.launch()
    return fabric


def refuse_device(device: Device, processes: Processes) -> None:
    """Refuse a device that several processes cannot train on, or that this machine has too few of.

    Raises:
        InputError: it is so.
    """
    if device == "mps" and processes.several:
        raise InputError(
            f"{processes.size} processes cannot share a training on mps.",
            remedy="Use --device cpu, or one process.",
        )
    here, local = torch.cuda.device_count(), processes.local_size
    if device == "cuda" and here < local:
        raise InputError(
            f"{local} processes were started on a machine with {here} CUDA devices.",
            remedy="Start one a device, or use --device cpu.",
        )


def device_of(settings: Settings, processes: Processes) -> torch.device:
    """Where this process computes."""
    if settings.device == "cuda":
        return torch.device("cuda", processes.local_rank)
    return torch.device(settings.device)


def _environment(launch: Launch) -> ClusterEnvironment:
    if launch.launcher == "srun":
        return SLURMEnvironment(auto_requeue=False)
    return TorchElasticEnvironment()


def _lost_connection(error: RuntimeError) -> bool:
    """Whether an exchange failed for want of another process. Gloo has no class for it."""
    if isinstance(error, dist.DistError):
        return True
    told = str(error).lower()
    return "gloo" in told or "connection closed" in told or "connection reset" in told
