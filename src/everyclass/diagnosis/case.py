"""What checks and trials start from: a model, its optimizers, its loss, and some batches.

Filled by `capture` for somebody's script and by hand for `everyclass.check`. Knows neither where
it came from nor what will be asked of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

LossName = Literal[
    "cross_entropy",
    "nll_loss",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "kl_div",
    "multi_margin_loss",
    "by_hand",
]
"""`by_hand`: a loss that is none of torch's; only the outputs and targets are known."""

REGRESSION_LOSSES = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
"""Losses of differences: their targets are numbers, of which 0.5 divides two classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec:
    """Which loss a training uses, and with which arguments.

    Args:
        name: the function of `torch.nn.functional`, or `by_hand`.
        weight: (C,) class weights, None without.
        pos_weight: of the binary loss, None without.
        label_smoothing: in [0, 1].
        ignore_index: targets that do not count.
        reduction: mean, sum or none.
        soft_targets: targets are (B, C) probabilities or one-hot rows.
    """

    name: LossName
    weight: Tensor | None = None
    pos_weight: Tensor | None = None
    label_smoothing: float = 0.0
    ignore_index: int = -100
    reduction: str = "mean"
    soft_targets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedBatch:
    """One batch as the model and the loss got it; tensors detached, on the CPU or their device.

    Args:
        args, keywords: what `model(*args, **keywords)` was called with; tensors inside may be
            nested in tuples, lists and dicts.
        targets: as the loss got them.
        outputs: what the loss got as its first argument, None when not kept.
        loss: the loss's value, None when not known.
        step: optimizer steps done when it came.
        training: a training batch; else one of an evaluation.
        model_training: whether the root model was in training mode at that forward; None when not
            known.
        number: of batches of its kind that came before it; None where all of these are kept.
    """

    args: tuple[Any, ...]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    targets: Tensor | None = None
    outputs: Tensor | None = None
    loss: float | None = None
    step: int = 0
    training: bool = True
    model_training: bool | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLeaves:
    """The trainable tensors that the network's answer hangs on.

    Args:
        own: parameters of the network among them.
        foreign: shapes of the others.
    """

    own: int
    foreign: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLoad:
    """A checkpoint that was loaded before the training.

    Args:
        place: name of the submodule that it was loaded into; "" for the model.
        tensors: that the checkpoint held, by name, where most of them were left out; else empty.
        taken: share of its numbers that went into the model, in [0, 1].
        own: most of what went in was the model's own memory: its weights were given back to it.
        site: "file:line" of the call; "" when not known.
    """

    place: str
    tensors: Mapping[str, Tensor]
    taken: float
    own: bool
    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LostLoad:
    """A checkpoint of which another network than the one watched took nothing.

    Args:
        network: class of that network.
        tensors: in the checkpoint.
        fitting: of them, how many have a counterpart there under another name.
        first: name of the first one.
        site: "file:line" of the call; "" when not known.
    """

    network: str
    tensors: int
    fitting: int
    first: str
    site: str


ClipKind = Literal["norm", "value"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipping:
    """How gradients are clipped before each step.

    Args:
        kind: their norm, all together, or each number.
        limit: as it was given.
        norm_type: of the norm: 2, or infinity.
        norms: of the gradients before it, in some of the first steps, as they were then.
        scale: by which a gradient scaler had multiplied them then; 1 without one, and where it had
            divided them before.
    """

    kind: ClipKind
    limit: float
    norm_type: float = 2.0
    norms: tuple[float, ...] = ()
    scale: float = 1.0

    @property
    def unscaled(self) -> Clipping:
        """The same limit, on gradients as they are."""
        return replace(self, scale=1.0, norms=())

    def apply(self, parameters: Sequence[Tensor]) -> None:
        """Clip gradients that no scaler has multiplied, to what such a call leaves of them."""
        limit = self.limit / self.scale
        if self.kind == "value":
            nn.utils.clip_grad_value_(parameters, limit)
        else:
            nn.utils.clip_grad_norm_(parameters, limit, norm_type=self.norm_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A training as far as it is known. What is not known is None or empty, never guessed.

    Args:
        model: the root module whose output reaches the loss.
        optimizers: every optimizer that holds one of its parameters, or was meant to.
        loss_function: (what the model returned, targets) -> the scalar that is differentiated.
        loss: its kind and arguments, when recognised.
        n_classes: outputs, None when not known.
        batches: training batches, in the order they came.
        evaluation: evaluation batches.
        label_counts: (steps, C) labels of each of the first training steps, in order, for the
            composition of the stream (some may be missing after the first 1,000); None when
            not kept.
        class_counts: (C,) images per class in the training set, when known; the stream's labels
            say something else once a sampler stands between.
        forwards: training forwards seen in all; None when not counted.
        steps: optimizer steps seen in all; None when not counted.
        gradients_cleared: False when the optimizer was seen to step on gradients that still held
            those of an earlier step; True when they were seen to start afresh; None when nobody
            looked.
        gradient_norms: (step, norm of all gradients as the optimizer got them), of the first steps.
        answers_reached: False when no backward pass came through what the network returned in most
            of the first steps; None when nobody looked.
        answer_leaves: of one of the first answers; None when nobody looked or it cannot be told.
        weights_times: by which the script multiplies all weights after each step, the optimizer
            apart; 1 where it does not, or nobody looked.
        rates: (step, learning rate of the first group), where it changed.
        initial_state: the model's state dict before the first step, on the CPU.
        clipping: of gradients; None where none was seen.
        loads: of checkpoints, before the first step.
        lost_loads: of checkpoints into other networks that took nothing of them, at any time.
        epoch_batches: training batches an epoch, None when not known.
        call_sites: what was built where: name ("model", "loss",
            "optimizer", "loader", "transform": the one that scales the images) -> "file:line".
    """

    model: nn.Module
    optimizers: tuple[Optimizer, ...] = ()
    loss_function: Callable[[Any, Tensor], Tensor] | None = None
    loss: LossSpec | None = None
    n_classes: int | None = None
    batches: tuple[CapturedBatch, ...] = ()
    evaluation: tuple[CapturedBatch, ...] = ()
    label_counts: tuple[tuple[int, ...], ...] | None = None
    class_counts: tuple[int, ...] | None = None
    forwards: int | None = None
    steps: int | None = None
    gradients_cleared: bool | None = None
    gradient_norms: tuple[tuple[int, float], ...] = ()
    answers_reached: bool | None = None
    answer_leaves: AnswerLeaves | None = None
    weights_times: float = 1.0
    rates: tuple[tuple[int, float], ...] = ()
    initial_state: Mapping[str, Tensor] | None = None
    clipping: Clipping | None = None
    loads: tuple[StateLoad, ...] = ()
    lost_loads: tuple[LostLoad, ...] = ()
    epoch_batches: int | None = None
    call_sites: Mapping[str, str] = field(default_factory=dict)
