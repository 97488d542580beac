"""A live training as a `Case`: what somebody passes to `check` and `diagnose`.

Comes in: a model, batches, a loss function, optimizers, as a training loop has them. Goes out: a
`Case`, or an InputError that says which argument is of the wrong kind. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from everyclass.diagnosis.case import CapturedBatch, Case
from everyclass.diagnosis.nested import scores_in, tensors_in
from everyclass.errors import InputError

TARGET_KEYS = ("labels", "label", "targets", "target", "y")

Batch = tuple[Any, Tensor] | Sequence[Any] | Mapping[str, Any]
LossFunction = Callable[[Any, Tensor], Tensor]


def live_case(
    model: nn.Module,
    batches: Sequence[tuple[str, Batch]],
    loss_fn: LossFunction | None,
    optimizer: Optimizer | Sequence[Optimizer] | None,
    *,
    evaluation: Sequence[tuple[str, Batch]] = (),
    classes: Sequence[str] = (),
    class_counts: Sequence[int] | None = None,
    initial_state: Mapping[str, Tensor] | None = None,
) -> Case:
    """The case.

    Args:
        batches, evaluation: (the argument's name for messages, a batch).
        loss_fn: None when the model computes its own loss.
        classes, class_counts, initial_state: see `Case`; the names of the classes in order.
    Raises:
        InputError: an argument is of the wrong kind.
    """
    require(isinstance(model, nn.Module), f"model is {kind(model)}.", "Pass a torch.nn.Module.")
    require(
        not any(isinstance(p, UninitializedParameter) for p in model.parameters()),
        "The model has lazy layers that have seen no batch yet.",
        "Send one batch through it first.",
    )
    own = loss_fn is None
    require(own or callable(loss_fn), f"loss_fn is {kind(loss_fn)}.", "Pass a function.")
    counts = None if class_counts is None else tuple(int(one) for one in class_counts)
    require(
        counts is None or not classes or len(counts) == len(classes),
        f"{len(counts or ())} class_counts for {len(classes)} classes.",
        "Give one count a class.",
    )
    return Case(
        model=model,
        optimizers=optimizers_of(optimizer),
        loss_function=own_loss if loss_fn is None else fitted_loss(loss_fn),
        n_classes=len(classes) or (len(counts) if counts else None),
        batches=tuple(captured(one, name, keep_targets=own) for name, one in batches),
        evaluation=tuple(captured(one, name, keep_targets=own) for name, one in evaluation),
        class_counts=counts,
        initial_state=initial_state,
    )


def captured(batch: Batch, name: str, *, keep_targets: bool) -> CapturedBatch:
    """The batch in the form of captured ones."""
    inputs, targets = _parted(batch, name)
    require(
        isinstance(targets, Tensor),
        f"The targets of {name} are {kind(targets)}.",
        "Pass a tensor.",
    )
    if isinstance(batch, Mapping) and keep_targets:
        inputs = dict(batch)  # the model computes its own loss from the targets
    tensors = list(tensors_in(inputs))
    require(bool(tensors), f"{name} holds no input tensor.", "Pass (inputs, targets).")
    sizes = {tensor.shape[0] for tensor in tensors if tensor.ndim}
    require(
        targets.ndim == 0 or targets.shape[0] in sizes,
        f"{name} has {targets.shape[0] if targets.ndim else 1} targets for inputs of "
        f"{sorted(sizes)} rows.",
        "Pass inputs and targets of the same images.",
    )
    if isinstance(inputs, Mapping):
        return CapturedBatch(args=(), keywords=dict(inputs), targets=targets)
    args = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    return CapturedBatch(args=args, targets=targets)


def _parted(batch: Batch, name: str) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        key = next((one for one in TARGET_KEYS if one in batch), None)
        require(
            key is not None,
            f"{name} is a dict without targets (keys: {', '.join(map(str, batch))}).",
            "Name them 'labels', or pass (inputs, targets).",
        )
        return {k: value for k, value in batch.items() if k != key}, batch[str(key)]
    require(
        isinstance(batch, (tuple, list)) and len(batch) == 2,
        f"{name} is {kind(batch)}, not (inputs, targets).",
        "Pass (inputs, targets); several inputs go into a tuple or a dict.",
    )
    return batch[0], batch[1]


def optimizers_of(optimizer: Optimizer | Sequence[Optimizer] | None) -> tuple[Optimizer, ...]:
    """One, several or none as a tuple."""
    if optimizer is None:
        return ()
    given = tuple(optimizer) if isinstance(optimizer, (tuple, list)) else (optimizer,)
    for one in given:
        require(
            isinstance(one, Optimizer),
            f"optimizer is {kind(one)}.",
            "Pass a torch.optim.Optimizer, or several in a list.",
        )
    return given


def own_loss(outputs: Any, targets: Tensor) -> Tensor:
    """The loss that the model computed itself."""
    found = outputs.get("loss") if isinstance(outputs, Mapping) else getattr(outputs, "loss", None)
    if not isinstance(found, Tensor):
        raise TypeError(
            f"loss_fn is None and the model's output ({type(outputs).__name__}) has no loss."
        )
    return found


def fitted_loss(loss_fn: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Torch's own losses take tensors: of a structured output they get the scores."""
    home = getattr(loss_fn, "__module__", None) or type(loss_fn).__module__
    if not str(home).startswith("torch.nn"):
        return loss_fn

    def fitted(outputs: Any, targets: Tensor) -> Tensor:
        n_rows = targets.shape[0] if targets.ndim else None
        scores = outputs if isinstance(outputs, Tensor) else scores_in(outputs, n_rows=n_rows)
        return loss_fn(scores, targets)

    return fitted


def kind(value: object) -> str:
    """What somebody passed, for a sentence."""
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"of type {type(value).__name__}"


def require(fact: bool, otherwise: str, remedy: str) -> None:
    """Raise InputError unless the fact holds."""
    if not fact:
        raise InputError(otherwise, remedy=remedy)
