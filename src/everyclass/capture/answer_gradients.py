"""What the loss asks of the network's answers in the first steps: gradients with respect to them.

Comes in: answers before a step, the targets of the step. Goes out: whether a backward pass came
through the answers at all, and the class weights that the gradients show, wherever the script
applies them. Waits for nothing on the device, and changes no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from everyclass.capture.feed import to_host

LOOKED_AT_STEPS = 40
LARGEST_ANSWER = 100_000
"""Numbers in an answer that is copied."""

PARALLEL = 0.999
"""Cosine between the gradient of a row and softmax - one-hot, from which the loss is a
cross-entropy."""

SAME_WEIGHT = 0.05
"""Relative spread of the weights of a class within a step, up to which it has one weight."""

UNEVEN = 1.2
"""Ratio of the largest to the smallest weight of a class, from which classes are weighted."""

JOINING_ROUNDS = 200
AGREED = 0.1
"""Largest difference between batches in the logarithm of a class's weight."""

CERTAIN = 1e-4
"""Rows whose softmax differs by less from the target say nothing of their weight."""


@dataclass(slots=True)
class _Answered:
    outputs: Tensor
    gradient: Tensor | None = None


class AnswerGradients:
    """Looks at the gradients of the answers of the first steps of one network."""

    def __init__(self) -> None:
        self._steps = 0
        self._calls = 0
        self._reached = False
        self._steps_answered = 0
        self._steps_reached = 0
        self._waiting: list[_Answered] = []
        self._kept: list[tuple[Tensor, Tensor, Tensor]] = []
        self._answer: tuple[int, int, Tensor | None] = (-1, -1, None)

    def network_answers(self, outputs: Iterable[Tensor]) -> None:
        """The watched network has answered, with gradients switched on, before a step."""
        if self._steps >= LOOKED_AT_STEPS:
            return
        self._calls += 1
        for one in outputs:
            # At the node and not at the tensor: what hangs on a tensor shows when it is saved.
            if one.grad_fn is not None:
                one.grad_fn.register_prehook(self._hook(one))

    def _hook(self, output: Tensor) -> Callable[[tuple[Tensor, ...]], None]:
        answered: _Answered | None = None
        if output.ndim == 2 and output.numel() <= LARGEST_ANSWER and type(output) is Tensor:
            answered = _Answered(outputs=output.detach())
            self._waiting.append(answered)
        place = output.output_nr

        def reach(gradients: tuple[Tensor, ...]) -> None:
            self._reached = True
            if answered is not None and gradients[place] is not None:
                answered.gradient = gradients[place].detach().clone()

        return reach

    def step_ends(self, targets: Tensor | None) -> None:
        """The optimizer has taken a step.

        Args:
            targets: (B,) class ids of the step's batch, None when not known.
        """
        if self._steps >= LOOKED_AT_STEPS:
            return
        self._steps += 1
        self._steps_answered += self._calls > 0
        self._steps_reached += self._calls > 0 and self._reached
        if self._calls == 1 and targets is not None and targets.ndim == 1:
            for one in self._waiting:
                if one.gradient is not None and len(one.outputs) == len(targets):
                    kept = (to_host(one.outputs), to_host(one.gradient), to_host(targets))
                    self._kept.append(kept)
        self._calls, self._reached, self._waiting = 0, False, []

    def reached(self) -> bool | None:
        """Whether a backward pass came through the network's answer in most steps; None unseen."""
        if self._steps_answered == 0:
            return None
        return 2 * self._steps_reached > self._steps_answered

    def class_weights(self, n_classes: int) -> Tensor | None:
        """(C,) float32 of mean 1: how much an image of each class counts.

        The gradient of a weighted cross-entropy with respect to the logits of row i is
        w_i (softmax(z_i) - onehot(y_i)), up to a factor that all rows of a batch share.

        Returns:
            None where the loss is no cross-entropy of these answers, a class was not met, rows of a
            class count differently, or all count alike.
        """
        if self._answer[:2] != (len(self._kept), n_classes):
            # Asked for at each report, and the same from some step on.
            self._answer = (len(self._kept), n_classes, self._class_weights(n_classes))
        return self._answer[2]

    def _class_weights(self, n_classes: int) -> Tensor | None:
        rows: list[Tensor] = []
        for outputs, gradient, targets in self._kept:
            if outputs.shape[1] != n_classes or targets.is_floating_point():
                continue
            found = _row_weights(outputs.double(), gradient.double(), targets.long())
            if found is None:
                return None
            row = torch.full((n_classes,), torch.nan, dtype=torch.float64)
            for k, weight in found.items():
                row[k] = weight
            rows.append(row)
        weights = _joined(torch.stack(rows)) if rows else None
        if weights is None or float(weights.max()) <= UNEVEN * float(weights.min()):
            return None
        return (weights / weights.mean()).float()


def _joined(rows: Tensor) -> Tensor | None:
    """(C,) weights from those of each batch, of which each may have a factor of its own: some
    losses divide by the sum of the batch's weights.

    Args:
        rows: (batches, C) >= 0, NaN where a class was not met.
    Returns:
        None where a class was not met, or weights do not agree between batches.
    """
    met = ~rows.isnan()
    if not bool(met.any(dim=0).all()) or bool((rows[met] < 0).any()):
        return None
    counts = met & (rows > 0)
    heavy = counts.any(dim=0)
    # A class without weight has none in every batch that it shares with another.
    others = counts.sum(dim=1, keepdim=True) > 0
    if bool((met & ~counts & others)[:, heavy].any()):
        return None
    logs = torch.where(counts, rows, torch.ones_like(rows)).log()
    factors = torch.zeros(len(rows), dtype=torch.float64)
    classes = torch.zeros(rows.shape[1], dtype=torch.float64)
    for _ in range(JOINING_ROUNDS):
        classes = ((logs - factors[:, None]) * counts).sum(0) / counts.sum(0).clamp(min=1)
        factors = ((logs - classes) * counts).sum(1) / counts.sum(1).clamp(min=1)
    rest = ((logs - factors[:, None] - classes) * counts).abs().max()
    if float(rest) > AGREED:
        return None
    return torch.where(heavy, classes.exp(), torch.zeros_like(classes))


def _row_weights(outputs: Tensor, gradient: Tensor, targets: Tensor) -> dict[int, Tensor] | None:
    """Weight of each class that a batch holds, up to a factor of the batch; {} where nothing can be
    told, None where the gradient is not that of a cross-entropy with class weights."""
    known = (targets >= 0) & (targets < outputs.shape[1])
    outputs, gradient, targets = outputs[known], gradient[known], targets[known]
    wanted = outputs.softmax(dim=1)
    wanted[torch.arange(len(targets)), targets] -= 1
    tells = wanted.norm(dim=1) > CERTAIN
    wanted, gradient, targets = wanted[tells], gradient[tells], targets[tells]
    sizes = gradient.norm(dim=1)
    if not len(targets) or not bool(torch.isfinite(sizes).all()) or not bool(sizes.any()):
        return {}
    along = (gradient * wanted).sum(dim=1)
    counts = sizes > 0
    cosine = along[counts] / (sizes * wanted.norm(dim=1))[counts]
    if float(cosine.min()) < PARALLEL:
        return None
    weights = along / wanted.square().sum(dim=1)
    found: dict[int, Tensor] = {}
    for k in sorted(set(targets.tolist())):
        own = weights[targets == k]
        middle = own.median()
        if float((own - middle).abs().max()) > SAME_WEIGHT * float(middle):
            return None
        found[k] = middle
    return found
