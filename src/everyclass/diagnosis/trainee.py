"""A copy of somebody's training that can be changed and trained; nothing of it is shared.

Comes in: a `Case`. Goes out: a `Trainee`: copies of model and optimizers, the captured batches in
their order, the loss, and how a step is taken. What a trial changes is a field of it. Knows no
cause and no score.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from everyclass.diagnosis.case import CapturedBatch, Case, Clipping
from everyclass.diagnosis.dropout import AlteredDropout, bound_arguments
from everyclass.diagnosis.material import fits, unwrapped
from everyclass.diagnosis.nested import map_tensors, plain_names, scores_in
from everyclass.diagnosis.rounding import Rounding
from everyclass.diagnosis.sightings import LOSS_NAMES
from everyclass.diagnosis.snapshot import copied_together, seeded
from everyclass.diagnosis.trace import FOREIGN_ERRORS
from everyclass.diagnosis.traced_loss import TracedLoss

LossArguments = dict[str, Any]
AlterLoss = Callable[[str, LossArguments], LossArguments]
"""(name of torch's function, its arguments by name) -> the arguments to call it with."""

AlterBatch = Callable[[CapturedBatch], CapturedBatch]


class TrialError(Exception):
    """The copy could not be made or trained; the message says why."""


@dataclass(slots=True, kw_only=True)
class Trainee:
    """A training that belongs to nobody else.

    Args:
        model, optimizers: copies, linked to each other as the originals are.
        loss: (what the model returned, targets) -> scalar.
        batches: trained on, again and again in this order, on the model's device.
        n_classes: C.
        rate: optimizer step -> factor on the rates in `peak_rates`.
        peak_rates: of each group of each optimizer.
        clears: gradients start afresh at each step.
        forwards_a_step: forward passes between two steps of the optimizer.
        clip: how gradients are clipped; None without.
        alter_batch: applied to each batch, in training and in scoring.
        alter_targets: applied to each batch in training alone.
        alter_loss: applied to the arguments of torch's losses in training.
        drops: dropout is left as it is; else its probability is 0 in training.
        rows_alone: each image goes through the model by itself.
        read_from: submodule whose output is taken as the scores; None for what the model returns.
        weights_times: all weights are multiplied by it after each step.
        rounding: done to the weights after each step; None without.
        stands_for: (C,) the class that each decision is read as; empty for its own.
        evaluates_in_training_mode: evaluation images go through in training mode, as the script has
            it.
        in_evaluation_mode: submodules that stay in it while the rest trains.
        step: forward passes so far.
        losses: of them, as they came.
    """

    model: nn.Module
    optimizers: tuple[Optimizer, ...]
    loss: Callable[[Any, Tensor], Tensor]
    batches: Sequence[CapturedBatch]
    n_classes: int
    rate: Callable[[int], float]
    peak_rates: list[list[float]]
    clears: bool = True
    forwards_a_step: int = 1
    clip: Clipping | None = None
    alter_batch: list[AlterBatch] = field(default_factory=list)
    alter_targets: list[AlterBatch] = field(default_factory=list)
    alter_loss: list[AlterLoss] = field(default_factory=list)
    drops: bool = True
    rows_alone: bool = False
    read_from: str | None = None
    weights_times: float = 1.0
    rounding: Rounding | None = None
    stands_for: tuple[int, ...] = ()
    evaluates_in_training_mode: bool = False
    in_evaluation_mode: tuple[str, ...] = ()
    step: int = 0
    losses: list[float] = field(default_factory=list)

    def train(
        self,
        steps: int,
        *,
        seed: int,
        until: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """So many forward passes more.

        Args:
            seed: of dropout and the like; the same number gives the same draws at the same step.
            until: seconds on the clock; no pass begins after it.
            clock: tells the seconds.
        Raises:
            TrialError: the model, the loss or the optimizer raised.
        """
        self.model.train()
        for name in self.in_evaluation_mode:
            self.model.get_submodule(name).eval()
        try:
            for _ in range(steps):
                if clock() > until:
                    break
                with seeded(seed + self.step), torch.enable_grad():
                    self._one_pass()
                self.step += 1
        except FOREIGN_ERRORS as error:
            raise TrialError(f"{type(error).__name__}: {error}") from error

    def _one_pass(self) -> None:
        batch = self.batches[self.step % len(self.batches)]
        for alter in (*self.alter_batch, *self.alter_targets):
            batch = alter(batch)
        assert batch.targets is not None
        begins, ends = (
            self.step % self.forwards_a_step == 0,
            (self.step + 1) % self.forwards_a_step == 0,
        )
        if self.clears and begins:
            self._clear()
        loss = self._backward(batch)
        self.losses.append(float(loss))
        if ends:
            self._take_step(batch)

    def _clear(self) -> None:
        for parameter in self.model.parameters():
            parameter.grad = None

    def _backward(self, batch: CapturedBatch) -> Tensor:
        """The loss of an (altered) batch, detached; gradients are added."""
        assert batch.targets is not None
        with nullcontext() if self.drops else AlteredDropout(lambda _: 0.0):
            outputs = self.outputs(batch)
        with AlteredLoss(self.alter_loss):
            loss = self.loss(outputs, batch.targets)
        loss = loss if loss.ndim == 0 else loss.float().mean()
        if loss.requires_grad:
            (loss / self.forwards_a_step).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _take_step(self, batch: CapturedBatch) -> None:
        factor = self.rate(self.step // self.forwards_a_step)
        for optimizer, rates in zip(self.optimizers, self.peak_rates):
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate * factor
        if self.clip is not None:
            self.clip.apply(tuple(self.model.parameters()))

        def closure() -> float:
            if self.clears:
                self._clear()
            return float(self._backward(batch))

        for optimizer in self.optimizers:
            if asks_again(optimizer):
                optimizer.step(closure)
            else:
                optimizer.step()
        if self.weights_times != 1:
            with torch.no_grad():
                for parameter in self.model.parameters():
                    parameter.mul_(self.weights_times)
        if self.rounding is not None:
            self.rounding.apply(self.model)

    def outputs(self, batch: CapturedBatch) -> Any:
        """What the loss is given for an (altered) batch."""
        if self.read_from is not None:
            return self._from_within(self.read_from, batch)
        if not self.rows_alone or batch.targets is None:
            return self.model(*_own(batch.args), **_own(dict(batch.keywords)))
        size = batch.targets.shape[0]

        def row(i: int) -> Tensor:
            def pick(one: Tensor) -> Tensor:
                return one[i : i + 1] if one.ndim and one.shape[0] == size else one

            found = scores_in(
                self.model(
                    *map_tensors(batch.args, pick), **map_tensors(dict(batch.keywords), pick)
                ),
                n_rows=1,
            )
            if found is None:
                raise TypeError("the model returned no scores")
            return found

        return torch.cat([row(i) for i in range(size)])

    def _from_within(self, name: str, batch: CapturedBatch) -> Any:
        seen: list[Any] = []
        module = self.model.get_submodule(name)
        handle = module.register_forward_hook(lambda _, __, output: seen.append(output))
        try:
            self.model(*_own(batch.args), **_own(dict(batch.keywords)))
        finally:
            handle.remove()
        return seen[-1]


def _own(value: Any) -> Any:
    """A copy: a model may write to its inputs, and batches come again."""
    return map_tensors(value, Tensor.clone)


class AlteredLoss(TorchFunctionMode):
    """Changes (or only sees) the arguments of torch's losses while it is open."""

    def __init__(self, alter: Sequence[AlterLoss]) -> None:
        super().__init__()
        self._alter = alter

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        keywords = kwargs or {}
        name = getattr(func, "__name__", "")
        if self._alter and name in LOSS_NAMES:
            given = dict(bound_arguments(func, args, keywords))
            if isinstance(given.get("input"), Tensor):
                for alter in self._alter:
                    given = alter(name, given)
                return func(**given)
        return func(*args, **keywords)


def asks_again(optimizer: Optimizer) -> bool:
    """Whether its step has the loss computed again, as LBFGS does."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def trainee_of(case: Case, batches: Sequence[CapturedBatch], *, from_start: bool) -> Trainee:
    """Copy the case's training.

    Args:
        batches: to train on, on the model's device.
        from_start: with the initial weights and a fresh optimizer; else as it stands now.
    Raises:
        TrialError: the model cannot be copied, or lacks what a trial needs.
    """
    loss = case.loss_function
    if loss is None:
        raise TrialError("The loss is not known as a function of outputs and targets.")
    if case.n_classes is None:
        raise TrialError("The number of classes is not known.")
    original = unwrapped(case.model)
    try:
        model, optimizers = copied_together(original, case.optimizers)
    except FOREIGN_ERRORS as error:
        raise TrialError(
            f"The model cannot be copied ({type(error).__name__}: {error})."
        ) from error
    if from_start:
        if case.initial_state is None:
            raise TrialError("The initial weights are not known.")
        _load(model, case.initial_state)
        for optimizer in optimizers:
            optimizer.state.clear()
    return Trainee(
        model=model,
        optimizers=optimizers,
        loss=loss.bound(model) if isinstance(loss, TracedLoss) else loss,
        batches=batches,
        n_classes=max(2, case.n_classes),
        rate=_replayed(case.rates),
        peak_rates=_peak_rates(optimizers, case.rates),
        weights_times=case.weights_times,
        clip=case.clipping,
        clears=case.gradients_cleared is not False,
        forwards_a_step=1 if any(map(asks_again, optimizers)) else _forwards_a_step(case),
    )


def _load(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    if not fits(model, state):
        raise TrialError("The initial weights do not fit the model: it was changed since.")
    values = plain_names(state)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            known = values.get(name)
            if known is not None and known.shape == tensor.shape:
                tensor.copy_(known)
            if isinstance(tensor, nn.Parameter):
                tensor.grad = None


def _replayed(rates: Sequence[tuple[int, float]]) -> Callable[[int], float]:
    """The captured course of the rate as a share of its peak; 1 where nothing is known."""
    peak = max((rate for _, rate in rates), default=0.0)
    if peak <= 0:
        return lambda _: 1.0
    known = sorted(rates)

    def factor(step: int) -> float:
        now = known[0][1]
        for at, rate in known:
            if at > step:
                break
            now = rate
        return now / peak

    return factor


def _peak_rates(
    optimizers: Sequence[Optimizer], rates: Sequence[tuple[int, float]]
) -> list[list[float]]:
    """Of each group: the captured peak, in the proportions of the groups among each other."""
    peak = max((rate for _, rate in rates), default=0.0)
    found = []
    for optimizer in optimizers:
        initial = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
        first = initial[0] if initial else 0.0
        scale = peak / first if peak > 0 and first > 0 else 1.0
        found.append([rate * scale if math.isfinite(scale) else rate for rate in initial])
    return found


NEVER = 10**9
"""Passes between two steps where no step was taken: more than any trial makes."""


def _forwards_a_step(case: Case) -> int:
    if not case.forwards or case.steps is None:
        return 1
    if case.steps == 0:
        return NEVER
    return max(1, round(case.forwards / case.steps))


def on_device(batch: CapturedBatch, device: torch.device | None) -> CapturedBatch:
    """The batch with its tensors copied to a device."""

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(device) if device is not None else tensor

    return replace(
        batch,
        args=map_tensors(batch.args, moved),
        keywords=map_tensors(dict(batch.keywords), moved),
        targets=None if batch.targets is None else moved(batch.targets),
        outputs=None,
    )
