"""docs/tutorial.ipynb as a reader runs it: every cell, in a kernel of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Outputs of each code cell, by what they are written by."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}},
    )
    client.execute()
    return {
        "train" if "everyclass.train(" in cell.source else cell.source.split("\n")[-1]: cell.outputs
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def html(cell: list[Any]) -> list[str]:
    return [one.data["text/html"] for one in cell if "text/html" in one.get("data", {})]


def test_the_audit_finds_the_copy_that_was_put_in(outputs: dict[str, list[Any]]) -> None:
    assert (
        "2 images in 1 group of identical files carry different labels"
        in html(outputs["audit"])[-1]
    )


def test_a_training_shows_itself_in_one_output(outputs: dict[str, list[Any]]) -> None:
    (shown,) = html(outputs["train"])
    assert shown.count("balanced accuracy") == 6, "a line an epoch"
    assert "Recipe (all of it:" in shown
    assert "auditing" not in shown, "what was going on is gone"


def test_every_class_is_recognised(outputs: dict[str, list[Any]]) -> None:
    (shown,) = html(outputs["outcome.evaluation"])
    assert "healthy" in shown
    assert all(name in shown for name in ("round", "ring", "spindle"))


def test_the_collapse_is_seen_proved_and_cured(outputs: dict[str, list[Any]]) -> None:
    cells = [shown for cell in outputs.values() for shown in html(cell)]
    assert any(shown.startswith("<p><b>collapsed at step 132") for shown in cells)
    (diagnosis,) = html(outputs["diagnosis"])
    assert "the cause is inputs-not-scaled (proved by experiment)" in diagnosis
    assert "healthy at step 132" in html(outputs["watching.summary()"])[-1]


def test_the_file_holds_no_outputs() -> None:
    """They would hold somebody's paths and go stale."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert len(notebook.cells) <= 20
    assert all(not cell.get("outputs") for cell in notebook.cells)
