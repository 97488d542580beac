"""The evaluation as seen: 80 columns, every class by name, the baseline beside the figures."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

import numpy as np
from rich.cells import cell_len
from rich.console import Console

from everyclass.contracts import Evaluation
from everyclass.stats.evaluation import evaluate_predictions
from everyclass.terminal.evaluation import evaluation_view


def from_confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> Evaluation:
    """An evaluation with this confusion matrix; every answer is given at probability 0.8."""
    counts = np.asarray(matrix)
    targets, predictions = (
        np.repeat(ids.ravel(), counts.ravel()) for ids in np.indices(counts.shape)
    )
    size = len(names)
    probs = np.full((targets.size, size), 0.2 / (size - 1))
    probs[np.arange(targets.size), predictions] = 0.8
    return evaluate_predictions(
        targets,
        predictions,
        probs=probs,
        probs_before_temperature=probs,
        classes=names,
        split="test",
        decision="balanced",
        prior=[1 / size] * size,
    )


def shown(evaluation: Evaluation, *, width: int = 80, color: bool = False) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
    )
    console.print(evaluation_view(evaluation))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


STARVED = from_confusion([[90, 10, 0], [20, 40, 0], [30, 10, 0]], ("nv", "mel", "df"))


def test_figures_stand_beside_the_majority_baseline() -> None:
    text = shown(STARVED)
    # Recalls 90/100, 40/60, 0/40: mean .5222; 130 of 200 right; always 'nv' is right in 100.
    headline = {line.split("  ")[0]: line.split() for line in text.splitlines() if "0." in line}
    assert headline["balanced accuracy"][2] == "0.522"
    assert headline["balanced accuracy"][-1] == "0.333"
    assert headline["accuracy"][1:] == ["0.650", "0.582–0.713", "0.500"]
    assert "always 'nv'" in text


def test_each_class_has_its_row() -> None:
    rows = {line.split()[0]: line.split() for line in shown(STARVED).splitlines() if line}
    # 90 of 100, Wilson .83 to .94; precision 90/140; F1 180/240; given to 140 images.
    assert rows["nv"][1] == "100"
    assert rows["nv"][-5:] == ["0.90", "0.83–0.94", "0.64", "0.75", "140"]
    # Recall 0 is an empty bar; precision does not apply.
    assert rows["df"] == ["df", "40", "······", "0.00", "0.00–0.09", "n/a", "0.00", "0"]


def test_training_counts_stand_beside_where_known() -> None:
    trained = tuple(
        dataclasses.replace(one, train_n=n) for one, n in zip(STARVED.classes, (1_800_000, 240, 9))
    )
    text = shown(dataclasses.replace(STARVED, classes=trained))
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert "trained" in rows["Classes"]
    assert rows["nv"][1:3] == ["1,800,000", "100"]
    assert "trained" not in shown(STARVED)


def test_the_verdict_and_the_missing_classes_are_named_in_red() -> None:
    text = shown(STARVED, color=True)
    assert "\x1b[1;31m'df'" in text
    assert "\x1b[1;31mstarved" in text
    plain = shown(STARVED)
    assert "Never predicted: 'df'" in plain
    assert "Verdict: starved. 1 class is never recognised: 'df' (0 of 40 images; never" in plain


def test_a_healthy_one_is_green_and_misses_nothing() -> None:
    healthy = from_confusion([[40, 2], [3, 40]], ("a", "b"))
    assert "\x1b[1;32mhealthy" in shown(healthy, color=True)
    assert "Never predicted" not in shown(healthy)


def test_names_are_not_markup_and_fit() -> None:
    names = ("[red]a[/red]", "a class with a very long name, longer than any column", "細胞" * 15)
    text = shown(from_confusion([[40, 1, 1], [1, 40, 1], [1, 1, 40]], names))
    assert "[red]a[/red]" in text
    assert "a class with a very l…" in text
    assert max(cell_len(line) for line in text.splitlines()) <= 80


def test_large_counts_fit_in_80_columns() -> None:
    matrix = np.diag([9_000_000, 40_000, 500]) // 10 + 1
    text = shown(from_confusion(matrix, ("n" * 30, "b", "c")))
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    row = next(line for line in text.splitlines() if line.startswith("nnn"))
    assert row.split()[-1] == "900,003"
    assert row.split()[-4] == "1.00–1.00"


def test_of_many_classes_the_worst_come_first_and_the_rest_are_counted() -> None:
    # 60 classes of 50 images; class i is right in 50 - i % 40, so 20 classes share a recall, and
    # classes 39 (11 right) and 38, 37 ... are the worst.
    size = 60
    matrix = np.zeros((size, size), dtype=int)
    for i in range(size):
        matrix[i, i] = 50 - i % 40
        matrix[i, (i + 1) % size] = i % 40
    text = shown(from_confusion(matrix, [f"k{i}" for i in range(size)]))
    rows = [line.split()[0] for line in text.splitlines() if line.startswith("k")]
    assert len(rows) == 25
    assert rows[:3] == ["k39", "k38", "k37"]
    # From 11 right (k39) down to k20: 20 classes; then k19 and k59 share 31 right, and so on: the
    # 25 worst end at 33 right (k17 before k57), and k57 is left out.
    assert rows[-5:] == ["k19", "k59", "k18", "k58", "k17"]
    assert "and 35 more classes, each at recall 0.66 or above" in text


def test_fifty_classes_are_all_listed_in_the_order_of_the_model() -> None:
    text = shown(from_confusion(np.diag(np.arange(60, 10, -1)), [f"k{i}" for i in range(50)]))
    rows = [line.split()[0] for line in text.splitlines() if line.startswith("k")]
    assert rows == [f"k{i}" for i in range(50)]
    assert "more classes" not in text


def test_classes_without_images_come_last_and_are_counted() -> None:
    size = 55
    matrix = np.diag([20] * 30 + [0] * 25)
    text = shown(from_confusion(matrix, [f"k{i}" for i in range(size)]))
    assert "and 30 more classes, each at recall 1.00 or above (25 of them without images" in text


def test_what_was_set_aside_and_calibrated_is_said() -> None:
    changed = dataclasses.replace(
        STARVED, set_aside=3, temperature=1.5, ece=0.021, ece_before_temperature=0.08
    )
    text = " ".join(shown(changed).split())
    assert "3 unreadable images set aside" in text
    assert "Calibration error 0.021 at temperature 1.50, 0.080 before" in text
    assert "2 of 3 classes predicted" in text


def test_decisions_are_told_apart() -> None:
    natural = dataclasses.replace(STARVED, decision="natural")
    assert "natural decision" in shown(natural)
    assert "balanced decision" in shown(STARVED)
