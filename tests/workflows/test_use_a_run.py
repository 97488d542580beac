"""Evaluate and predict with a finished run, and the command line around them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from everyclass import cli
from everyclass.errors import InputError
from everyclass.models.file import load_model
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.evaluate import evaluate
from everyclass.workflows.predict import check_prior, predict
from everyclass.workflows.train import TrainOptions, train
from image_folders import write_image_folder


def silent(done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def run(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("use") / "run"
    wishes = {
        "model": "test_resnet",
        "image_size": 32,
        "epochs": 8,
        "batch_size": 8,
        "threads": 1,
        "device": "cpu",
    }
    source = DataSource(source=str(image_folder))
    train(source, out, TrainOptions(wishes=wishes), on_event=lambda _: None)
    return out


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# -- evaluate --------------------------------------------------------------------------------------


def test_the_run_s_own_images_keep_the_split_it_gave_them(run: Path, image_folder: Path) -> None:
    found = evaluate(run, DataSource(source=str(image_folder)), on_progress=silent)
    stored = json.loads((run / "evaluation.json").read_text())
    assert found.evaluation.split == "test"
    assert found.evaluation.confusion == tuple(tuple(row) for row in stored["confusion"])
    assert found.evaluation.ece == pytest.approx(stored["ece"], abs=1e-5)
    assert "are the run's own" in found.sentences[0]


def test_all_images_says_that_some_were_trained_on(run: Path, image_folder: Path) -> None:
    source = DataSource(source=str(image_folder))
    found = evaluate(run, source, split="all", on_progress=silent)
    assert found.evaluation.n == 148
    assert any("trained on" in sentence for sentence in found.sentences)


def test_classes_are_matched_by_name(run: Path, tmp_path: Path) -> None:
    """A folder without the first class: positions shift, names do not."""
    folder = write_image_folder(tmp_path / "new", {"ash": 12, "birch": 12, "cedar": 12}, seed=5)
    whole = evaluate(run, DataSource(source=str(folder)), on_progress=silent).evaluation
    for path in (folder / "ash").iterdir():
        path.unlink()
    (folder / "ash").rmdir()
    part = evaluate(run, DataSource(source=str(folder)), on_progress=silent).evaluation
    assert [one.name for one in part.classes] == ["ash", "birch", "cedar"]
    assert part.confusion[1:] == whole.confusion[1:]
    assert part.classes[0].recall is None


def test_an_unknown_class_is_refused(run: Path, tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "new", {"ash": 4, "oak": 4})
    with pytest.raises(InputError, match=r"does not know: oak \(it knows: ash, birch, cedar\)"):
        evaluate(run, DataSource(source=str(folder)), on_progress=silent)


def test_a_broken_image_is_set_aside_and_too_many_stop(run: Path, tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "new", {"ash": 10, "birch": 10}, seed=6)
    broken = folder / "ash" / "ash_000.png"
    broken.write_bytes(broken.read_bytes()[:100])
    generous = DataSource(source=str(folder), max_unreadable=0.1)
    found = evaluate(run, generous, on_progress=silent)
    assert found.evaluation.n == 19
    assert found.set_aside[0].image.endswith("ash_000.png")
    with pytest.raises(InputError, match=r"1 of 20 images cannot be used.*--max-unreadable"):
        evaluate(run, DataSource(source=str(folder)), on_progress=silent)


# -- predict ---------------------------------------------------------------------------------------


def test_every_image_is_a_row_with_probabilities_that_sum_to_one(
    run: Path, image_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.csv"
    result = predict(run, [str(image_folder)], out, on_progress=silent)
    rows = read(out)
    assert result.n == len(rows) == 148
    for row in rows:
        probs = [float(row[f"prob_{name}"]) for name in ("ash", "birch", "cedar")]
        assert sum(probs) == pytest.approx(1, abs=1e-6)
        assert row["prediction_natural"] == ("ash", "birch", "cedar")[int(np.argmax(probs))]
    right = sum(Path(row["image"]).parent.name == row["prediction_balanced"] for row in rows)
    assert right / len(rows) > 0.8


def test_an_unreadable_file_is_a_row_with_its_reason(run: Path, tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "images", {"ash": 3})
    (folder / "ash" / "empty.jpg").write_bytes(b"")
    (folder / "ash" / "page.png").write_text("<html>not found</html>")
    out = tmp_path / "p.csv"
    result = predict(run, [str(folder)], out, on_progress=silent)
    failed = {Path(row["image"]).name: row for row in read(out) if row["reason"]}
    assert result.failed == 2
    assert set(failed) == {"empty.jpg", "page.png"}
    assert all(row["prediction_balanced"] == "" for row in failed.values())


def test_a_prior_moves_the_probabilities_not_the_balanced_decision(
    run: Path, image_folder: Path, tmp_path: Path
) -> None:
    plain, shifted = tmp_path / "plain.parquet", tmp_path / "shifted.parquet"
    predict(run, [str(image_folder)], plain, on_progress=silent)
    prior = {"ash": 0, "birch": 1, "cedar": 3}
    predict(run, [str(image_folder)], shifted, prior=prior, on_progress=silent)
    before, after = (pq.read_table(path).to_pydict() for path in (plain, shifted))
    assert before["prediction_balanced"] == after["prediction_balanced"]
    assert set(after["prob_ash"]) == {0.0}
    assert "ash" not in after["prediction_prior"]
    odds_before = np.array(before["prob_cedar"]) / np.array(before["prob_birch"])
    odds_after = np.array(after["prob_cedar"]) / np.array(after["prob_birch"])
    decision = load_model(run).decision
    ratio = 3 / (decision.natural_prior[2] / decision.natural_prior[1])
    np.testing.assert_allclose(odds_after / odds_before, ratio, rtol=1e-6)


def test_json_lines(run: Path, image_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    predict(run, [str(image_folder / "cedar")], out, on_progress=silent)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 18
    assert rows[0].keys() >= {"image", "prediction_balanced", "prob_ash", "reason"}


def test_any_size_and_mode_goes_through(run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(57, 91, 3), dtype=np.uint8)
    for mode in ("L", "P", "RGBA", "CMYK"):
        suffix = "tif" if mode == "CMYK" else "png"
        Image.fromarray(pixels).convert(mode).save(tmp_path / f"{mode}.{suffix}")
    out = tmp_path / "p.csv"
    result = predict(run, [str(tmp_path)], out, on_progress=silent)
    assert (result.n, result.failed) == (4, 0)


def test_a_failed_write_leaves_nothing(run: Path, image_folder: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(run, [str(image_folder)], tmp_path / "p.csv", on_progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        ({"ash": 1.0}, "missing: birch"),
        ({"ash": 1, "birch": 1, "cedar": 1, "oak": 1}, "unknown: oak"),
        ({"ash": -1, "birch": 1, "cedar": 1}, "must be"),
        ({"ash": 0, "birch": 0, "cedar": 0}, "not all 0"),
    ],
)
def test_a_prior_must_fit(prior: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_prior(prior, ("ash", "birch", "cedar"))


# -- the model file --------------------------------------------------------------------------------


def test_the_model_takes_raw_pixels_and_names_its_classes(run: Path) -> None:
    contract = json.loads((run / "model.json").read_text())
    assert contract["classes"] == ["ash", "birch", "cedar"]
    assert contract["preprocessing"]["scale"] == 255.0
    assert sum(contract["decision"]["natural_prior"]) == pytest.approx(1)
    assert contract["precision"] == "fp32"
    assert contract["versions"].keys() == {"everyclass", "torch", "timm"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.json", b"{", "not valid JSON"),
        ("model.json", b'{"format": 99}', "format 99"),
        ("model.json", b'{"format": 1}', "incomplete"),
        ("model.safetensors", b"broken", "damaged"),
    ],
)
def test_a_damaged_model_says_which_file(
    run: Path, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    for file in ("model.json", "model.safetensors"):
        (tmp_path / file).write_bytes((run / file).read_bytes())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        load_model(tmp_path)


def test_a_precision_that_there_is_not_is_refused(run: Path, tmp_path: Path) -> None:
    contract = json.loads((run / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**contract, "precision": "fp8"}))
    (tmp_path / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="fp8"):
        load_model(tmp_path)


# -- the command line ------------------------------------------------------------------------------


def command(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def test_evaluate_writes_json_and_prints_the_verdict(
    run: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "e.json"
    assert command("evaluate", run, image_folder, "--json", out) == 0
    assert json.loads(out.read_text())["split"] == "test"
    assert "Verdict:" in capsys.readouterr().out


def test_strict_turns_a_verdict_into_an_exit_code(run: Path, tmp_path: Path) -> None:
    """Labels turned round: every cedar is called birch and the reverse, so both have recall 0."""
    folder = write_image_folder(tmp_path / "new", {"ash": 40, "birch": 40, "cedar": 40}, seed=7)
    (folder / "birch").rename(folder / "x")
    (folder / "cedar").rename(folder / "birch")
    (folder / "x").rename(folder / "cedar")
    assert command("evaluate", run, folder, "--quiet") == 0
    assert command("evaluate", run, folder, "--quiet", "--strict") == 1


def test_predict_prints_counts(
    run: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.csv"
    prior = "ash=0.2,birch=0.3,cedar=0.5"
    assert command("predict", run, image_folder, "--out", out, "--prior", prior) == 0
    shown = capsys.readouterr().out
    assert "148 images" in shown
    assert "prediction_prior" in out.read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["audit", "no-such-folder"], "no-such-folder"),
        (["train", "no-such-folder", "--out", "x"], "no-such-folder"),
        (["train", "no-such-folder"], "--out RUN"),
        (["evaluate", "no-such-run", "x"], "no folder no-such-run"),
        (["predict", "no-such-run", "x.png", "--out", "p.csv"], "no folder no-such-run"),
        (["train", "x", "--out", "r", "--epochs", "0"], "epochs cannot be 0"),
        (["train", "x", "--out", "r", "--set", "momentum"], "has no value"),
        (["train", "x", "--out", "r", "--recipe", "absent.yaml"], "absent.yaml cannot be read"),
        (["demo", "--data", "cats"], "--data cannot be 'cats'"),
        (["nonsense"], "No such command"),
        (["audit"], "Missing argument"),
    ],
)
def test_bad_usage_is_one_message_and_exit_code_2(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == 2
    captured = capsys.readouterr()
    assert words in " ".join(captured.err.split())
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_explain_prints_a_recipe_that_can_be_passed_back(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("train", image_folder, "--explain", "--image-size", "32") == 0
    printed = capsys.readouterr().out
    path = tmp_path / "mine.yaml"
    path.write_text(printed)
    assert command("train", image_folder, "--explain", "--recipe", path) == 0
    assert "image_size" in capsys.readouterr().out
