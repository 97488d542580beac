"""A learning curve in words: ranks, what cannot be told, and that images may not be the limit."""

from __future__ import annotations

import io

import numpy as np
from rich.console import Console

from everyclass.stats.learning_curve import Halved, learning_curve
from everyclass.terminal.curve import curve_view

COUNTS = np.array([[25, 50], [50, 100], [100, 200]])


def shown(shares: tuple[float, float, float], *, halved: bool = False) -> str:
    """Class [a] is right in these shares at the three sizes, class b always in 0.8."""
    labels = np.repeat([0, 1], 200)
    place = np.arange(400) % 200
    right = np.array([np.where(labels == 0, place < 200 * one, place < 160) for one in shares])
    arms = np.repeat(right[:, None], 2, axis=1)
    alone = [Halved(label=0, images=50, right=arms[1])] if halved else []
    found = learning_curve(
        arms, labels, counts=COUNTS, classes=("[a]", "b"), split="test", halved=alone, draws=300
    )
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(curve_view(found))
    return console.export_text()


def test_gains_are_ranked_and_named() -> None:
    text = shown((0.4, 0.6, 0.75))
    assert text.index("'[a]', if all classes double: +0.") < text.index("'b', if all classes")
    assert (
        "'b', if all classes double: -0.00" in text or "'b', if all classes double: +0.00" in text
    )
    assert "cannot be told" in text
    assert "No class was measured alone" in text
    assert "train longer" not in text


def test_a_class_measured_alone_has_its_line() -> None:
    text = shown((0.4, 0.6, 0.75), halved=True)
    assert "'[a]': 50 -> 100 images, recall 0.60 -> 0.75: +0.15" in text
    assert "  '[a]': +0." in text


def test_a_flat_curve_says_that_images_are_not_the_limit() -> None:
    assert "train longer (--epochs) before you collect more" in shown((0.7, 0.7, 0.7))
