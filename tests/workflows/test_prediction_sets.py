"""Prediction sets of a finished run: the file of scores, `predict --coverage`, `evaluate`."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from everyclass import cli
from everyclass.contracts import Evaluation
from everyclass.errors import InputError
from everyclass.models.file import load_model
from everyclass.run_folder import RunFolder
from everyclass.stats.conformal import CalibrationScores, conformal_thresholds
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.evaluate import evaluate
from everyclass.workflows.finish import choose_decision
from everyclass.workflows.predict import predict
from everyclass.workflows.train import TrainOptions, train
from image_folders import write_image_folder

CLASSES = ("ash", "birch", "cedar")
EVEN = {"ash": 1.0, "birch": 1.0, "cedar": 1.0}


def silent(done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def run(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained with a balanced sampler, which must not touch what is calibrated on."""
    out = tmp_path_factory.mktemp("sets") / "run"
    wishes = {
        "model": "test_resnet",
        "image_size": 32,
        "epochs": 6,
        "batch_size": 8,
        "imbalance": ["balanced-sampling"],
        "threads": 1,
        "device": "cpu",
    }
    source = DataSource(source=str(image_folder))
    train(source, out, TrainOptions(wishes=wishes), on_event=lambda _: None)
    return out


def scores_of(run: Path) -> CalibrationScores:
    values = json.loads((run / "conformal.json").read_text())
    return CalibrationScores.from_dict(values, where="conformal.json")


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def command(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


# -- what a run keeps ------------------------------------------------------------------------------


def test_the_scores_are_of_validation_images_at_their_natural_frequencies(
    run: Path, image_folder: Path, tmp_path: Path
) -> None:
    manifest = pq.read_table(run / "manifest.parquet").to_pydict()
    rows = [k for k, split in enumerate(manifest["split"]) if split == 1]
    counts = np.bincount([manifest["label"][k] for k in rows], minlength=3)
    scores = scores_of(run)
    assert scores.classes == CLASSES
    np.testing.assert_array_equal([own.size for own in scores.probs], counts)
    assert counts[0] > 3 * counts[2]  # as unequal as the data: no sampler came near
    # The very probabilities that a prediction of the same images at even classes gives.
    paths = [str(image_folder / manifest["image"][k]) for k in rows]
    predict(run, paths, tmp_path / "p.parquet", prior=EVEN, on_progress=silent)
    told = pq.read_table(tmp_path / "p.parquet").to_pydict()
    for name, own in zip(CLASSES, scores.probs):
        mine = [k for k, path in enumerate(told["image"]) if Path(path).parent.name == name]
        np.testing.assert_allclose(np.sort([told[f"prob_{name}"][k] for k in mine]), own, atol=1e-4)


def test_the_evaluation_holds_sets_and_reliability(run: Path) -> None:
    evaluation = Evaluation.from_dict(json.loads((run / "evaluation.json").read_text()))
    assert evaluation.prediction_sets is not None
    assert evaluation.prediction_sets.coverage == 0.9
    assert not evaluation.prediction_sets.same_images
    assert evaluation.prediction_sets.n == evaluation.n
    for bins, error in (
        (evaluation.reliability, evaluation.ece),
        (evaluation.reliability_before_temperature, evaluation.ece_before_temperature),
    ):
        assert sum(one.n for one in bins) == evaluation.n
        by_bins = sum(one.n * abs(one.accuracy - one.confidence) for one in bins) / evaluation.n
        assert by_bins == pytest.approx(error)


def test_the_diagram_is_a_picture(run: Path) -> None:
    with Image.open(io.BytesIO((run / "reliability.png").read_bytes())) as picture:
        assert picture.format == "PNG"
        assert picture.width > 500
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10  # something is drawn


# -- predict ---------------------------------------------------------------------------------------


def test_predict_adds_the_set_most_probable_first(
    run: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, told = tmp_path / "p.csv", tmp_path / "p.json"
    even = "ash=1,birch=1,cedar=1"  # the probabilities that sets are scored by
    arguments = ("--coverage", "0.7", "--prior", even, "--out", out, "--json", told)
    assert command("predict", run, image_folder, *arguments) == 0
    thresholds = conformal_thresholds(scores_of(run), coverage=0.7).thresholds
    rows = read(out)
    for row in rows:
        probs = np.array([float(row[f"prob_{name}"]) for name in CLASSES])
        members = row["set"].split("|")
        inside = {name for name, p, t in zip(CLASSES, probs, thresholds) if p >= t}
        assert set(members) == (inside or {CLASSES[int(probs.argmax())]})
        assert int(row["set_size"]) == len(members)
        order = [probs[CLASSES.index(name)] for name in members]
        assert order == sorted(order, reverse=True)
    sizes = np.bincount([int(row["set_size"]) for row in rows])
    summary = json.loads(told.read_text())["sets"]
    assert summary["sizes"] == {str(k): int(n) for k, n in enumerate(sizes) if n}
    assert summary["mean_size"] == pytest.approx(np.mean([int(row["set_size"]) for row in rows]))
    shown = " ".join(capsys.readouterr().out.split())
    assert "Sets at 70 % coverage: " in shown
    assert "at least 70 % of the images of each class" in shown


def test_a_class_with_too_few_images_is_in_every_set_and_named(
    run: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = scores_of(run).probs[2].size
    assert few < 9
    out = tmp_path / "p.csv"
    assert command("predict", run, image_folder, "--coverage", "0.9", "--out", out) == 0
    assert all("cedar" in row["set"].split("|") for row in read(out))
    shown = " ".join(capsys.readouterr().out.split())
    assert "In every set, because 90 % needs at least 9 validation images of a class:" in shown
    assert f"'cedar' ({few})." in shown


def test_without_coverage_nothing_is_added(run: Path, image_folder: Path, tmp_path: Path) -> None:
    predict(run, [str(image_folder)], tmp_path / "p.csv", on_progress=silent)
    assert "set" not in read(tmp_path / "p.csv")[0]


def test_a_prior_leaves_the_sets_but_for_the_classes_it_excludes(
    run: Path, image_folder: Path, tmp_path: Path
) -> None:
    told = {}
    excluding = {"ash": 0.0, "birch": 1.0, "cedar": 3.0}
    for name, prior in (("plain", None), ("even", EVEN), ("excluding", excluding)):
        path = tmp_path / f"{name}.parquet"
        predict(run, [str(image_folder)], path, prior=prior, coverage=0.7, on_progress=silent)
        told[name] = [set(one) for one in pq.read_table(path)["set"].to_pylist()]
    assert told["plain"] == told["even"]
    for plain, rest in zip(told["plain"], told["excluding"]):
        assert "ash" not in rest
        assert rest == plain - {"ash"} or (plain == {"ash"} and len(rest) == 1)


def test_lists_in_json_lines_and_nothing_for_an_unreadable_image(
    run: Path, image_folder: Path, tmp_path: Path
) -> None:
    folder = write_image_folder(tmp_path / "images", {"ash": 3})
    (folder / "ash" / "empty.jpg").write_bytes(b"")
    for suffix in ("jsonl", "csv"):
        predict(run, [str(folder)], tmp_path / f"p.{suffix}", coverage=0.7, on_progress=silent)
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    flat = read(tmp_path / "p.csv")
    assert [row["set"] is None for row in rows] == [bool(row["reason"]) for row in rows]
    for row, same in zip(rows, flat):
        assert same["set"] == ("" if row["set"] is None else "|".join(row["set"]))


@pytest.mark.parametrize("coverage", ["0", "1", "1.5", "nan", "-0.1", "90", "much"])
@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_a_coverage_that_is_no_share_is_bad_usage(
    name: str,
    coverage: str,
    run: Path,
    image_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ("--out", tmp_path / "p.csv") if name == "predict" else ()
    assert command(name, run, image_folder, "--coverage", coverage, *out) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "is not between 0 and 1" in said or "Invalid value for '--coverage'" in said
    assert list(tmp_path.iterdir()) == []


def test_a_class_name_with_the_separator_goes_into_a_list_only(run: Path, tmp_path: Path) -> None:
    odd = tmp_path / "run"
    shutil.copytree(run, odd)
    for name in ("model.json", "conformal.json"):
        (odd / name).write_text((odd / name).read_text().replace('"ash"', '"a|sh"'))
    folder = write_image_folder(tmp_path / "images", {"ash": 2})
    with pytest.raises(InputError, match=r"'a\|sh' holds '\|'.*\.jsonl or \.parquet"):
        predict(odd, [str(folder)], tmp_path / "p.csv", coverage=0.7, on_progress=silent)
    result = predict(odd, [str(folder)], tmp_path / "p.jsonl", coverage=0.7, on_progress=silent)
    assert result.sets is not None


# -- evaluate, and earlier runs --------------------------------------------------------------------


def test_evaluate_judges_the_coverage_asked_for(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_image_folder(tmp_path / "new", {"ash": 40, "birch": 40, "cedar": 40}, seed=9)
    out = tmp_path / "e.json"
    assert command("evaluate", run, folder, "--coverage", "0.7", "--json", out) == 0
    sets = Evaluation.from_dict(json.loads(out.read_text())).prediction_sets
    assert sets is not None
    assert (sets.coverage, sets.n, sets.same_images) == (0.7, 120, False)
    thresholds = conformal_thresholds(scores_of(run), coverage=0.7).thresholds
    assert [one.threshold for one in sets.classes] == thresholds.tolist()
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Sets at 70 % coverage: {sets.mean_size:.2f} classes in the mean" in shown
    assert "by class: ash " in shown


def test_validation_images_prove_nothing_and_it_is_said(run: Path, image_folder: Path) -> None:
    found = evaluate(run, DataSource(source=str(image_folder)), split="val", on_progress=silent)
    sets = found.evaluation.prediction_sets
    assert sets is not None
    assert sets.same_images


def test_an_earlier_run_says_what_to_do(
    run: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old"
    shutil.copytree(run, old)
    (old / "conformal.json").unlink()
    out = tmp_path / "p.csv"
    assert command("predict", old, image_folder, "--coverage", "0.9", "--out", out) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "has no conformal.json" in said
    assert "Train again with another --out, or leave --coverage away." in said
    assert not out.exists()
    assert command("predict", old, image_folder, "--out", out) == 0
    source = DataSource(source=str(image_folder))
    assert evaluate(old, source, on_progress=silent).evaluation.prediction_sets is None
    with pytest.raises(InputError, match=r"has no conformal\.json"):
        evaluate(old, source, coverage=0.9, on_progress=silent)


def test_scores_of_another_model_are_refused(run: Path, image_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    text = (other / "conformal.json").read_text()
    (other / "conformal.json").write_text(text.replace('"ash"', '"oak"'))
    with pytest.raises(InputError, match="is of another model"):
        predict(other, [str(image_folder)], tmp_path / "p.csv", coverage=0.9, on_progress=silent)


# -- the temperature -------------------------------------------------------------------------------


def test_a_balanced_validation_split_is_noticed(run: Path) -> None:
    """Logits as of a network trained on 90 / 9 / 1 %; validation images as they are, and evened."""
    from everyclass.workflows.correction import Correction

    prior = np.array([0.9, 0.09, 0.01])
    rng = np.random.default_rng(5)
    targets = rng.choice(3, size=40_000, p=prior)
    images = rng.normal(size=(40_000, 3)) + 1.5 * np.eye(3)[targets]
    logits = (2.0 * (1.5 * images + np.log(prior))).astype(np.float32)
    even = np.concatenate([np.flatnonzero(targets == c)[:300] for c in range(3)])
    correction = Correction(
        epoch_order=lambda _: np.arange(3),
        loss=lambda logits, targets: logits.sum(),
        logits_prior=prior,
        natural_prior=prior,
        weights=None,
    )
    for rows, noticed in ((slice(0, 2000), False), (even, True)):
        decision, sentences = choose_decision(
            logits[rows],
            targets[rows],
            correction,
            tau_sweep=False,
            train_counts=(10_000 * prior).astype(np.int64),
        )
        assert decision.temperature == pytest.approx(2.0, rel=0.12)
        assert any("differently frequent" in sentence for sentence in sentences) == noticed
        assert "on validation images as they are" in sentences[-1]


def test_the_files_are_the_run_s_own(run: Path) -> None:
    """--overwrite may remove them, as everything else that a run writes."""
    folder = RunFolder.open(run)
    assert folder.conformal.exists()
    assert folder.reliability_figure.exists()
    assert load_model(run).classes == scores_of(run).classes
