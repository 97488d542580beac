"""`EveryclassCallback` for Lightning: `Trainer(callbacks=[EveryclassCallback()])`.

Comes in: Lightning's events. Goes out: a watched fit. Works with `pytorch_lightning` and with
`lightning.pytorch`, whichever the script uses; importing this module imports one of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from everyclass.capture.passes import Lookup
from everyclass.capture.training_watch import (
    TrainingWatch,
    WatchOptions,
    import_framework,
    not_begun,
)
from everyclass.findings import Finding
from everyclass.monitoring.loggers import EVERY_STEPS, ScalarLogger
from everyclass.monitoring.measures import ScoreKind
from everyclass.monitoring.monitor import Monitor

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def _callback_base() -> Any:
    """The Callback class of the Lightning in use; of two that are, both.

    A trainer calls its callbacks by the names of their methods, so a list of callbacks works with
    either package whatever the base is.
    """
    names = [name for name in _PACKAGES if name in sys.modules]
    if not names:
        both = find_spec("lightning") is not None
        names = [_PACKAGES[0] if both else _PACKAGES[1]]
    bases = [import_framework(name, install="pytorch-lightning").Callback for name in names]
    return type("LightningBase", tuple(bases), {})


_Callback: Any = _callback_base()


class EveryclassCallback(_Callback):  # type: ignore[misc]
    """Watches the fit: what is predicted, whether it learns, whether it collapses.

    Scores and targets are looked for once, on the first batch: `logits` in what `training_step`
    returns, a loss module of the LightningModule (its inputs), or the output of a module and the
    tensor of the batch that give the loss. What is found nowhere has to be said. Validation
    batches of the fit are watched as evaluations, the sanity check is not.

    Args:
        classes: names in output order.
        module: name of the submodule whose output holds the scores.
        logits: takes them, (B, C) or (B,) for two classes, out of what that module returned.
        targets: takes (B,) class ids or (B, C) one-hot rows out of a batch.
        kind: what the scores are.
        false_alarm_probability: of the whole run; the nulls are in `monitoring.alarms`.
        on_finding: called once for each alarm, on every rank; may raise to end the fit. Without
            it an alarm is one line of the Python logger "everyclass".
        logger: gets the scalars; without it, the loggers of the trainer do.
        log_every_steps: optimizer steps between two, >= 1.
    Raises:
        InputError: on the first training batch, when scores or targets are not found.

    Example:
        >>> callback = EveryclassCallback(classes=["cat", "dog"])
        >>> trainer = Trainer(callbacks=[callback])
        >>> trainer.fit(model, loader)
        >>> callback.monitor.summary(ended=True).verdict
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
        super().__init__()
        self._options = WatchOptions(
            lookup=Lookup(module=module, logits=logits, targets=targets, kind=kind),
            classes=classes,
            false_alarm_probability=false_alarm_probability,
            on_finding=on_finding,
            logger=logger,
            log_every_steps=log_every_steps,
        )
        self._watch: TrainingWatch | None = None
        self._fitting = False

    @property
    def monitor(self) -> Monitor:
        """The monitor of the last fit.

        Raises:
            InputError: no fit has begun.
        """
        if self._watch is None:
            raise not_begun()
        return self._watch.monitor

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """A fit begins; its sanity check is over."""
        options = self._options
        if options.logger is None and trainer.loggers:
            options = replace(options, logger=_TrainerLoggers(trainer.loggers))
        passes = trainer.num_training_batches
        self._watch = TrainingWatch(
            pl_module,
            trainer.optimizers,
            options=options,
            steps_per_epoch=int(passes) if passes != float("inf") else None,
            first_rank=trainer.is_global_zero,
        )
        self._watch.steps_taken(trainer.global_step)
        self._fitting = True

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """A training batch comes."""
        if self._watch is not None:
            self._watch.batch_begins("training")

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Its step is done; of several batches that accumulate, the last one steps."""
        if self._watch is None:
            return
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else None
        if isinstance(loss, Tensor) and pl_module.automatic_optimization:
            loss = loss * trainer.accumulate_grad_batches
        self._watch.batch_ends("training", batch, returned=outputs, loss=loss)
        self._watch.steps_taken(trainer.global_step)

    def on_validation_batch_start(
        self,
        trainer: Any,
        pl_module: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A validation batch comes."""
        if self._watch is not None and self._fitting:
            self._watch.batch_begins("evaluation")

    def on_validation_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """It is evaluated."""
        if self._watch is not None and self._fitting:
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            loss = loss if isinstance(loss, Tensor) and loss.dim() == 0 else None
            self._watch.batch_ends("evaluation", batch, returned=outputs, loss=loss)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """All validation batches are."""
        if self._watch is not None and self._fitting:
            self._watch.evaluation_ends()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """The fit is over, or was stopped."""
        if self._watch is not None and self._fitting:
            self._watch.ends()
        self._fitting = False

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The fit failed."""
        if self._watch is not None:
            self._watch.breaks_off()
        self._fitting = False


class _TrainerLoggers:
    """The loggers of a Lightning trainer as one `ScalarLogger`."""

    def __init__(self, loggers: Sequence[Any]) -> None:
        self._loggers = tuple(loggers)

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        for one in self._loggers:
            one.log_metrics(dict(scalars), step=step)
