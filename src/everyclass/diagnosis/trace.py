"""One pass of a batch through somebody's model and loss, looked at from inside.

Comes in: a model, a batch, a loss. Goes out: a `Pass`: outputs, the call of the loss, the layers in
the order they ran, rectifiers, gradients. Leaves the model as it was. Knows no check: it measures
and accuses nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from everyclass.diagnosis.case import CapturedBatch
from everyclass.diagnosis.nested import scores_in
from everyclass.diagnosis.sightings import FunctionWatch, Layer, LayerWatch, LossCall, Rectifier
from everyclass.diagnosis.snapshot import borrowed, seeded

FOREIGN_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError),
    *(LookupError, OSError, RuntimeError, TypeError, ValueError),
)
"""What somebody else's model or loss may raise on a batch: everything but interruptions."""

SEED = 0


class PassError(Exception):
    """The model could not take the batch; `__cause__` is what it raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass showed.

    Attributes:
        outputs: what the model returned.
        scores: what the loss got as scores; else the scores found in the outputs.
        call: the call of the loss, None when it is none of torch's or was not reached.
        loss: the value, detached; None without a loss.
        loss_error: what the loss raised, as text; "" when it did not.
        loss_has_graph: a gradient can flow from the loss.
        broadcast: shapes of two operands that the loss spread into a square by mistake.
        layers: in the order they ran.
        rectifiers: in the order they ran.
        dropout: largest probability with which something was dropped; 0 without.
        gradients: parameter name -> gradient, None where the loss does not reach it; empty when
            no gradient was asked for or the loss has no graph.
    """

    outputs: Any
    scores: Tensor | None
    call: LossCall | None
    loss: Tensor | None
    loss_error: str
    loss_has_graph: bool
    broadcast: tuple[tuple[int, ...], tuple[int, ...]] | None
    layers: tuple[Layer, ...]
    rectifiers: tuple[Rectifier, ...]
    dropout: float
    gradients: Mapping[str, Tensor | None]

    @property
    def last_matrix(self) -> Layer | None:
        """The last layer with a matrix that ran: the head."""
        return next((one for one in reversed(self.layers) if one.matrix), None)


def run_pass(
    model: nn.Module,
    batch: CapturedBatch,
    *,
    loss_function: Callable[[Any, Tensor], Tensor] | None,
    mode: str,
    with_gradients: bool = False,
    change_first_input: Callable[[Tensor], Tensor] | None = None,
) -> Pass:
    """Send one batch through.

    Args:
        model: left as it was, buffers and modes included.
        batch: on the model's device.
        loss_function: (outputs, targets) -> scalar; None leaves the loss out.
        mode: "train", "eval", or "batchnorm": eval with the batch's own statistics in BatchNorm.
        with_gradients: differentiate the loss by every parameter that asks for it.
        change_first_input: replaces the floating input of the first layer.
    Raises:
        PassError: the model raised.
    """
    with borrowed(model), seeded(SEED), ExitStack() as stack:
        _set_mode(model, mode)
        layers = LayerWatch(model, change_first_input)
        stack.callback(layers.close)
        functions = FunctionWatch(layers)
        with torch.enable_grad() if with_gradients else torch.no_grad(), functions:
            try:
                outputs = model(*batch.args, **batch.keywords)
            except FOREIGN_ERRORS as error:
                raise PassError(f"{type(error).__name__}: {_first_line(error)}") from error
            functions.in_loss = True
            loss, loss_error = _loss(loss_function, outputs, batch.targets)
        gradients: Mapping[str, Tensor | None] = {}
        if with_gradients and loss is not None and loss.requires_grad:
            gradients = _gradients(model, loss)
    n_rows = None if batch.targets is None else batch.targets.shape[0]
    call = functions.calls[-1] if functions.calls else None
    return Pass(
        outputs=outputs,
        scores=scores_in(outputs, n_rows=n_rows) if call is None else call.scores,
        call=call,
        loss=None if loss is None else loss.detach(),
        loss_error=loss_error,
        loss_has_graph=loss is not None and loss.requires_grad,
        broadcast=functions.broadcast,
        layers=layers.layers(),
        rectifiers=tuple(functions.rectifiers),
        dropout=functions.dropout,
        gradients=gradients,
    )


def _set_mode(model: nn.Module, mode: str) -> None:
    model.train(mode == "train")
    if mode == "batchnorm":
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.train()


def _loss(
    loss_function: Callable[[Any, Tensor], Tensor] | None, outputs: Any, targets: Tensor | None
) -> tuple[Tensor | None, str]:
    if loss_function is None or targets is None:
        return None, ""
    try:
        loss: Any = loss_function(outputs, targets)
    except FOREIGN_ERRORS as error:
        return None, f"{type(error).__name__}: {_first_line(error)}"
    if not isinstance(loss, Tensor):
        return None, f"it returned {type(loss).__name__}, not a tensor."
    return (loss, "") if loss.ndim == 0 else (loss.float().mean(), "")


def _gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor | None]:
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not wanted:
        return {}
    try:
        # Not backward(): it would add to .grad and fire the hooks that wait for that.
        found: Sequence[Tensor | None] = torch.autograd.grad(
            loss, list(wanted.values()), allow_unused=True, retain_graph=True
        )
        if any(one is None for one in found) and _is_checkpointed(loss):
            return _gradients_by_backward(wanted, loss)
    except RuntimeError as error:
        if _is_checkpointed(loss):
            return _gradients_by_backward(wanted, loss)
        raise PassError(f"{type(error).__name__}: {_first_line(error)}") from error
    return {
        name: None if gradient is None else gradient.detach()
        for name, gradient in zip(wanted, found)
    }


def _is_checkpointed(loss: Tensor) -> bool:
    """Older activation checkpointing is in the graph: it gives gradients in backward() only."""
    seen: set[Any] = set()
    waiting: list[Any] = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if "CheckpointFunction" in node.name():
            return True
        seen.add(node)
        waiting += [one for one, _ in node.next_functions]
    return False


def _gradients_by_backward(
    wanted: Mapping[str, nn.Parameter], loss: Tensor
) -> dict[str, Tensor | None]:
    kept = {name: parameter.grad for name, parameter in wanted.items()}
    for parameter in wanted.values():
        parameter.grad = None
    loss.backward()  # type: ignore[no-untyped-call]
    found = {name: parameter.grad for name, parameter in wanted.items()}
    for name, parameter in wanted.items():
        parameter.grad = kept[name]
    return found


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else "no message"
