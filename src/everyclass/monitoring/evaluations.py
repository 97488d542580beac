"""Evaluations that a training runs by itself: their confusion, and whether only they collapse.

Comes in: evaluation passes. Goes out: when an evaluation is complete, what it shows. The verdict on
a confusion matrix is that of `stats.collapse`; here it is decided when to say it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everyclass.contracts import Verdict
from everyclass.findings import Severity
from everyclass.monitoring.ranks import RankSums
from everyclass.monitoring.summary import LastEvaluation
from everyclass.stats.collapse import LEAST_RECALL, collapse_verdict
from everyclass.stats.confusion import (
    accuracy,
    balanced_accuracy,
    predicted_counts,
    recall,
    right_in_another_order,
)
from everyclass.stats.intervals import wilson_interval

LEAST_ABSENT = 5
"""Evaluation images of a class that no training target has, from which it is told."""

MOST_CHANCE = 1e-4
"""Of no training image of a class that has a tenth of its share in the evaluation."""

LEAST_TRAIN_KAPPA = 0.2
"""Training batches must do this well before an evaluation without information is remarkable."""

LEFT_BEHIND_KAPPA, LEFT_SHARE = 0.5, 0.2
"""Where training batches do this well, an evaluation whose kappa is surely less than this share of
theirs has collapsed, whatever little its decisions tell."""

WEAK_SHARE = 0.5
"""A class recognised less than this share as often as classes are on average is weak."""

Z95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What a complete evaluation says. `verdict` is None when there is nothing to tell."""

    verdict: Verdict | None = None
    recovered: bool = False
    severity: Severity = "warning"
    since_step: int | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    sentence: str = ""


@dataclass(slots=True, kw_only=True)
class Evaluations:
    """The evaluations of one run; the counts of the open one stay on the device.

    Args:
        n_classes: C.
    """

    n_classes: int
    open_passes: int = 0
    done: int = 0
    collapsed_since: int | None = None
    collapsed_in_a_row: int = 0
    told: bool = False
    _counts: Tensor | None = None
    _last: NDArray[np.int64] | None = None
    _before: NDArray[np.int64] | None = None
    _last_step: int = 0
    _summed_up: LastEvaluation | None = None

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Count one pass."""
        with torch.no_grad():
            if self._counts is None:
                size = self.n_classes * self.n_classes
                self._counts = torch.zeros(size, dtype=torch.int64, device=logits.device)
            targets = targets.to(logits.device)
            counted = (targets >= 0) & (targets < self.n_classes)
            cells = targets.clamp(0, self.n_classes - 1) * self.n_classes + logits.argmax(dim=1)
            self._counts.index_add_(0, cells, counted.long())
        self.open_passes += 1

    def sum_over(self, ranks: RankSums) -> None:
        """Make the open evaluation that of all ranks; one that saw no image takes part."""
        size = self.n_classes * self.n_classes
        counts = torch.zeros(size, dtype=torch.int64) if self._counts is None else self._counts
        total = ranks.sum_counts(counts)
        self._counts = total if bool(total.any()) else None
        self.open_passes = 0 if self._counts is None else max(1, self.open_passes)

    def close(
        self,
        *,
        step: int,
        names: Sequence[str],
        opening: bool,
        train_kappa: float,
        level: float,
    ) -> Closed:
        """End the open evaluation and say what it shows.

        Said only of a run whose training batches do well: until then an evaluation shows what the
        training stream shows too. The first evaluation without information may be the lag of
        BatchNorm's running statistics, so the alarm needs a second one in a row.

        Args:
            step: optimizer steps done.
            opening: whether the training stream was not yet shown to be informative.
            train_kappa: of the last training batches.
            level: of the k-th evaluation is level / (k (k + 1)).
        """
        assert self._counts is not None
        size = self.n_classes
        matrix = self._counts.cpu().numpy().reshape(size, size)
        self._counts, self.open_passes = None, 0
        self._before, self._last, self._last_step = self._last, matrix, step
        self._summed_up = None
        self.done += 1
        if matrix.sum() == 0:
            return Closed()
        spent = level / (self.done * (self.done + 1))
        found = collapse_verdict(matrix, classes=names, level=spent)
        behind = left_behind(matrix, train_kappa)
        if found.verdict != "collapsed" and not behind:
            recovered, self.told = self.told, False
            self.collapsed_since, self.collapsed_in_a_row = None, 0
            return Closed(recovered=recovered)
        if opening or train_kappa < LEAST_TRAIN_KAPPA:
            return Closed()
        self.collapsed_in_a_row += 1
        if self.collapsed_since is None:
            self.collapsed_since = step
        if self.told or self.collapsed_in_a_row < 2:
            return Closed()
        self.told = True
        return self._finding(behind or found.sentence, train_kappa, "alarm", names)

    def at_the_end(
        self, *, train_kappa: float, train_counts: NDArray[np.float64], names: Sequence[str]
    ) -> Closed:
        """What the last evaluations of a finished training are worth: a warning.

        A class is starved by the last two together where there are two: a single one may have met
        a class in a bad moment.

        Args:
            train_counts: (C,) training targets of each class.
        """
        if self.told or self._last is None or self._last.sum() == 0:
            return Closed()
        found = collapse_verdict(self._last, classes=names, level=0.01)
        evidence: dict[str, Any] = {"stream": "evaluation", "images": int(self._last.sum())}
        behind = left_behind(self._last, train_kappa)
        if found.verdict == "collapsed" or behind:
            if self.collapsed_in_a_row > 0:
                return self._finding(behind or found.sentence, train_kappa, "warning", names)
        else:
            absent = self._absent(train_counts)
            if absent:
                return self._never_trained(absent, train_counts, evidence, names)
            both = self._last if self._before is None else self._last + self._before
            found = collapse_verdict(both, classes=names, level=0.01)
            if found.verdict != "starved":
                return Closed()
            evidence["images"] = int(both.sum())
        lead = (
            f"In the last two evaluations, to step {self._last_step:,}"
            if found.verdict == "starved" and self._before is not None
            else f"In the last evaluation, at step {self._last_step:,}"
        )
        evidence |= {
            "classes": [names[i] for i in found.starved],
            "train_kappa": round(train_kappa, 4),
        }
        return Closed(
            verdict=found.verdict,
            since_step=self._last_step,
            evidence=evidence,
            sentence=f"{lead}: {found.sentence}",
        )

    def _absent(self, train_counts: NDArray[np.float64]) -> list[int]:
        """Classes without a hit in the last evaluation that no training target has."""
        assert self._last is not None
        support, trained = self._last.sum(axis=1), float(train_counts.sum())
        share = LEAST_RECALL * support / max(float(support.sum()), 1.0)
        unlikely = (1 - share) ** trained < MOST_CHANCE
        silent = (train_counts == 0) & (self._last.diagonal() == 0)
        return [int(i) for i in np.flatnonzero(silent & unlikely & (support >= LEAST_ABSENT))]

    def _never_trained(
        self,
        absent: list[int],
        train_counts: NDArray[np.float64],
        evidence: dict[str, Any],
        names: Sequence[str],
    ) -> Closed:
        assert self._last is not None
        support = self._last.sum(axis=1)
        parts = ", ".join(f"'{names[i]}' (0 of {support[i]:,} recognised)" for i in absent[:5])
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        noun = "class" if len(absent) == 1 else "classes"
        return Closed(
            verdict="starved",
            since_step=0,
            evidence=evidence | {"classes": [names[i] for i in absent], "training_targets": 0},
            sentence=(
                f"The evaluation has {len(absent)} {noun} that none of {int(train_counts.sum()):,} "
                f"training targets counted has: {parts}{more}."
            ),
        )

    def _finding(
        self, sentence: str, train_kappa: float, severity: Severity, names: Sequence[str]
    ) -> Closed:
        assert self._last is not None
        predicted = predicted_counts(self._last)
        top = int(predicted.argmax())
        return Closed(
            verdict="collapsed",
            severity=severity,
            since_step=self.collapsed_since,
            evidence={
                "stream": "evaluation",
                "images": int(predicted.sum()),
                "class": names[top],
                "predicted_share": round(float(predicted[top] / predicted.sum()), 4),
                "train_kappa": round(train_kappa, 4),
            },
            sentence=(
                f"Training batches do well (kappa {train_kappa:.2f}) and only the evaluation has "
                f"collapsed, since the one at step {self.collapsed_since:,}: {sentence}"
            ),
        )

    def last(self, names: Sequence[str]) -> LastEvaluation | None:
        """The last complete evaluation. Asked for between many steps, so it is kept: with thousands
        of classes its verdict takes as long as many steps."""
        if self._last is None:
            return None
        if self._summed_up is None:
            self._summed_up = self._sum_up(self._last, names)
        return self._summed_up

    def _sum_up(self, matrix: NDArray[np.int64], names: Sequence[str]) -> LastEvaluation | None:
        predicted = predicted_counts(matrix)
        if predicted.sum() == 0:
            return None
        found = collapse_verdict(matrix, classes=names)
        return LastEvaluation(
            step=self._last_step,
            images=int(matrix.sum()),
            recalls=tuple(float(one) for one in recall(matrix)),
            predicted_shares=tuple(float(one) for one in predicted / predicted.sum()),
            weak=tuple(names[i] for i in weak_classes(matrix)),
            verdict=found.verdict,
            sentence=found.sentence,
        )


def weak_classes(confusion: NDArray[np.int64]) -> list[int]:
    """Classes whose recall is less than `WEAK_SHARE` of balanced accuracy, beyond doubt.

    Args:
        confusion: (C, C) true class by decision.
    """
    support = confusion.sum(axis=1)
    present = np.flatnonzero(support)
    level = 1 - 0.05 / max(len(present), 1)
    highest = wilson_interval(confusion.diagonal()[present], support[present], level=level)[:, 1]
    behind = highest < WEAK_SHARE * balanced_accuracy(confusion)
    return [int(i) for i in present[behind]]


def left_behind(confusion: NDArray[np.int64], train_kappa: float) -> str:
    """What to say of an evaluation that does no better than a constant answer although training
    batches do well; "" for any other."""
    present = int((confusion.sum(axis=1) > 0).sum())
    if train_kappa < LEFT_BEHIND_KAPPA or present < 2:
        return ""
    chance, images = 1 / present, int(confusion.sum())
    kappa, error = _kappa(confusion)
    if kappa + Z95 * error >= LEFT_SHARE * train_kappa:
        return ""
    told = (
        f"kappa is {kappa:.2f} on {images:,} images, and balanced accuracy "
        f"{balanced_accuracy(confusion):.2f} where a constant answer has {chance:.2f}."
    )
    matched = right_in_another_order(confusion)
    if matched is not None:
        told += (
            f" With each decision read as another class {matched:.0%} would be right instead of "
            f"{accuracy(confusion):.0%}: training and evaluation number the classes differently."
        )
    return told


def _kappa(confusion: NDArray[np.int64]) -> tuple[float, float]:
    """Cohen's kappa of decisions with labels, and its standard error (Cohen 1960)."""
    shares = confusion / confusion.sum()
    agreed = float(shares.trace())
    by_chance = float(shares.sum(axis=0) @ shares.sum(axis=1))
    if by_chance >= 1:
        return 0.0, 0.0
    error = (agreed * (1 - agreed) / float(confusion.sum())) ** 0.5
    return (agreed - by_chance) / (1 - by_chance), error / (1 - by_chance)
