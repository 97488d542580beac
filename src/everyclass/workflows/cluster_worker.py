"""One process of a training on a Ray cluster: what Ray Train's worker calls.

Comes in: who this process is, as Ray Train says, and what was asked for. Goes out: a part in the
same training that torchrun and srun start (`train_together`). The first process sends what it tells
to the process that asked, and hears from there when to stop.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everyclass.errors import EveryclassError
from everyclass.workflows.cluster import enter
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.events import AuditProgress, Event
from everyclass.workflows.follow import Followed
from everyclass.workflows.launch import OtherProcessEnded
from everyclass.workflows.launched import RAY_NAME, RAY_STARTS
from everyclass.workflows.train import TrainOptions
from everyclass.workflows.train_together import train_together

ASK_SECONDS = 0.5  # between questions whether to stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a training on a cluster is asked for.

    Args:
        name: of this launch, and no other's.
        folder: in which the command was started.
        command: the words that were typed.
        post: an actor of `cluster_post.Post`.
    """

    data: DataSource
    out: Path
    options: TrainOptions
    go_on: bool
    name: str
    folder: str
    command: tuple[str, ...]
    post: Any


def train_here(config: dict[str, Any]) -> None:
    """Take part in a training; called by Ray Train on each of its workers.

    An error that another attempt would meet again is sent and not raised: Ray Train would start
    anew. A lost process is one that it should.

    Args:
        config: with an `Order` as "order".
    """
    import ray

    order: Order = config["order"]
    enter(order.folder)
    sys.argv[:] = order.command  # environment.json says what was typed
    line = _Line(order.post)
    first = _announce(order, line)
    try:
        outcome = train_together(
            order.data,
            order.out,
            order.options,
            go_on=order.go_on,
            on_event=line.tell,
            stop=line.stop_asked,
        )
    except Followed:
        return  # the first process has sent why
    except OtherProcessEnded:
        raise
    except (EveryclassError, KeyboardInterrupt) as error:
        ray.get(order.post.end.remote(ray.cloudpickle.dumps(error)))
        return
    if first:
        ray.get(order.post.end.remote(ray.cloudpickle.dumps(outcome)))


def _announce(order: Order, line: _Line) -> bool:
    """Say to this process who it is, as torchrun would; whether it is the first."""
    import ray.train

    context = ray.train.get_context()
    rank = int(context.get_world_rank())
    first = rank == 0
    os.environ.update(
        {
            RAY_NAME: order.name,
            RAY_STARTS: str(line.begun() if first else 1),
            "RANK": str(rank),
            "WORLD_SIZE": str(context.get_world_size()),
            "LOCAL_RANK": str(context.get_local_rank()),
            "LOCAL_WORLD_SIZE": str(context.get_local_world_size()),
        }
    )
    return first


class _Line:
    """To and from the process that asked. Nothing here waits, but for the begin."""

    def __init__(self, post: Any) -> None:
        self._post = post
        self._asked = False
        self._question: Any = None
        self._next = 0.0

    def begun(self) -> int:
        import ray

        return int(ray.get(self._post.begun.remote()))

    def tell(self, event: Event) -> None:
        import ray

        self._post.tell.remote(ray.cloudpickle.dumps(event))
        if isinstance(event, AuditProgress) and self.stop_asked():
            raise KeyboardInterrupt  # as on one machine: there is nothing to save yet

    def stop_asked(self) -> bool:
        import ray

        if self._asked:
            return True
        if self._question is not None:
            ready, _ = ray.wait([self._question], timeout=0)
            if ready:
                self._asked, self._question = bool(ray.get(ready[0])), None
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + ASK_SECONDS
            self._question = self._post.stop_asked.remote()
        return self._asked
