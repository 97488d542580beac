"""What a report says of a folder: everything that is in it, and why something is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from html_check import Page
from report_zoo import NAMES, add_repair, watch_of, write_script

from everyclass.errors import InputError
from everyclass.report.contents import read_contents
from everyclass.report.page import make_report
from everyclass.report.result_sections import _sizes
from everyclass.report.write import write_report

ALL = [
    *("Every class", "What is taken for what", "Most confident mistakes", "Slices"),
    *("Calibration and sets", "Learning curves", "Time line", "What was found in the data"),
    *("Copies and look-alikes", "The recipe, and why", "Exact checks", "How to get the same again"),
]


def test_a_finished_run_shows_every_section(run: Path) -> None:
    report = make_report(run)
    titles = [title for level, title in Page(report.html).headings if level == 2]
    for title in ALL:
        assert title in report.sections
        assert title in titles
    left_out = {one.title for one in report.absent}
    assert {"Diagnosis"} <= left_out <= {"Diagnosis", "Suspected label errors"}


def test_the_figures_are_those_of_the_files(run: Path) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    text = Page(make_report(run).html).text
    assert f"{evaluation['balanced_accuracy']:.3f}" in text
    low, high = evaluation["balanced_accuracy_ci95"]
    assert f"{low:.3f} to {high:.3f}" in text
    for one in evaluation["classes"]:
        assert f"{one['recall']:.2f}" in text
    assert evaluation["collapse_sentence"] in text
    audit = json.loads((run / "audit.json").read_text())
    for warning in audit["warnings"]:
        assert warning["sentence"] in text
        assert warning["remedy"] in text


def test_mistakes_are_shown_by_confidence_with_label_and_answer(run: Path) -> None:
    contents = read_contents(run)
    predictions = contents.predictions
    assert predictions is not None
    assert len(predictions.wrong) == 4
    confidence = predictions.confidence[predictions.wrong]
    assert list(confidence) == sorted(confidence, reverse=True)
    text = Page(make_report(run).html).text
    row = int(predictions.wrong[0])
    assert f"given '{predictions.classes[predictions.answers[row]]}', {confidence[0]:.2f}" in text


def test_copies_under_two_labels_stand_first(run: Path) -> None:
    page = Page(make_report(run).html)
    groups = [title for level, title in page.headings if level == 4 and "label" in title]
    assert groups[0].startswith("different labels")


def test_the_commands_are_quoted(run: Path) -> None:
    text = Page(make_report(run).html).text
    assert "--out 'a b'" in text
    assert f"everyclass train {read_contents(run).audit.source} --recipe" in text  # type: ignore[union-attr]
    assert "Seed 0" in text


@pytest.mark.parametrize(
    ("file", "lost"),
    [
        ("audit.json", ["Data", "Copies and look-alikes"]),
        ("evaluation.json", ["Classes", "Confusion matrix", "Slices", "Calibration and sets"]),
        ("predictions.csv", ["Most confident mistakes", "Suspected label errors"]),
        ("metrics.jsonl", ["Learning curves"]),
        ("checks.json", ["Checks"]),
        ("findings.json", []),
        ("environment.json", []),
        ("model.json", []),
    ],
)
@pytest.mark.parametrize("damage", ["gone", "broken", "other"])
def test_a_file_that_is_gone_or_broken_costs_its_sections_alone(
    run: Path, file: str, lost: list[str], damage: str
) -> None:
    if damage == "gone":
        (run / file).unlink()
    else:
        (run / file).write_bytes(b'{"\xff\x00' if damage == "broken" else b'{"a": [1, {"b": 2}]}')
    report = make_report(run)
    page = Page(report.html)
    assert page.faults == []
    absent = {one.title for one in report.absent}
    assert set(lost) <= absent
    assert len(report.sections) >= 12 - max(len(lost), 1) - 2
    if damage == "broken" and file != "metrics.jsonl":
        assert f"{file} could not be read" in page.text


def test_an_unfinished_run_says_how_far_it_is(run: Path) -> None:
    for name in ("evaluation.json", "predictions.csv", "model.json"):
        (run / name).unlink()
    text = Page(make_report(run).html).text
    assert "not finished" in text
    assert "3 of 3" in text
    assert "--resume" in text


def test_a_run_that_has_only_begun_is_reported(run: Path) -> None:
    for path in run.iterdir():
        if path.name != "recipe.yaml":
            path.unlink()
    report = make_report(run)
    assert report.sections == ("The recipe, and why", "How to get the same again")
    assert Page(report.html).faults == []


def test_images_that_are_gone_are_counted_and_named(
    run: Path, images: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "nowhere"
    for name in ("audit.json", "predictions.csv"):
        text = (run / name).read_text(encoding="utf-8")
        (run / name).write_text(text.replace(str(images), str(moved)), encoding="utf-8")
    report = make_report(run)
    assert report.embedded == 0
    assert report.missing
    assert all(reason == "no such file" for _, reason in report.missing)
    page = Page(report.html)
    assert f"{len(report.missing)} images could not be shown" in page.text
    assert "no such file" in page.text
    assert "0 of 4 mistakes are inside this file" in page.text
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_relative_paths_need_the_folder_of_the_training(
    run: Path, images: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("audit.json", "predictions.csv"):
        text = (run / name).read_text(encoding="utf-8")
        (run / name).write_text(text.replace(f"{images}/", "images/"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    told = write_report(run)
    assert told.sentence.endswith("Start it in the folder in which the training was started.")
    assert "these paths are relative" in Page(told.report.html).text
    monkeypatch.chdir(images.parent)
    assert write_report(run).report.missing == ()


def test_an_unfinished_run_that_is_ill_says_so_first(run: Path) -> None:
    (run / "evaluation.json").unlink()
    (run / "findings.json").write_text(json.dumps(watch_of(NAMES, verdict="diverged")))
    page = Page(make_report(run).html)
    assert page.headings[0][1].startswith("diverged")


def test_a_network_that_knows_no_class_accuses_no_label(run: Path) -> None:
    healthy = make_report(run)
    assert "Suspected label errors" in healthy.sections
    evaluation = json.loads((run / "evaluation.json").read_text())
    (run / "evaluation.json").write_text(json.dumps({**evaluation, "collapse": "starved"}))
    report = make_report(run)
    reasons = {one.title: one.reason for one in report.absent}
    assert "starved" in reasons["Suspected label errors"]


def test_large_sets_are_counted_together() -> None:
    few = ((1, 30), (3, 15))
    assert _sizes(few) == [("1", 30, 1.0), ("3", 15, 0.5)]
    many = tuple((size, 10) for size in range(1, 21))
    assert _sizes(many)[-2:] == [("7", 10, 10 / 130), ("8 or more", 130, 1.0)]


def test_a_repair_has_its_own_lane_and_its_undone_epochs(repaired: Path) -> None:
    contents = read_contents(repaired)
    assert [one.step for one in contents.void] == [20, 30]
    assert contents.followed is not None
    assert contents.followed.settings.epochs == 4
    report = make_report(repaired)
    text = Page(report.html).text
    assert report.sections[:2] == ("Diagnosis", "Time line")
    for words in (
        "as it began",
        "after repair 1",
        "undone by a repair",
        "and trained on",
    ):
        assert words in text
    assert "recipe-1.yaml" in text
    assert report.html.count('class="lane"') == 2
    lanes = [one for one in Page(report.html).values("aria-label") if one.startswith("as it began")]
    assert lanes == [
        "as it began: steps 0 to 20; kept up to step 10, where all was well; "
        "1, step 20: collapsed: repaired, and trained on from step 10"
    ]


def test_an_alarm_that_was_left_makes_no_lane(run: Path) -> None:
    add_repair(run, NAMES, outcome="left", changes=(), checkpoint=None)
    report = make_report(run)
    assert report.html.count('class="lane"') == 1
    assert "nothing was changed" in Page(report.html).text


def test_a_training_that_stopped_for_want_of_repairs_says_so(run: Path) -> None:
    (run / "evaluation.json").unlink()
    add_repair(run, NAMES, outcome="stopped", changes=(), checkpoint=None)
    text = Page(make_report(run).html).text
    assert "The training was stopped at step 20" in text


def test_trials_are_drawn_with_control_change_and_interval(script: Path) -> None:
    content = make_report(script).html
    text = Page(content).text
    assert "0.33 → 0.90, gain +0.40 to +0.70" in text
    assert "another order alone 0.31, permuted labels 0.30" in text
    assert "(by heart)" in text
    assert "train.py:17" in text
    assert "no difference shown" in text
    told = [one for one in Page(content).values("aria-label") if "instead of 0.33" in one]
    assert len(told) == 2


def test_a_watched_script_shows_what_its_folder_holds(script: Path) -> None:
    report = make_report(script)
    assert report.sections == (
        "Diagnosis",
        "The fixed copy, before and after",
        "Time line",
        "Exact checks",
        "How to get the same again",
    )
    text = Page(report.html).text
    assert "everyclass run --out" in text
    assert "Every batch is given a single class" in text
    assert "-return softmax(x)" in text


def test_a_script_without_torch_is_reported(tmp_path: Path) -> None:
    folder = write_script(tmp_path / "plain", fixed=False)
    found = json.loads((folder / "findings.json").read_text())
    found.update(verdict=None, summary=None, findings=[], checks=[], step=0, phase="nothing-seen")
    (folder / "findings.json").write_text(json.dumps(found))
    (folder / "diagnosis.json").unlink()
    report = make_report(folder)
    assert report.sections == ("How to get the same again",)
    assert "not watched" in Page(report.html).text


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "There is no folder"),
        (lambda folder: folder.write_text("x"), "is a file"),
        (lambda folder: folder.mkdir(), "is not a run"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, make: object, words: str) -> None:
    make(tmp_path / "it")  # type: ignore[operator]
    with pytest.raises(InputError, match=words):
        read_contents(tmp_path / "it")


def test_findings_of_another_kind_are_refused(tmp_path: Path, run: Path) -> None:
    (tmp_path / "odd").mkdir()
    shutil.copy(run / "findings.json", tmp_path / "odd" / "findings.json")
    with pytest.raises(InputError, match="did not write"):
        read_contents(tmp_path / "odd")
