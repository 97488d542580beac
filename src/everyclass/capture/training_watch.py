"""What the callbacks of all frameworks share: finder, monitor and logger of one training.

Comes in: a model when training begins, and each batch and step. Goes out: calls of the monitor. The
callbacks translate their framework's events into these few; here no framework is known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from everyclass.capture.passes import Lookup, ModuleCall, PassFinder, Stage
from everyclass.errors import InputError
from everyclass.findings import Finding
from everyclass.monitoring.loggers import LogEvery, ScalarLogger
from everyclass.monitoring.monitor import Monitor
from everyclass.monitoring.ranks import rank_sums_if_distributed

LOG = logging.getLogger("everyclass")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """What a user of a callback can say.

    Args:
        lookup: where scores and targets are.
        classes: names in output order.
        false_alarm_probability: of the whole run, see `Monitor`.
        on_finding: called once for each alarm, on every rank; may raise to end the training.
            Without it an alarm is one line of the Python logger "everyclass", on rank 0.
        logger: gets the scalars, on rank 0.
        log_every_steps: optimizer steps between two, >= 1.
    """

    lookup: Lookup
    classes: Sequence[str] | None
    false_alarm_probability: float
    on_finding: Callable[[Finding], None] | None
    logger: ScalarLogger | None
    log_every_steps: int


class TrainingWatch:
    """One training, from its first batch to its last.

    Args:
        model: whose forward passes are watched.
        optimizers: of the training. Gradients and updates are watched when there is one.
        options: what the user said.
        steps_per_epoch: passes an epoch, None when not known.
        first_rank: this process tells and logs.
    Raises:
        InputError: as `Monitor`, `PassFinder` and `LogEvery`.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        *,
        options: WatchOptions,
        steps_per_epoch: int | None,
        first_rank: bool,
    ) -> None:
        self._finder = PassFinder(model, lookup=options.lookup)
        tell = options.on_finding or (_tell if first_rank else None)
        layers = len(optimizers) == 1 and _has_plain_parameters(model)
        self.monitor = Monitor(
            classes=options.classes,
            steps_per_epoch=steps_per_epoch,
            model=model if layers else None,
            optimizer=optimizers[0] if layers else None,
            false_alarm_probability=options.false_alarm_probability,
            on_finding=tell,
            ranks=rank_sums_if_distributed(),
        )
        self._optimizers = tuple(optimizers)
        self._log = (
            LogEvery(self.monitor, options.logger, every_steps=options.log_every_steps)
            if options.logger is not None and first_rank
            else None
        )
        self._blind: set[Stage] = set()

    def batch_begins(self, stage: Stage) -> None:
        """Before the forward pass of a batch."""
        if stage not in self._blind:
            self._finder.begins(stage)

    def model_call(self) -> ModuleCall | None:
        """The last call of the model since `batch_begins`."""
        return self._finder.root_call()

    def batch_ends(
        self, stage: Stage, batch: Any, *, returned: Any = None, loss: Tensor | None = None
    ) -> None:
        """After it: what was found goes to the monitor.

        Args:
            batch: holds the targets.
            returned: what the step returned.
            loss: mean over the batch's images.
        Raises:
            InputError: on the first training batch, when scores or targets are not found. Of
                evaluation batches only a warning is logged: they may be of another kind.
        """
        if stage in self._blind:
            return
        try:
            reading = self._finder.found(stage, batch, returned=returned, loss=loss)
        except InputError as error:
            if stage == "training":
                self._finder.close()
                raise
            self._blind.add(stage)
            LOG.warning("everyclass does not watch the evaluation. %s", error)
            return
        if reading is None:
            return
        if stage == "training":
            self.monitor.observe(reading.scores, reading.targets, loss, kind=reading.kind)
        else:
            self.monitor.observe_evaluation(reading.scores, reading.targets, kind=reading.kind)

    def steps_taken(self, total: int) -> None:
        """How many optimizer steps the training has made by now, since it began."""
        while self.monitor.steps < total:
            self.monitor.advance(learning_rate=self._rate())
        if self._log is not None:
            self._log()

    def evaluation_ends(self) -> None:
        """The evaluation is complete; on all ranks."""
        self.monitor.end_evaluation()

    def ends(self) -> None:
        """The training is over, on all ranks: read what waits and unhook."""
        self._finder.close()
        self.monitor.catch_up()
        self.monitor.close()

    def breaks_off(self) -> None:
        """The training failed on this rank: unhook and wait for nobody."""
        self._finder.close()
        self.monitor.close()

    def _rate(self) -> float | None:
        if not self._optimizers:
            return None
        rate = self._optimizers[0].param_groups[0]["lr"]
        on_device = isinstance(rate, Tensor) and rate.device.type != "cpu"
        return None if on_device else float(rate)


def import_framework(module: str, *, install: str) -> ModuleType:
    """A framework's module.

    Args:
        install: what `pip install` takes to get it.
    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise InputError(
            f"{module} is not installed.", remedy=f"pip install '{install}'"
        ) from error


def not_begun() -> InputError:
    """The error of asking for the monitor of a training that has not begun."""
    return InputError(
        "There is no monitor before the training has begun.", remedy="Read it during or after."
    )


def _tell(finding: Finding) -> None:
    LOG.warning("everyclass: %s (step %s). %s", finding.id, finding.seen_step, finding.sentence)


def _has_plain_parameters(model: nn.Module) -> bool:
    """Not those of a model cut into pieces: reading these is a collective of its own."""
    return all(type(one) is nn.Parameter for one in model.parameters())
