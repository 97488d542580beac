"""The confusion matrix: cells, levels, which images stand behind which, and in what order."""

from __future__ import annotations

import numpy as np
import pytest

from everyclass.report.confusion import Cell, images_of, in_turns, matrix_of
from everyclass.report.predictions import Predictions
from everyclass.stats.evaluation import evaluate_predictions

CLASSES = ("a", "b", "c")
LABELS = np.array([0, 0, 0, 0, 1, 1, 2])
ANSWERS = np.array([0, 1, 1, 0, 1, 2, 2])
CONFIDENCE = np.array([0.9, 0.5, 0.8, 0.4, 0.7, 0.6, 0.5])
PREDICTIONS = Predictions(
    images=tuple(f"{k}.png" for k in range(7)),
    classes=CLASSES,
    labels=LABELS,
    answers=ANSWERS,
    confidence=CONFIDENCE,
    probs=np.full((7, 3), 1 / 3),
)


def evaluation(labels: np.ndarray, answers: np.ndarray, classes: tuple[str, ...]):  # type: ignore[no-untyped-def]
    probs = np.full((len(labels), len(classes)), 1 / len(classes))
    return evaluate_predictions(
        labels,
        answers,
        probs=probs,
        probs_before_temperature=probs,
        classes=classes,
        split="test",
        decision="balanced",
        prior=[1 / len(classes)] * len(classes),
    )


def test_cells_by_hand() -> None:
    matrix = matrix_of(evaluation(LABELS, ANSWERS, CLASSES))
    assert [[cell.n for cell in row] for row in matrix.rows] == [[2, 2, 0], [0, 1, 1], [0, 0, 1]]
    # Of four of 'a' two are right: 0.5 reaches 0.2 and 0.4. A mistake of 0.5 reaches all starts.
    assert [cell.level for cell in matrix.rows[0]] == [3, 5, 0]
    assert matrix.rows[0][1].sentence == "2 images of 'a' given 'b', of 4"
    assert matrix.rows[0][0].sentence == "2 of 4 'a' recognised"
    assert [(one.label, one.answer, one.n) for one in matrix.pairs] == [
        ("a", "b", 2),
        ("b", "c", 1),
    ]
    assert [cell.is_right for cell in matrix.cells()] == [False, False, True, True, True]


def test_images_behind_a_cell() -> None:
    rows = matrix_of(evaluation(LABELS, ANSWERS, CLASSES)).rows
    assert images_of(rows[0][1], PREDICTIONS) == [2, 1]  # mistakes: the most confident first
    assert images_of(rows[0][0], PREDICTIONS) == [3, 0]  # right: the least confident first
    assert images_of(rows[2][0], PREDICTIONS) == []


def test_a_class_that_the_predictions_do_not_know_has_no_images() -> None:
    cell = Cell(id="x", label="z", answer="a", n=1, of=1, style="wrong", level=1)
    assert images_of(cell, PREDICTIONS) == []


def test_turns_give_every_cell_its_share() -> None:
    assert in_turns([[5, 6, 7], [], [8]]) == [(0, 5), (2, 8), (0, 6), (0, 7)]
    assert in_turns([]) == []


def test_of_many_classes_those_with_mistakes_are_shown() -> None:
    classes = tuple(f"c{k}" for k in range(40))
    labels = np.arange(40).repeat(3)
    answers = labels.copy()
    answers[labels == 39] = 3
    matrix = matrix_of(evaluation(labels, answers, classes))
    assert matrix.of == 40
    assert len(matrix.classes) == len(matrix.rows) == 25
    assert {"c3", "c39"} <= set(matrix.classes)
    assert [cell.n for cell in matrix.pairs] == [3]


@pytest.mark.parametrize("answers", [LABELS, (LABELS + 1) % 3])
def test_all_right_and_all_wrong(answers: np.ndarray) -> None:
    matrix = matrix_of(evaluation(LABELS, answers, CLASSES))
    assert sum(cell.n for cell in matrix.cells()) == 7
    assert bool(matrix.pairs) == (answers is not LABELS)
