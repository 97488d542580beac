"""`everyclass report`: its file, JSON and messages; the report that other commands leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from report_zoo import write_script

from everyclass.cli import main
from everyclass.commands import report as report_command
from everyclass.errors import EveryclassError
from everyclass.workflows.machine import typed_command


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["report", *arguments])
    return int(stop.value.code or 0)


def test_the_report_lies_in_the_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(str(run)) == 0
    told = capsys.readouterr()
    assert f"Report: {run}/report.html (" in told.out
    assert "pictures)" in told.out
    assert told.err == ""
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_out_json_and_quiet(
    script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, found = tmp_path / "new" / "page.html", tmp_path / "found.json"
    assert call(str(script), "--out", str(page), "--json", str(found), "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    value = json.loads(found.read_text())
    assert value["report"] == str(page)
    assert value["bytes"] == page.stat().st_size
    assert "Diagnosis" in value["sections"]
    assert all(one["reason"] for one in value["left_out"])
    assert value["pictures"] == {"embedded": 0, "asked": 0, "missing": []}
    assert not (script / "report.html").exists()


def test_bad_input_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert call(str(tmp_path / "empty")) == 2
    assert call(str(tmp_path / "none")) == 2
    assert capsys.readouterr().err.count("everyclass: ") == 2
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_folder_is_no_file(script: Path, tmp_path: Path) -> None:
    assert call(str(script), "--out", str(tmp_path)) == 2


def test_torch_is_not_loaded(tmp_path: Path) -> None:
    folder = write_script(tmp_path / "script")
    code = (
        "import sys\nfrom everyclass.report.write import write_report\nfrom pathlib import Path\n"
        f"write_report(Path({str(folder)!r}))\n"
        "print({'torch', 'torchvision', 'timm', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_report_that_cannot_be_written_costs_nothing_else(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise EveryclassError("report.html could not be written: No space left on device.")

    monkeypatch.setattr("everyclass.report.write.write_atomically", full)
    assert report_command.leave_report(script) == (
        "No report was written: report.html could not be written: No space left on device."
    )


@pytest.mark.parametrize("rank", ["0", "1"])
def test_run_leaves_a_report_and_nothing_of_an_earlier_run(
    tmp_path: Path, script: Path, rank: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text("print('hello')\n")
    (script / "report.html").write_text("old")
    words = ["run", "--out", str(script), str(program)]
    code = f"from everyclass.cli import main; main({words!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "RANK": rank},
    )
    assert done.stdout == "hello\n"
    page = (script / "report.html").read_text()
    if rank == "1":  # not the process that watches
        assert page == "old"
        return
    assert f"Report: {script}/report.html" in done.stderr
    assert "never loaded torch" in page
    assert not (script / "diagnosis.json").exists()
    assert not (script / "fix.json").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["/usr/bin/everyclass", "train", "a b"], ["everyclass", "train", "a b"]),
        (["/x/everyclass/__main__.py", "train"], ["everyclass", "train"]),
        (["notebook.py", "train"], None),
        ([], None),
    ],
)
def test_the_typed_command_is_kept(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], words: list[str] | None
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert typed_command() == words
