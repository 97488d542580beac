"""The confusion matrix, and the images behind its cells.

Comes in: an evaluation and the answers behind it. Goes out: rows of cells, and for each cell the
rows of its images in the order in which they are worth showing. Draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from everyclass.contracts import Evaluation
from everyclass.report.predictions import Predictions

MOST_CLASSES = 25
"""A side of the matrix; of more classes, those with the most mistakes about them."""

MOST_PAIRS = 10
RIGHT_FROM = (0.2, 0.4, 0.6, 0.8)
WRONG_FROM = (0.04, 0.1, 0.2, 0.4)
"""Shares of a row from which a cell has the next level; mistakes are spread over many cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One label and one answer.

    Attributes:
        id: of the panel with its images.
        n, of: images, and images with this label.
        level: 0 to 5, how much of the row it has; `style` is right or wrong.
    """

    id: str
    label: str
    answer: str
    n: int
    of: int
    style: str
    level: int

    @property
    def is_right(self) -> bool:
        """On the diagonal."""
        return self.style == "right"

    @property
    def sentence(self) -> str:
        """What it says, in words."""
        images = "image" if self.n == 1 else "images"
        if self.is_right:
            return f"{self.n:,} of {self.of:,} '{self.label}' recognised"
        return f"{self.n:,} {images} of '{self.label}' given '{self.answer}', of {self.of:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Cells by label (row) and answer (column), of `shown` of `of` classes."""

    classes: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    of: int
    pairs: tuple[Cell, ...]

    def cells(self) -> list[Cell]:
        """Those with images, wrong ones first, the most frequent first."""
        found = [cell for row in self.rows for cell in row if cell.n]
        return sorted(found, key=lambda cell: (cell.is_right, -cell.n))


def matrix_of(evaluation: Evaluation) -> Matrix:
    """The matrix, and the most frequent confusions."""
    names = [one.name for one in evaluation.classes]
    confusion = np.array(evaluation.confusion, dtype=np.int64)
    wrong = confusion - np.diag(np.diag(confusion))
    about = wrong.sum(axis=0) + wrong.sum(axis=1)
    kept = np.sort(np.argsort(-about, kind="stable")[:MOST_CLASSES]).tolist()

    def cell(row: int, column: int) -> Cell:
        n, of = int(confusion[row, column]), int(confusion[row].sum())
        return Cell(
            id=f"cell-{row}-{column}",
            label=names[row],
            answer=names[column],
            n=n,
            of=of,
            style="right" if row == column else "wrong",
            level=_level(n / of, RIGHT_FROM if row == column else WRONG_FROM) if of else 0,
        )

    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = [divmod(int(place), len(names)) for place in order]
    return Matrix(
        classes=tuple(names[k] for k in kept),
        rows=tuple(tuple(cell(row, column) for column in kept) for row in kept),
        of=len(names),
        pairs=tuple(cell(row, column) for row, column in pairs if wrong[row, column]),
    )


def images_of(cell: Cell, predictions: Predictions) -> list[int]:
    """Rows of the predictions in a cell: mistakes by confidence, the highest first; of right
    answers the least confident first, which nearly went wrong."""
    ids = {name: k for k, name in enumerate(predictions.classes)}
    label, answer = ids.get(cell.label, -2), ids.get(cell.answer, -2)
    rows = np.flatnonzero((predictions.labels == label) & (predictions.answers == answer))
    confidence = predictions.confidence[rows]
    order = np.argsort(confidence if cell.is_right else -confidence, kind="stable")
    return [int(row) for row in rows[order]]


def in_turns(queues: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """(queue, item) pairs: the first of each queue, then the second of each, ...: so that where
    not all fit every cell has its share."""
    longest = max((len(queue) for queue in queues), default=0)
    return [
        (place, queue[turn])
        for turn in range(longest)
        for place, queue in enumerate(queues)
        if turn < len(queue)
    ]


def _level(share: float, starts: Sequence[float]) -> int:
    """0 for none, then 1, and one more for each start that is reached."""
    return 0 if share == 0 else 1 + sum(share >= start for start in starts)
