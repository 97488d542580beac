"""The monitor's scalars, sent to the logger that somebody uses already.

Comes in: names and numbers with their step. Goes out: calls of TensorBoard, W&B, MLflow or Trackio,
given as objects, so that none of them is imported here. Knows no loop.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Protocol

from everyclass.errors import InputError
from everyclass.monitoring.monitor import Monitor

EVERY_STEPS = 50

STEP_NAME = "everyclass/step"


class ScalarLogger(Protocol):
    """Whatever takes numbers by name: write one method for a logger that is not below."""

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Store the numbers of one step."""


class TensorBoardLogger:
    """Scalars of a `torch.utils.tensorboard.SummaryWriter`.

    Args:
        writer: opened, flushed and closed by its owner.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = _with_method(writer, "add_scalar", "a TensorBoard SummaryWriter")

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """One point of each scalar."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, global_step=step)


class WandbLogger:
    """History of a W&B run.

    The step is logged as a metric of its own and made the axis of ours. W&B's own step counts
    calls of `log`, may only grow, and belongs to the script.

    Args:
        run: what `wandb.init()` gave.
    """

    def __init__(self, run: Any) -> None:
        self._run = _with_method(run, "define_metric", "a W&B run")
        run.define_metric(STEP_NAME)
        run.define_metric("everyclass/*", step_metric=STEP_NAME)

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """One row of the history."""
        self._run.log({**scalars, STEP_NAME: step})


class MlflowLogger:
    """Metrics of an MLflow run.

    Args:
        client: an `mlflow.MlflowClient`.
        run_id: of a run that exists; it is neither started nor ended here.
    """

    def __init__(self, client: Any, *, run_id: str) -> None:
        self._client = _with_method(client, "log_batch", "an MlflowClient")
        self._run_id = run_id

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """All scalars in one request; characters that MLflow refuses in a name become `_xx_`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(mlflow_name(name), value, now, step) for name, value in scalars.items()]
        self._client.log_batch(self._run_id, metrics=metrics)


class TrackioLogger:
    """Metrics of a Trackio run.

    Args:
        run: what `trackio.init()` gave.
    """

    def __init__(self, run: Any) -> None:
        self._run = _with_method(run, "log", "a Trackio run")

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """One row."""
        self._run.log(dict(scalars), step=step)


class LogEvery:
    """Sends the scalars of a monitor every so many steps; call it once a step.

    Args:
        monitor: whose scalars.
        logger: where they go.
        every_steps: optimizer steps between two, >= 1.
    Raises:
        InputError: every_steps below 1.

    Example:
        >>> class Memory:
        ...     def __init__(self): self.steps = []
        ...     def log(self, scalars, step): self.steps.append(step)
        >>> monitor, memory = Monitor(), Memory()
        >>> log = LogEvery(monitor, memory, every_steps=2)
        >>> for _ in range(8):
        ...     monitor.step(torch.randn(32, 3), torch.arange(32) % 3)
        ...     log()
        >>> memory.steps
        [2, 4, 6, 8]
    """

    def __init__(
        self, monitor: Monitor, logger: ScalarLogger, *, every_steps: int = EVERY_STEPS
    ) -> None:
        if every_steps < 1:
            raise InputError(f"every_steps is {every_steps}; at least 1 is needed.")
        self._monitor = monitor
        self._logger = logger
        self._every = every_steps
        self._sent = 0

    def __call__(self) -> None:
        """Send, if a multiple of `every_steps` was reached since and there is anything to send."""
        step = self._monitor.steps
        if step // self._every <= self._sent // self._every:
            return
        scalars = self._monitor.scalars()
        if scalars:
            self._logger.log(scalars, step)
            self._sent = step


def mlflow_name(name: str) -> str:
    """The name with those characters that MLflow refuses replaced by their code."""
    return re.sub(r"[^\w\-. /]", lambda found: f"_{ord(found[0]):x}_", name, flags=re.ASCII)


def _with_method(target: Any, method: str, what: str) -> Any:
    if not callable(getattr(target, method, None)):
        raise InputError(
            f"A {type(target).__name__} was given where {what} is expected (no method '{method}')."
        )
    return target
