"""How well a trained copy does on images that it was not trained on.

Comes in: a `Trainee`, held-out batches. Goes out: a `Score`, and the gain of one over another with
its interval. Knows no change and no cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everyclass.diagnosis.case import REGRESSION_LOSSES, CapturedBatch
from everyclass.diagnosis.dropout import AlteredDropout
from everyclass.diagnosis.material import as_rows, class_ids
from everyclass.diagnosis.nested import scores_in
from everyclass.diagnosis.snapshot import borrowed, seeded
from everyclass.diagnosis.trace import FOREIGN_ERRORS, SEED
from everyclass.diagnosis.traced_loss import TracedLoss
from everyclass.diagnosis.trainee import AlteredLoss, LossArguments, Trainee, TrialError
from everyclass.stats.confusion import confusion_matrix, mutual_information, predicted_counts
from everyclass.stats.confusion import recall as recalls_of
from everyclass.stats.intervals import balanced_accuracy_interval, paired_balanced_accuracy_gain

Z95 = 1.959964
RECOVERED_ADVANTAGE = 0.1
"""Of balanced accuracy over chance, as a share of what is possible, from which predictions are
said to tell the classes apart."""

LEAST_SUPPORT = 4
"""Held-out images of a class from which a recall of zero counts."""


@dataclass(frozen=True)
class Score:
    """Decisions on held-out images.

    Args:
        targets: (N,) int64 class ids.
        decisions: (N,) int64.
        log_loss: mean -ln p(own class), nats; NaN where the outputs are no probabilities.
        n_classes: C.
    """

    targets: NDArray[np.int64]
    decisions: NDArray[np.int64]
    log_loss: float
    n_classes: int

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """(C, C), row = target."""
        return confusion_matrix(self.targets, self.decisions, n_classes=self.n_classes)

    @cached_property
    def recalls(self) -> NDArray[np.float64]:
        """(C,), NaN for classes without images."""
        return recalls_of(self.confusion)

    @property
    def present(self) -> int:
        """Classes with images."""
        return int((self.confusion.sum(axis=1) > 0).sum())

    @property
    def chance(self) -> float:
        """Balanced accuracy of a constant answer."""
        return 1 / max(1, self.present)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes with images."""
        return float(np.nanmean(self.recalls))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of it."""
        return balanced_accuracy_interval(self.confusion)

    @property
    def information(self) -> float:
        """What a decision tells about the label, nats, bias-corrected (Miller 1955)."""
        return mutual_information(self.confusion)

    @property
    def prior_loss(self) -> float:
        """What the class frequencies of these images cost, nats."""
        shares = self.confusion.sum(axis=1) / len(self.targets)
        shares = shares[shares > 0]
        return float(-(shares * np.log(shares)).sum())

    @property
    def missed(self) -> tuple[int, ...]:
        """Classes with images enough and recall 0."""
        support = self.confusion.sum(axis=1)
        silent = (support >= LEAST_SUPPORT) & (np.diag(self.confusion) == 0)
        return tuple(int(k) for k in np.flatnonzero(silent))

    @property
    def predicted(self) -> int:
        """Classes that some image is given."""
        return int((predicted_counts(self.confusion) > 0).sum())

    @property
    def advantage(self) -> float:
        """Balanced accuracy over chance, as a share of what is possible."""
        return self._advantage(self.balanced_accuracy)

    @property
    def recovered(self) -> bool:
        """Whether the decisions tell the classes apart, by the lower end of the interval."""
        return self._advantage(self.interval[0]) >= RECOVERED_ADVANTAGE

    def _advantage(self, balanced_accuracy: float) -> float:
        return (balanced_accuracy - self.chance) / max(1e-9, 1 - self.chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Balanced accuracy of one score over another's on the same images.

    Args:
        mean: difference.
        low, high: its 95 % interval (paired over images; Agresti and Min 2005).
    """

    mean: float
    low: float
    high: float


def gain(before: Sequence[Score], after: Sequence[Score]) -> Gain:
    """Over the same held-out images, seed by seed; the images are the unit.

    With several seeds the mean of their gains is taken, and the largest of their errors: the same
    images are used in all, so that more seeds do not make them more. Scores of other images than
    the first ones', as where one side has no output for some classes, say nothing.
    """
    if not all(np.array_equal(a.targets, b.targets) for a, b in zip(before, after)):
        return Gain(mean=0.0, low=-1.0, high=1.0)
    found = [
        paired_balanced_accuracy_gain(
            a.targets, a.decisions, b.decisions, n_classes=max(a.n_classes, b.n_classes)
        )
        for a, b in zip(before, after)
    ]
    mean = float(np.mean([one for one, _ in found]))
    error = max(one for _, one in found)
    if len(found) > 1:
        spread = float(np.std([one for one, _ in found], ddof=1)) / len(found) ** 0.5
        error = float(np.hypot(error, spread))
    return Gain(mean=mean, low=max(-1.0, mean - Z95 * error), high=min(1.0, mean + Z95 * error))


def score(trainee: Trainee, batches: Sequence[CapturedBatch]) -> Score:
    """Decisions of the copy in evaluation mode (or as the script evaluates); its buffers and mode
    stay as they are.

    Raises:
        TrialError: the model raised, or no scores of classes were found.
    """
    targets, decisions, losses = [], [], []
    for ids, log_probs in _read(trainee, batches):
        targets.append(ids)
        decisions.append(log_probs.argmax(dim=1))
        losses.append(-log_probs.gather(1, ids[:, None])[:, 0])
    joined = torch.cat(targets).numpy()
    return Score(
        targets=joined,
        decisions=torch.cat(decisions).numpy(),
        log_loss=float(torch.cat(losses).mean()),
        n_classes=max(trainee.n_classes, int(joined.max()) + 1),
    )


def _read(trainee: Trainee, batches: Sequence[CapturedBatch]) -> Iterator[tuple[Tensor, Tensor]]:
    """(B,) class ids and (B, C) log-probabilities of each batch, of labels that fit the outputs."""
    n_rows = 0
    drops = nullcontext() if trainee.drops else AlteredDropout(lambda _: 0.0)
    with borrowed(trainee.model), seeded(SEED), torch.no_grad(), drops:
        for batch in batches:
            trainee.model.train(trainee.evaluates_in_training_mode and not batch.training)
            for alter in trainee.alter_batch:
                batch = alter(batch)
            assert batch.targets is not None
            try:
                name, found = _scores(trainee, batch)
            except FOREIGN_ERRORS as error:
                raise TrialError(f"{type(error).__name__}: {error}") from error
            ids = class_ids(batch.targets, ignore=-100)
            rows = as_rows(found)
            if ids is None or len(ids) != len(rows):
                raise TrialError("The captured targets are not one class an image.")
            log_probs = log_probabilities(rows, name)
            if trainee.stands_for:
                placed = torch.empty_like(log_probs)
                placed[:, list(trainee.stands_for)] = log_probs
                log_probs = placed
            known = (ids >= 0) & (ids < log_probs.shape[1])
            n_rows += int(known.sum())
            yield ids[known], log_probs[known.to(log_probs.device)].cpu()
    if not n_rows:
        raise TrialError("No held-out image has a label that fits the outputs.")


def log_probabilities(rows: Tensor, name: str) -> Tensor:
    """(N, C) of what a loss got: logits, probabilities, or one column of either."""
    rows = rows.float()
    if rows.shape[1] == 1:
        z = rows[:, 0]
        if name == "binary_cross_entropy":
            z = z.clamp(1e-7, 1 - 1e-7).logit()
        elif name in REGRESSION_LOSSES:
            z = z - 0.5
        rows = torch.stack([torch.zeros_like(z), z], dim=1)
    elif are_probabilities(rows):
        rows = rows.clamp(min=1e-12).log()
    return rows.log_softmax(dim=1).nan_to_num(nan=-100.0, neginf=-100.0)


def are_probabilities(rows: Tensor) -> bool:
    """Whether each row is in [0, 1] and sums to one."""
    inside = bool(((rows >= 0) & (rows <= 1)).all())
    return inside and bool(((rows.sum(dim=1) - 1).abs() < 1e-3).all())


def _scores(trainee: Trainee, batch: CapturedBatch) -> tuple[str, Tensor]:
    """What the loss gets as scores, and the loss's name; else the scores in the output."""
    seen: list[tuple[str, Tensor]] = []

    def note(name: str, given: LossArguments) -> LossArguments:
        seen.append((name, given["input"].detach()))
        return given

    assert batch.targets is not None
    outputs = trainee.outputs(batch)
    loss = trainee.loss
    if isinstance(loss, TracedLoss):
        # What is added in training alone is no part of the decision.
        loss = loss.without(loss.adjustments())
    if not isinstance(loss, TracedLoss) or loss.takes(outputs):
        with AlteredLoss([note]):
            loss(outputs, batch.targets)
    # Auxiliary heads come after the main one, numbers that are regressed have one column.
    heads = [one for one in seen if one[1].ndim == 2 and one[1].shape[1] > 1]
    if heads:
        return heads[0]
    found = scores_in(outputs, n_rows=batch.targets.shape[0] if batch.targets.ndim else None)
    many = found is not None and found.ndim == 2 and found.shape[1] == trainee.n_classes > 2
    if seen and not many:  # else the loss got what was made of a score a class: their argmax, say
        return seen[-1]
    if found is None:
        raise TrialError("No scores of classes were found in what the model returns.")
    return "", found
