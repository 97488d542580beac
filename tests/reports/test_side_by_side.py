"""Finished runs side by side: what is read, what is matched, what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_zoo import NAMES, add_repair, write_run, write_script
from rich.console import Console

from everyclass.cli import main
from everyclass.errors import InputError
from everyclass.report.runs import read_run
from everyclass.report.side_by_side import SideBySide, compare_runs
from everyclass.stats.paired import mcnemar_exact
from everyclass.terminal.side_by_side import side_by_side_view


@pytest.fixture
def worse(images: Path, tmp_path: Path) -> Path:
    """Another training on the same images, with more mistakes and another recipe."""
    path = write_run(tmp_path / "worse", images, mistakes=9)
    text = (path / "recipe.yaml").read_text(encoding="utf-8")
    (path / "recipe.yaml").write_text(text.replace("epochs:\n  value: 3", "epochs:\n  value: 7"))
    return path


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["compare", *map(str, arguments)])
    return int(stop.value.code or 0)


def shown(found: SideBySide, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(side_by_side_view(found), highlight=False)
    return capture.get()


def read_rows(run: Path) -> list[dict[str, str]]:
    with open(run / "predictions.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(run: Path, rows: list[dict[str, str]]) -> None:
    with open(run / "predictions.csv", "w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, rows[0])
        out.writeheader()
        out.writerows(rows)


def test_oracle_the_counts_are_those_of_the_files(run: Path, worse: Path) -> None:
    found = compare_runs([run, worse])
    (pair,) = found.pairs
    right = [
        [row["label"] == row["prediction_balanced"] for row in read_rows(one)]
        for one in (run, worse)
    ]
    first_only = sum(a and not b for a, b in zip(*right))
    second_only = sum(b and not a for a, b in zip(*right))
    whole, *classes = pair.tests
    assert pair.same_images
    assert found.figures_compare
    assert (whole.first_only, whole.second_only) == (first_only, second_only)
    assert whole.p == mcnemar_exact(first_only, second_only)
    assert {one.name for one in classes} == set(NAMES)
    evaluations = [json.loads((one / "evaluation.json").read_text()) for one in (run, worse)]
    for one in classes:
        ours, theirs = (
            next(c["recall"] for c in values["classes"] if c["name"] == one.name)
            for values in evaluations
        )
        assert one.gain == pytest.approx(theirs - ours)


def test_only_settings_that_differ_are_told(run: Path, worse: Path) -> None:
    found = compare_runs([run, worse])
    assert found.differences == (("epochs", ("3", "7")),)
    same = compare_runs([run, Path(shutil.copytree(run, worse.parent / "copy"))])
    assert same.differences == ()
    assert "The recipes are the same." in shown(same)
    assert "No difference is shown" in shown(same)


def test_a_repaired_run_counts_as_it_went_on(run: Path, worse: Path) -> None:
    add_repair(run, NAMES)
    found = compare_runs([run, worse])
    assert found.differences == (("epochs", ("4", "7")),)
    assert found.runs[0].repairs == 1


def test_seconds_of_all_sittings_are_added(run: Path) -> None:
    # 10 s, then resumed twice: 4 and 9 s of one sitting, 2 s of the last.
    lines = [{"step": k, "seconds": s} for k, s in enumerate((3.0, 10.0, 4.0, 9.0, 2.0))]
    text = "\n".join(json.dumps(line) for line in lines)
    (run / "metrics.jsonl").write_text(f'{text}\n[1]\n"x"\n{{"seconds": null}}\n{{"sec')
    assert read_run(run).seconds == 10 + 9 + 2


def test_other_test_images_are_said_and_left_out(run: Path, worse: Path) -> None:
    rows = read_rows(worse)
    rows[0]["image"], rows[1]["image"] = "elsewhere/1.png", "elsewhere/2.png"
    rows[2]["label"] = next(name for name in NAMES if name != rows[2]["label"])
    write_rows(worse, rows[:-1])
    found = compare_runs([run, worse])
    (pair,) = found.pairs
    # Of n images two are others, one is labelled otherwise, one is missing: n - 4 are common.
    n = len(rows)
    assert (pair.images, pair.relabelled) == (n - 4, 1)
    assert (pair.first_alone, pair.second_alone) == (3, 2)
    assert not found.figures_compare
    text = " ".join(shown(found).split())
    assert "The figures above do not compare" in text
    assert "1 by both under different labels" in text


def add_manifest(run: Path, root: str, *, group: Any = None) -> None:
    """As `train` writes it: paths without the folder, and the content of each file."""
    images = [row["image"] for row in read_rows(run)]
    contents = [f"{Path(one).parent.name}/{Path(one).name}".encode()[-16:] for one in images]
    table = pa.table(
        {
            "image": [one.removeprefix(root) for one in images],
            "group": pa.array([group] * len(images), pa.string()),
            "content": pa.array([one.rjust(16, b"-") for one in contents], pa.binary()),
        }
    )
    pq.write_table(table, run / "manifest.parquet")


def test_images_that_were_moved_are_the_same_by_content(
    run: Path, worse: Path, images: Path
) -> None:
    before = compare_runs([run, worse])
    add_manifest(run, f"{images}/")
    rows = read_rows(worse)
    for row in rows:
        row["image"] = row["image"].replace(str(images), "/moved/there")
    write_rows(worse, rows[::-1])
    assert compare_runs([run, worse]).pairs[0].why_not == "no image was judged by both"
    add_manifest(worse, "/moved/there/", group="patient 1")
    after = compare_runs([run, worse])
    assert after.pairs == before.pairs
    assert after.runs[1].by_content
    assert after.runs[1].grouped
    assert "images of one group count as independent" in " ".join(shown(after).split())


def test_a_script_stands_beside_a_training(run: Path, script: Path) -> None:
    found = compare_runs([run, script])
    assert found.runs[1].verdict == "collapsed"
    assert found.pairs[0].why_not == f"{script} has no answers image by image"
    # Of what only one of them has nothing is said: a script has no recipe.
    assert found.differences == (("model", ("resnet10t", "Net (train.py:17)")),)
    text = shown(found)
    assert "recipes are the same" not in text
    assert "its last 64 training images" in " ".join(text.split())
    assert "Cause, proved: softmax-before-loss." in text
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    "name", ["evaluation.json", "predictions.csv", "recipe.yaml", "manifest.parquet", "audit.json"]
)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", None])
def test_a_damaged_file_costs_what_stands_in_it(
    run: Path, worse: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (worse / name).write_bytes(content)
    elif name not in ("recipe.yaml", "manifest.parquet"):
        (worse / name).unlink()
    found = compare_runs([run, worse])
    shown(found)
    json.dumps(found.to_dict(), allow_nan=False)
    if name == "predictions.csv":
        assert found.pairs[0].why_not
    if name == "evaluation.json":
        assert found.runs[1].evaluation is None
        assert any("evaluation" in note for note in found.runs[1].notes)


def test_an_unfinished_run_says_so(run: Path, worse: Path) -> None:
    for name in ("evaluation.json", "predictions.csv"):
        (worse / name).unlink()
    text = " ".join(shown(compare_runs([run, worse])).split())
    assert "B: It has no evaluation: it is not finished" in text


def test_classes_that_are_not_in_both(run: Path, images: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", images)
    rows = [row for row in read_rows(other) if row["label"] != "cedar"]
    write_rows(other, rows)
    (pair,) = compare_runs([run, other]).pairs
    assert "cedar" not in {one.name for one in pair.tests}


def test_several_runs_are_each_tested_against_the_first(
    run: Path, worse: Path, images: Path, tmp_path: Path
) -> None:
    folders = [run, worse, *(write_run(tmp_path / f"r{k}", images, mistakes=k) for k in range(3))]
    found = compare_runs(folders)
    assert [one.second for one in found.pairs] == [1, 2, 3, 4]
    alone = compare_runs([run, worse]).pairs[0].tests[0]
    assert found.pairs[0].tests[0].p == alone.p
    assert found.pairs[0].tests[0].adjusted_p >= alone.adjusted_p
    text = shown(found)
    assert max(map(len, text.splitlines())) <= 80
    assert "corrected by Holm for 16 looks" in " ".join(text.split())


def test_names_are_never_markup(run: Path, worse: Path) -> None:
    assert NAMES[1] in shown(compare_runs([run, worse]), width=200)


def test_accuracy_that_rises_while_classes_are_lost_is_said(images: Path, tmp_path: Path) -> None:
    """The rows are known: 24 of 'ash' and 4 of 'cedar'. The second run calls every image 'ash'."""
    runs = [write_run(tmp_path / name, images, mistakes=0) for name in ("fair", "collapsed")]
    line = read_rows(runs[0])[0]
    for run, answers in zip(runs, (["cedar"] * 12 + ["ash"] * 12 + ["cedar"] * 4, ["ash"] * 28)):
        labels = ["ash"] * 24 + ["cedar"] * 4
        known = {"image": "", "label": "", "prediction_balanced": ""}
        assert known.keys() <= line.keys()
        write_rows(
            run,
            [
                {**line, "image": f"{k}.png", "label": label, "prediction_balanced": answer}
                for k, (label, answer) in enumerate(zip(labels, answers))
            ],
        )
    found = compare_runs(runs)
    (pair,) = found.pairs
    whole, ash, cedar = pair.tests
    # Accuracy 16/28 -> 24/28; recalls 12/24 and 4/4 -> 1 and 0: their mean falls by a quarter.
    assert whole.gain == pytest.approx(8 / 28)
    assert (ash.gain, cedar.gain, pair.balanced_gain) == (0.5, -1.0, -0.25)
    assert (ash.p, cedar.p) == pytest.approx((2 / 2**12, 2 / 2**4))
    text = " ".join(shown(found).split())
    assert "recognises 'ash' more often (+0.500)" in text
    assert "the mean recall of the classes moves by -0.250" in text


def test_the_command(run: Path, worse: Path, tmp_path: Path, capsys: Any) -> None:
    assert call(run, worse, "--json", tmp_path / "found.json") == 0
    told = capsys.readouterr()
    assert f"A  {run}"[:60] in told.out
    assert told.err == ""
    value = json.loads((tmp_path / "found.json").read_text())
    assert value["figures_compare"] is True
    assert [one["folder"] for one in value["runs"]] == [str(run), str(worse)]
    assert value["pairs"][0]["tests"][0]["class"] is None
    assert call(run, worse, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_what_cannot_be_compared_is_one_message(
    run: Path, worse: Path, images: Path, tmp_path: Path, capsys: Any
) -> None:
    for arguments, words in (
        ((run,), "nothing to be compared with"),
        ((run, images), f"{run} is a run, and {images} is none"),
        ((images, run), f"{run} is a run, and {images} is none"),
        ((images, tmp_path), "none is a run"),
        ((run, tmp_path / "absent"), "is none"),
        ((run, worse, run), "named twice"),
        ((run, worse, "--epochs", 3), "--epochs says how to train"),
        ((run, worse, "--out", tmp_path / "x"), "--out says how to train"),
        ((run, worse, "--image-size", 32), "--image-size says how to train"),
        ((images,), "No folder for the runs was given"),
    ):
        assert call(*arguments) == 2, arguments
        told = capsys.readouterr()
        assert words in told.err, arguments
        assert told.err.startswith("everyclass: ")
        assert told.out == ""
    assert not (tmp_path / "x").exists()


def test_torch_is_not_loaded(run: Path, worse: Path) -> None:
    code = (
        "import sys\nfrom everyclass.cli import main\n"
        f"try:\n    main(['compare', {str(run)!r}, {str(worse)!r}])\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        "print({'torch', 'torchvision', 'timm', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "set()"


def test_a_script_folder_that_is_damaged(run: Path, tmp_path: Path, capsys: Any) -> None:
    script = write_script(tmp_path / "script2")
    (script / "findings.json").write_text("{}")
    assert call(run, script) == 2
    assert "did not write" in capsys.readouterr().err


def test_images_that_stand_twice_are_matched_once_each(run: Path, worse: Path) -> None:
    for one in (run, worse):
        rows = read_rows(one)
        write_rows(one, [*rows, rows[0]])
    (pair,) = compare_runs([run, worse]).pairs
    assert pair.same_images
    assert pair.images == len(read_rows(run))
    assert isinstance(pair.tests[0].gain, float)
    assert np.isfinite(pair.tests[0].gain)


def test_fewer_than_two_are_refused(run: Path) -> None:
    with pytest.raises(InputError, match="nothing to be compared"):
        compare_runs([run])
