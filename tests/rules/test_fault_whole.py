"""Rules of `benchmarks/faults/whole`: labels fit the scripts, twins differ little."""

from __future__ import annotations

import ast
import difflib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from everyclass.findings import CauseId

FAULTS = Path(__file__).parents[2] / "benchmarks" / "faults"
FOLDERS = sorted(path.parent for path in (FAULTS / "whole").glob("*/labels.json"))
LEAST_ALIKE = 0.9


@pytest.fixture(name="whole", scope="module")
def _whole():
    sys.path.insert(0, str(FAULTS))
    try:
        import whole

        yield whole
    finally:
        sys.path.remove(str(FAULTS))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_labels_name_scripts_that_are_there_and_causes_that_exist(folder: Path) -> None:
    labels = json.loads((folder / "labels.json").read_text())
    named = set(labels) | {one["twin"] for one in labels.values() if "twin" in one}
    assert named == {path.name for path in folder.glob("*.py")}
    for name, told in labels.items():
        ast.parse((folder / name).read_text())
        assert set(told["accepted"]) <= set(get_args(CauseId)), name
        assert bool(told["accepted"]) == ("twin" in told), name
        if "twin" in told:
            texts = [(folder / one).read_text().splitlines() for one in (name, told["twin"])]
            alike = difflib.SequenceMatcher(a=texts[0], b=texts[1]).ratio()
            assert LEAST_ALIKE <= alike < 1, name


def test_what_is_right_and_what_is_an_accusation(whole) -> None:
    def row(accepted, *named, alarmed=True):
        causes = [{"id": name, "proved": sure} for name, sure in named]
        told = {"accepted": accepted, "named": causes, "alarmed": alarmed, "checks": []}
        return {**told, "script": "x.py", "seconds": 1.0, "verdict": "collapsed"}

    rows = [
        row(["dead-units"], ("dead-units", True), ("non-finite", False)),
        row(["dead-units"], ("non-finite", True), ("dead-units", False)),
        row(["dead-units"], alarmed=False),
        row([], ("dead-units", True), alarmed=False),
        row([], alarmed=False),
    ]
    assert [whole.mark(one).strip() for one in rows] == ["ok", "second", "MISSED", "ACCUSED", "ok"]
    told = whole.report(rows)
    for name, share in (
        ("detected", "2 of 3"),
        ("first cause right", "1 of 3"),
        ("right within two", "2 of 3"),
        ("right where called proved", "1 of 2"),
        ("sound scripts accused", "1 of 2"),
    ):
        assert f"| {name} | {share} = " in told


def test_a_script_runs_as_it_is_and_is_judged(whole, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "none.py").write_text("import os\nprint(os.environ['DATA'])\n")
    (tmp_path / "set" / "labels.json").write_text(
        json.dumps({"none.py": {"accepted": [], "why": "it trains nothing"}})
    )
    scripts = whole.read_labels(tmp_path / "set")
    options = SimpleNamespace(out=tmp_path / "out", budget=1.0, data_root=tmp_path)
    found = whole.watched(scripts[0], options)
    assert (tmp_path / "out" / "none" / "stdout").read_text() == f"{tmp_path}\n"
    assert (found["code"], found["alarmed"], found["named"]) == (0, False, [])


def test_the_peers_get_the_same_runs_with_what_their_authors_saw(whole) -> None:
    folder = FOLDERS[0]
    rows = [whole.as_peers_run(one) for one in whole.read_labels(folder)]
    labels = json.loads((folder / "labels.json").read_text())
    for row in rows:
        author, name = row["key"].split("/")
        assert author == folder.name
        accepted = labels.get(name, {"accepted": []})["accepted"]
        assert row["outcome"] == ("broken" if accepted else "sound")
        assert row["text"] == (folder / name).read_text()
