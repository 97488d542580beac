"""docs/tutorial.ipynb as a reader runs it: every cell, in a kernel of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The code cells with what each left."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}},
    )
    client.execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cells: list[Any], words: str) -> list[str]:
    """The HTML that cells with these words in their source left, in order."""
    return [
        one.data["text/html"]
        for cell in cells
        if words in cell.source
        for one in cell.outputs
        if "text/html" in one.get("data", {})
    ]


def test_the_audit_finds_the_copy_that_was_put_in(cells: list[Any]) -> None:
    audit = shown(cells, "audit_images")[-1]
    assert "2 images in 1 group of identical files carry different labels" in audit


def test_a_training_shows_itself_in_one_output(cells: list[Any]) -> None:
    (training,) = shown(cells, "everyclass.train(")
    assert training.count("val loss") == 6, "a line an epoch"
    assert "Recipe (all of it:" in training
    assert "auditing" not in training, "what was going on is gone"


def test_every_class_is_recognised(cells: list[Any]) -> None:
    (evaluation,) = shown(cells, "outcome.evaluation")
    assert "healthy" in evaluation
    assert all(name in evaluation for name in ("round", "ring", "spindle"))


def test_the_collapse_is_seen_proved_and_cured(cells: list[Any]) -> None:
    collapsed, cured = shown(cells, "everyclass.watch(")
    assert "collapsed at step 132" in collapsed
    (diagnosis,) = shown(cells, "everyclass.diagnose(")
    assert "the cause is inputs-not-scaled (proved by experiment)" in diagnosis
    assert "healthy at step 132" in cured


def test_the_file_holds_no_outputs() -> None:
    """They would hold somebody's paths and go stale."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert len(notebook.cells) <= 20
    assert all(not cell.get("outputs") for cell in notebook.cells)
