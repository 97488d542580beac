"""`EveryclassHandler` for Ignite: `EveryclassHandler().attach(trainer, model=model)`.

Comes in: the events of Ignite's engines. Goes out: a watched run. Ignite is imported by `attach`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from everyclass.capture.passes import Lookup
from everyclass.capture.training_watch import (
    TrainingWatch,
    WatchOptions,
    import_framework,
    not_begun,
)
from everyclass.errors import InputError
from everyclass.findings import Finding
from everyclass.monitoring.loggers import EVERY_STEPS, ScalarLogger
from everyclass.monitoring.measures import ScoreKind
from everyclass.monitoring.monitor import Monitor


class EveryclassHandler:
    """Watches a training engine and the evaluators that run beside it.

    Scores and targets are looked for once, on the first batch: a loss module of the model, or the
    output of a module and the tensor of the batch that give the loss. An engine's output is taken
    for the loss when it is a number or holds one named `loss`.

    Args:
        classes: names in output order.
        module: name of the submodule whose output holds the scores.
        logits: takes them, (B, C) or (B,) for two classes, out of what that module returned.
        targets: takes (B,) class ids or (B, C) one-hot rows out of a batch.
        kind: what the scores are.
        false_alarm_probability: of the whole run; the nulls are in `monitoring.alarms`.
        on_finding: called once for each alarm, on every rank; may raise, or terminate the engine.
            Without it an alarm is one line of the Python logger "everyclass".
        logger: gets the scalars.
        log_every_steps: optimizer steps between two, >= 1.

    Example:
        >>> handler = EveryclassHandler(classes=["cat", "dog"])
        >>> handler.attach(trainer, model=model, optimizer=optimizer, evaluators=[evaluator])
        >>> trainer.run(loader, max_epochs=3)
        >>> handler.monitor.summary(ended=True).verdict
        'healthy'
    """

    def __init__(
        self,
        *,
        classes: Sequence[str] | None = None,
        module: str | None = None,
        logits: Callable[[Any], Tensor] | None = None,
        targets: Callable[[Any], Tensor] | None = None,
        kind: ScoreKind | None = None,
        false_alarm_probability: float = 0.01,
        on_finding: Callable[[Finding], None] | None = None,
        logger: ScalarLogger | None = None,
        log_every_steps: int = EVERY_STEPS,
    ) -> None:
        self._options = WatchOptions(
            lookup=Lookup(module=module, logits=logits, targets=targets, kind=kind),
            classes=classes,
            false_alarm_probability=false_alarm_probability,
            on_finding=on_finding,
            logger=logger,
            log_every_steps=log_every_steps,
        )
        self._watch: TrainingWatch | None = None
        self._trainer: Any = None
        self._model: nn.Module | None = None
        self._optimizer: Optimizer | None = None
        self._steps = 0
        self._in_batch = False
        self._running = False

    @property
    def monitor(self) -> Monitor:
        """The monitor of the last run.

        Raises:
            InputError: no run has begun.
        """
        if self._watch is None:
            raise not_begun()
        return self._watch.monitor

    def attach(
        self,
        trainer: Any,
        *,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        evaluators: Sequence[Any] = (),
    ) -> None:
        """Add the handlers; once, for one trainer.

        Args:
            trainer: the engine that trains.
            model: that it calls.
            optimizer: its steps are counted, and gradients and updates watched. Without it every
                iteration counts as a step.
            evaluators: engines whose batches, while the trainer runs, are evaluations.
        Raises:
            InputError: Ignite is not installed, or the handler is attached already.
        """
        events = import_framework("ignite.engine", install="everyclass[ignite]").Events
        if self._trainer is not None:
            raise InputError("The handler is attached already.", remedy="Make another one.")
        self._trainer, self._model, self._optimizer = trainer, model, optimizer
        if optimizer is not None:
            optimizer.register_step_post_hook(self._stepped)
        # None for EXCEPTION_RAISED: an engine that has such a handler no longer raises.
        trainer.add_event_handler(events.STARTED, self._begins)
        trainer.add_event_handler(events.ITERATION_STARTED, self._batch_begins)
        trainer.add_event_handler(events.ITERATION_COMPLETED, self._batch_ends)
        trainer.add_event_handler(events.COMPLETED, self._ends)
        trainer.add_event_handler(events.TERMINATE, self._ends)
        for evaluator in evaluators:
            evaluator.add_event_handler(events.ITERATION_STARTED, self._evaluation_batch_begins)
            evaluator.add_event_handler(events.ITERATION_COMPLETED, self._evaluation_batch_ends)
            evaluator.add_event_handler(events.COMPLETED, self._evaluation_ends)

    def _begins(self, engine: Any) -> None:
        assert self._model is not None
        if self._watch is not None:
            self._watch.breaks_off()
        passes = engine.state.epoch_length
        rank = import_framework("ignite.distributed", install="everyclass[ignite]").get_rank()
        self._watch = TrainingWatch(
            self._model,
            () if self._optimizer is None else (self._optimizer,),
            options=self._options,
            steps_per_epoch=passes,
            first_rank=rank == 0,
        )
        self._steps, self._in_batch, self._running = 0, False, True

    def _stepped(self, _: Optimizer, args: object, keywords: object) -> None:
        self._steps += 1

    def _batch_begins(self, engine: Any) -> None:
        if self._watch is not None:
            self._watch.batch_begins("training")
            self._in_batch = True

    def _batch_ends(self, engine: Any) -> None:
        if self._watch is None or not self._in_batch:
            return
        self._in_batch = False
        output = engine.state.output
        self._watch.batch_ends(
            "training", engine.state.batch, returned=output, loss=_loss_in(output)
        )
        counted = self._optimizer is not None
        self._watch.steps_taken(self._steps if counted else engine.state.iteration)

    def _evaluation_batch_begins(self, engine: Any) -> None:
        if self._watch is not None and self._running:
            # An evaluator may be run by a handler of the same event that came before ours.
            self._batch_ends(self._trainer)
            self._watch.batch_begins("evaluation")

    def _evaluation_batch_ends(self, engine: Any) -> None:
        if self._watch is not None and self._running:
            self._watch.batch_ends("evaluation", engine.state.batch, returned=engine.state.output)

    def _evaluation_ends(self, engine: Any) -> None:
        if self._watch is not None and self._running:
            self._watch.evaluation_ends()

    def _ends(self, engine: Any) -> None:
        if self._watch is not None and self._running:
            self._running = False
            self._watch.ends()


def _loss_in(output: Any) -> Tensor | None:
    """The loss in an engine's output: a number, or what is named so."""
    loss = output.get("loss") if isinstance(output, Mapping) else output
    if isinstance(loss, float):
        return torch.tensor(loss)
    return loss if isinstance(loss, Tensor) and loss.dim() == 0 else None
