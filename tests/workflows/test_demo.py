"""The demo: the same split for the script and for ours, and a story that is told as it went."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from everyclass.errors import InputError
from everyclass.images.synthetic import write_demo_images
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.demo import (
    OURS,
    TABLE,
    watch_script,
    write_images,
)
from everyclass.workflows.events import Audited, Event
from everyclass.workflows.train import TrainOptions, explain


def test_the_demo_takes_no_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="not from a demo"):
        write_images(tmp_path, "digits")


def test_the_script_learns_from_the_images_that_ours_learns_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_demo_images(tmp_path / "images", n=60, side=32, threads=2)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: None)
    act = watch_script(tmp_path, source, quiet=True)
    assert act.fix is None
    with open(act.folder / TABLE, newline="") as file:
        written = {row["image"]: (row["label"], row["split"]) for row in csv.DictReader(file)}
    seen: list[Event] = []
    explain(
        DataSource(source=str(source)), TrainOptions(wishes=OURS["tissue"]), on_event=seen.append
    )
    table = next(event.table for event in seen if isinstance(event, Audited))
    assert written == {
        str(Path(image).resolve()): (table.classes[label], split)
        for image, label, split in zip(table.images, table.labels(), table.splits())
    }


def test_the_script_collapses_for_want_of_shuffling(tmp_path: Path) -> None:
    act = watch_script(tmp_path, write_images(tmp_path, "digits"), quiet=True)
    assert act.diagnosis["verdict"] != "healthy"
    assert act.diagnosis["causes"][0]["id"] == "stream-sorted"
    if act.fix is not None and act.fix["copy"]:  # proved, on a machine that is fast enough
        assert act.fix["causes"] == ["stream-sorted"]
        assert "shuffle=True" in (act.folder / "train.fixed.py").read_text()
        assert act.fix["before"]["recalls"]["9"] == 0
