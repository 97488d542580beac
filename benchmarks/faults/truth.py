"""What a training came to, by its own last lines, independent of any monitor.

Every script prints two confusion matrices (row = target) at its end: of the training images, as
they were seen in the last epoch, and of the validation images. From them:

- **sound**: every class that was seen often enough is recognised, the balanced accuracy of both
  splits lies clearly above chance (a tenth of the way from chance to 1, significant at 0.001), and
  the validation images' went at least a quarter of the way of the training images';
- **broken**: the validation images (or the training images) are recognised no better than by
  chance, or a class seen often enough is never recognised on either split;
- **between**: neither; such a run counts neither for nor against an alarm, and is listed.

The script's intention plays no part: a fault that did no harm is no collapse, and a healthy script
that an unlucky seed collapsed is one.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["sound", "broken", "between", "unknown"]
Confusion = list[list[int]]

PRINTED = re.compile(r"^(train|val) confusion: (\[\[.*\]\])\s*$", re.MULTILINE)
OFTEN = 10
"""Images of a class, both splits together, from which a recall of 0 tells something."""

CLEAR_SHARE = 0.1
CHANCE_SHARE = 0.05
"""Shares of the way from chance to 1 from which a split is informative; up to which it is not."""

HELD_OUT_SHARE = 0.25
SIGNIFICANT_Z = 3.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the confusion matrices say.

    Attributes:
        outcome: as in the module's docstring; "unknown" when the script printed none.
        reason: one phrase.
        train, val: balanced accuracies; None when not printed.
        missed: ids of the classes that were seen often and never recognised.
        train_images: in the training matrix, an epoch's.
    """

    outcome: Outcome
    reason: str
    train: float | None = None
    val: float | None = None
    missed: tuple[int, ...] = ()
    train_images: int = 0


def truth_of(stdout: str) -> Truth:
    """The truth of a script by what it printed."""
    printed = {name: json.loads(matrix) for name, matrix in PRINTED.findall(stdout)}
    if set(printed) != {"train", "val"}:
        return Truth(outcome="unknown", reason="no confusion matrices were printed")
    train, val = printed["train"], printed["val"]
    scores = {"train": balanced_accuracy(train), "val": balanced_accuracy(val)}
    missed = _missed(train, val)
    train_images = sum(map(sum, train))

    def told(outcome: Outcome, reason: str) -> Truth:
        return Truth(
            outcome=outcome, reason=reason, missed=missed, train_images=train_images, **scores
        )

    for name, matrix in printed.items():
        if _advantage(matrix) <= CHANCE_SHARE or not _significant(matrix):
            return told("broken", f"{name} images recognised as by chance")
    if missed:
        return told("broken", f"classes never recognised: {', '.join(map(str, missed))}")
    if _advantage(val) < HELD_OUT_SHARE * _advantage(train):
        return told("between", "validation images recognised far worse than training images")
    if all(_advantage(matrix) >= CLEAR_SHARE for matrix in printed.values()):
        return told("sound", "every class is recognised")
    return told("between", "a little above chance")


def balanced_accuracy(confusion: Confusion) -> float:
    """Mean recall of the classes that have images."""
    recalls = [row[i] / sum(row) for i, row in enumerate(confusion) if sum(row)]
    return sum(recalls) / len(recalls)


def _advantage(confusion: Confusion) -> float:
    """Share of the way from chance to 1 that the balanced accuracy has gone."""
    chance = 1 / sum(sum(row) > 0 for row in confusion)
    return (balanced_accuracy(confusion) - chance) / (1 - chance) if chance < 1 else 0.0


def _significant(confusion: Confusion) -> bool:
    """Whether predictions go with targets: hits weighted to a class's share, by permutation.

    Under shuffled labels the balanced accuracy has mean 1/K and a variance of at most
    sum_c v / n_c / K^2 with v = 1/4, K the classes with images.
    """
    counts = [sum(row) for row in confusion if sum(row)]
    k = len(counts)
    if k < 2:
        return False
    # Of a class predicted with share p the hits vary by p(1 - p); columns give p.
    total = sum(counts)
    variance = 0.0
    for i, row in enumerate(confusion):
        if sum(row):
            share = sum(other[i] for other in confusion) / total
            variance += max(share * (1 - share), 1 / total) / sum(row)
    return balanced_accuracy(confusion) - 1 / k > SIGNIFICANT_Z * math.sqrt(variance) / k


def _missed(train: Confusion, val: Confusion) -> tuple[int, ...]:
    found = []
    for i in range(len(train)):
        seen = sum(train[i]) + sum(val[i])
        if seen >= OFTEN and sum(val[i]) and (train[i][i] + val[i][i]) <= 0.02 * seen:
            found.append(i)
    return tuple(found)
