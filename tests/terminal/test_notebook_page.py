"""Progress in a notebook: one output, rewritten in place, without widgets."""

from __future__ import annotations

from typing import Any

import IPython.display
import pytest
from rich.console import Console
from rich.text import Text

from everyclass.printing import progress_console
from everyclass.terminal.notebook_page import NotebookPage
from everyclass.terminal.training import TrainingView
from everyclass.workflows.events import EpochDone, StepsDone, TrainingStarted


class Cell:
    """Stands for a notebook's cell: what it was first shown, and each rewriting."""

    def __init__(self) -> None:
        self.outputs = 0
        self.shown: list[dict[str, str]] = []

    def display(self, bundle: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        assert raw
        assert display_id
        self.outputs += 1
        self.update(bundle, raw=True)
        return self

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(bundle)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    cell = Cell()
    monkeypatch.setattr(IPython.display, "display", cell.display)
    return cell


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_stay_and_what_goes_on_is_rewritten(cell: Cell) -> None:
    clock = Clock()
    page = NotebookPage(clock=clock)
    page.add(Text("first <line>", style="bold red"))
    for done in range(100):
        clock.now += 0.01
        page.update(Text(f"{done} done", style="dim"))
    page.add("second")
    page.stop()
    assert cell.outputs == 1
    assert len(cell.shown) <= 7, "a second of a hundred updates is four of them"
    assert any("done" in one["text/plain"] for one in cell.shown)
    assert cell.shown[-1]["text/plain"] == "first <line>\nsecond"
    page_html = cell.shown[-1]["text/html"]
    assert "<b>first &lt;line&gt;</b>\nsecond" in page_html
    assert "color" not in page_html


def test_a_page_without_lines_shows_nothing(cell: Cell) -> None:
    NotebookPage().stop()
    assert cell.outputs == 0


def epoch(number: int) -> EpochDone:
    return EpochDone(
        step=10 * (number + 1),
        epoch=number,
        epochs=3,
        train_loss=0.5,
        val_loss=0.6,
        accuracy=0.8,
        balanced_accuracy=0.75,
        macro_f1=0.7,
        recalls=(0.5, 1.0),
        predicted_shares=(0.4, 0.6),
        best=True,
        images_per_second=100.0,
        seconds=1.0,
    )


def events() -> list[Any]:
    steps = StepsDone(
        step=5,
        epoch=0,
        loss=0.7,
        recalls=(0.5, 0.5),
        predicted_shares=(0.5, 0.5),
        images_per_second=100.0,
        seconds_left=9.0,
        verdict="healthy",
        opening=False,
        sentence="It learns.",
    )
    started = TrainingStarted(
        classes=("ash", "birch"),
        counts=(10, 20),
        n_steps=30,
        first_step=0,
        epochs=3,
        weights="random",
    )
    return [started, *([steps] * 50), epoch(0), *([steps] * 50), epoch(1), epoch(2)]


def test_a_training_in_a_notebook_is_one_output_with_a_line_an_epoch(cell: Cell) -> None:
    with TrainingView(Console(force_jupyter=True)) as view:
        view.count(32, 64)
        for event in events():
            view.show(event)
    assert cell.outputs == 1
    assert "32 of 64 images" in cell.shown[0]["text/plain"]
    last = cell.shown[-1]["text/plain"]
    assert last.count("balanced accuracy") == 3
    assert "left" not in last, "the panel is gone at the end"


def test_a_quiet_view_shows_nothing_in_a_notebook(cell: Cell) -> None:
    with TrainingView(Console(force_jupyter=True), quiet=True) as view:
        view.count(32, 64)
        for event in events():
            view.show(event)
    assert cell.outputs == 0


def test_a_command_that_a_notebook_starts_redraws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert not progress_console().is_terminal
