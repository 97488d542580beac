"""`EveryclassCallback` for the Hugging Face Trainer, an entry of its `callbacks`.

Comes in: the Trainer's events and the calls of its model. Goes out: a watched training. Importing
this module imports transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from everyclass.capture.pairs import TARGET_NAMES
from everyclass.capture.passes import Lookup, ModuleCall, Stage
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

_Callback: Any = import_framework("transformers", install="everyclass[huggingface]").TrainerCallback

LossFunction = Callable[..., Any]


class EveryclassCallback(_Callback):  # type: ignore[misc]
    """Watches the training: what is predicted, whether it learns, whether it collapses.

    Scores are the `logits` of the model's output, targets the `labels` that it is called with.
    A Trainer that keeps the labels from the model (label smoothing, `compute_loss_func`, a
    `compute_loss` of one's own) shows them to `watch_loss`. Evaluations during the training are
    watched too. Class names are those of the model's configuration.

    Args:
        classes: names in output order.
        module: name of the submodule whose output holds the scores.
        logits: takes them, (B, C) or (B,) for two classes, out of what that module returned.
        targets: takes (B,) class ids or (B, C) one-hot rows out of what the model is called with.
        kind: what the scores are.
        false_alarm_probability: of the whole run; the nulls are in `monitoring.alarms`.
        on_finding: called once for each alarm, on every rank; may raise to end the training.
            Without it an alarm is one line of the Python logger "everyclass".
        logger: gets the scalars.
        log_every_steps: optimizer steps between two, >= 1.
    Raises:
        InputError: on the first training batch, when scores or targets are not found; at the
            beginning, when the Trainer uses DataParallel.

    Example:
        >>> callback = EveryclassCallback()
        >>> trainer = Trainer(model, arguments, train_dataset=images, callbacks=[callback])
        >>> trainer.train()
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
        self._options = WatchOptions(
            lookup=Lookup(module=module, logits=logits, targets=targets, kind=kind),
            classes=classes,
            false_alarm_probability=false_alarm_probability,
            on_finding=on_finding,
            logger=logger,
            log_every_steps=log_every_steps,
        )
        self._watch: TrainingWatch | None = None
        self._stage: Stage | None = None
        self._labels: Tensor | None = None

    @property
    def monitor(self) -> Monitor:
        """The monitor of the last training.

        Raises:
            InputError: no training has begun.
        """
        if self._watch is None:
            raise not_begun()
        return self._watch.monitor

    def watch_loss(self, function: LossFunction) -> LossFunction:
        """The same loss function, of which the labels are seen.

        For `Trainer(compute_loss_func=callback.watch_loss(f))`, and after the Trainer was made
        `trainer.label_smoother = callback.watch_loss(trainer.label_smoother)`.

        Args:
            function: called with (outputs, labels, ...), as the Trainer does.
        """

        def watched(outputs: Any, labels: Any, *args: Any, **keywords: Any) -> Any:
            self._labels = labels if isinstance(labels, Tensor) else None
            return function(outputs, labels, *args, **keywords)

        return watched

    def show_labels(self, labels: Tensor) -> None:
        """For a `compute_loss` that takes the labels out of the inputs itself: call it there."""
        self._labels = labels

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """A training begins."""
        if args.n_gpu > 1:
            raise InputError(
                f"The Trainer divides each batch among {args.n_gpu} devices by threads, where "
                "the model's outputs cannot be watched.",
                remedy="Start the script with torchrun, or show it one device.",
            )
        model, optimizer = given["model"], _inner(given["optimizer"])
        options = self._options
        if options.classes is None:
            options = replace(options, classes=_class_names(model))
        loader: Any = given.get("train_dataloader")
        self._watch = TrainingWatch(
            model,
            [optimizer],
            options=options,
            steps_per_epoch=len(loader) if hasattr(loader, "__len__") else None,
            first_rank=state.is_world_process_zero,
        )
        self._watch.steps_taken(state.global_step)
        self._begin("training")

    def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """The first batch of an optimizer step comes."""
        self._begin("training")

    def on_substep_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """A batch that accumulates is done."""
        self._end(state)
        self._begin("training")

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """A batch is done and the optimizer has stepped; an evaluation may follow."""
        self._end(state)
        self._begin("evaluation")

    def on_prediction_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """A batch is evaluated."""
        if self._stage == "evaluation":
            self._end(state)
            self._begin("evaluation")

    def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """All batches are."""
        if self._watch is not None and self._stage is not None:
            self._watch.evaluation_ends()

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """The training is over."""
        if self._watch is not None and self._stage is not None:
            self._stage = None
            self._watch.ends()

    def _begin(self, stage: Stage) -> None:
        if self._watch is not None:
            self._stage, self._labels = stage, None
            self._watch.batch_begins(stage)

    def _end(self, state: Any) -> None:
        if self._watch is None or self._stage is None:
            return
        call = self._watch.model_call()
        if call is not None:
            batch = dict(call.inputs)
            if self._labels is not None:
                batch["labels"] = self._labels
            if self._stage == "training":
                self._must_have_targets(batch)
            self._watch.batch_ends(self._stage, batch, loss=_mean_loss(call, batch))
        if self._stage == "training":
            self._watch.steps_taken(state.global_step)

    def _must_have_targets(self, batch: Mapping[Any, Any]) -> None:
        if self._options.lookup.targets is None and not set(batch) & set(TARGET_NAMES):
            raise InputError(
                "The Trainer calls the model without labels "
                f"(with {', '.join(str(one) for one in batch)}).",
                remedy="Show them: compute_loss_func=callback.watch_loss(f), or trainer."
                "label_smoother = callback.watch_loss(trainer.label_smoother), or "
                "callback.show_labels(labels) in a compute_loss of your own.",
            )


def _inner(optimizer: Any) -> Optimizer:
    """What accelerate wraps."""
    while not isinstance(getattr(optimizer, "optimizer", None), (type(None), Tensor)):
        optimizer = optimizer.optimizer
    found: Optimizer = optimizer
    return found


def _class_names(model: Any) -> tuple[str, ...] | None:
    """Those of the configuration, unless they are its defaults."""
    names = getattr(getattr(model, "config", None), "id2label", None) or {}
    if len(names) < 2 or set(names) != set(range(len(names))):
        return None
    ordered = tuple(str(names[i]) for i in range(len(names)))
    return None if ordered == tuple(f"LABEL_{i}" for i in range(len(names))) else ordered


def _mean_loss(call: ModuleCall, batch: Mapping[Any, Any]) -> Tensor | None:
    """The model's own loss as a mean over its images.

    With gradient accumulation the Trainer has it divided by the images of all batches together.
    """
    output = call.output
    loss: Any = output.get("loss") if isinstance(output, Mapping) else None
    if not isinstance(loss, Tensor) or loss.dim() != 0:
        return None
    total, labels = batch.get("num_items_in_batch"), batch.get("labels")
    if total is None or not isinstance(labels, Tensor):
        return loss
    counted = (labels != -100).sum().clamp(min=1)
    mean: Tensor = loss.detach() * (total / counted)
    return mean
