"""The slices in words: shown ones a line each, else one line."""

from __future__ import annotations

import numpy as np

from everyclass.stats.slices import Numbers, find_slices
from everyclass.terminal.slices import slice_lines
from everyclass.workflows.looks import grey_words


def lines(*, worse: float) -> list[str]:
    rng = np.random.default_rng(0)
    greys = rng.random(400)
    correct = rng.random(400) < np.where(greys < 0.25, 0.8 - worse, 0.8)
    found = find_slices(
        correct,
        np.arange(400) % 2,
        classes=("a", "b"),
        numbers=(Numbers(attribute="brightness", values=greys, digits=2, words=grey_words),),
    )
    return [line.plain for line in slice_lines(found)]


def test_a_bad_slice_is_a_line_with_its_figures() -> None:
    first = lines(worse=0.4)[0]
    assert first.startswith("Worse: images darker than 0.2")
    assert "elsewhere at the same classes." in first
    assert len(lines(worse=0.4)) <= 4


def test_nothing_shown_is_one_line_with_the_nearest() -> None:
    (line,) = lines(worse=0.0)
    assert line.startswith("No slice is shown to be worse (12 looked at). Nearest to it: ")
    assert "with allowance for the looks" in line
