"""The main road end to end, on small images that the tests make."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from everyclass.contracts import Evaluation
from everyclass.diagnosis.check import CheckReport
from everyclass.errors import InputError
from everyclass.images.audit_values import Audit
from everyclass.models.file import load_model
from everyclass.recipe import Recipe
from everyclass.run_folder import RunFolder
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.events import (
    Checked,
    EpochDone,
    Event,
    Finished,
    StepsDone,
    TrainingStarted,
)
from everyclass.workflows.fit import NonFiniteLoss
from everyclass.workflows.manifest import refuse_other_data
from everyclass.workflows.prepare import reopen
from everyclass.workflows.train import TrainOptions, explain, resume, train
from image_folders import write_image_folder

SMALL = {
    "model": "test_resnet",
    "image_size": 32,
    "epochs": 3,
    "batch_size": 8,
    "threads": 1,
    "device": "cpu",
}


def quiet(_: Event) -> None:
    pass


def options(**wishes: object) -> TrainOptions:
    return TrainOptions(wishes={**SMALL, **wishes})


@pytest.fixture(scope="module")
def trained(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the striped images."""
    out = tmp_path_factory.mktemp("runs") / "stripes"
    train(DataSource(source=str(image_folder)), out, options(epochs=12), on_event=quiet)
    return out


def test_a_run_is_complete_and_predicts_every_class(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names == {
        "recipe.yaml",
        "audit.json",
        "manifest.parquet",
        "environment.json",
        "metrics.jsonl",
        "checkpoints",
        "model.safetensors",
        "model.json",
        "conformal.json",
        "evaluation.json",
        "reliability.png",
        "predictions.csv",
        "checks.json",
        "findings.json",
    }
    evaluation = Evaluation.from_dict(json.loads((trained / "evaluation.json").read_text()))
    assert evaluation.split == "test"
    assert evaluation.never_predicted == ()
    assert evaluation.balanced_accuracy > 0.6


def test_the_recipe_explains_each_decision(trained: Path) -> None:
    recipe = Recipe.from_yaml((trained / "recipe.yaml").read_text(), where="recipe.yaml")
    by_name = {decision.name: decision for decision in recipe.decisions}
    assert by_name["imbalance"].origin == "audit"
    assert "ratio" in by_name["imbalance"].reason
    assert by_name["epochs"].origin == "user"
    assert all(decision.reason for decision in recipe.decisions)


def test_metrics_hold_one_line_an_epoch(trained: Path) -> None:
    lines = list(RunFolder(trained).read_metrics())
    assert [line["epoch"] for line in lines] == list(range(12))
    assert set(lines[0]["recall"]) == {"ash", "birch", "cedar"}
    assert all(0 <= line["balanced_accuracy"] <= 1 for line in lines)


def test_the_same_seed_gives_the_same_weights(image_folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(DataSource(source=str(image_folder)), tmp_path / name, options(), on_event=quiet)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]


def test_copies_are_not_divided_and_a_run_is_reopened_with_its_split(
    image_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(image_folder, folder)
    for image in sorted((folder / "ash").glob("*.png"))[:40]:
        shutil.copy(image, image.with_name(f"again_{image.name}"))
    data, out = DataSource(source=str(folder)), tmp_path / "run"
    train(data, out, options(epochs=1), on_event=quiet)
    run = RunFolder.open(out)
    audit = Audit.from_dict(run.read_json(run.audit))
    assert len(audit.duplicates) == 40
    assert not any(group.across_splits for group in audit.duplicates)
    recipe = Recipe.from_yaml((out / "recipe.yaml").read_text(), where="recipe.yaml")
    table, store = reopen(
        data, recipe.settings, audit, store_folder=run.store, manifest=run.manifest
    )
    store.close()
    refuse_other_data(run.manifest, table, run="run")  # the same split, row by row


def test_a_recipe_passed_back_gives_the_same_weights(
    trained: Path, image_folder: Path, tmp_path: Path
) -> None:
    from everyclass.recipe import read_wishes

    wishes = read_wishes((trained / "recipe.yaml").read_text(), where="recipe.yaml")
    train(
        DataSource(source=str(image_folder)),
        tmp_path / "again",
        TrainOptions(wishes=wishes),
        on_event=quiet,
    )
    again = (tmp_path / "again" / "model.safetensors").read_bytes()
    assert again == (trained / "model.safetensors").read_bytes()


def test_the_checks_before_the_first_step_change_nothing(
    trained: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = json.loads((trained / "checks.json").read_text())
    outcomes = {one["name"]: one["outcome"] for one in report["results"]}
    assert "issue" not in outcomes.values()
    judged = {name for name, outcome in outcomes.items() if outcome == "passed"}
    assert {"input-scale", "initial-loss", "rows-independent", "one-batch-fits"} <= judged
    nothing = CheckReport(results=(), seconds=0.0)
    monkeypatch.setattr("everyclass.workflows.fit.first_check", lambda *_, **__: nothing)
    train(DataSource(source=str(image_folder)), tmp_path / "a", options(epochs=12), on_event=quiet)
    unchecked = (tmp_path / "a" / "model.safetensors").read_bytes()
    assert unchecked == (trained / "model.safetensors").read_bytes()


def test_explain_writes_nothing(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = explain(DataSource(source=str(image_folder)), options(), on_event=quiet)
    assert list(tmp_path.iterdir()) == []
    assert recipe.settings.epochs == 3


def test_the_tutorial_recipe_trains(image_folder: Path, tmp_path: Path) -> None:
    wishes = {"image_size": 40, "epochs": 1, "threads": 1, "device": "cpu", "normalisation": "raw"}
    shown: list[Event] = []
    train(
        DataSource(source=str(image_folder)),
        tmp_path / "run",
        TrainOptions(wishes=wishes, preset="tutorial", show_batches=2),
        on_event=shown.append,
    )
    text = (tmp_path / "run" / "recipe.yaml").read_text()
    assert "as in the tutorial recipe" in text
    batches = [event for event in shown if type(event).__name__ == "BatchShown"]
    assert batches
    assert len(batches[0].labels) == 10
    # Its images reach the network in 0..255: the checks say so before anything is trained.
    checked = next(event for event in shown if isinstance(event, Checked))
    assert [one.cause for one in checked.report.issues] == ["inputs-not-scaled"]
    assert load_model(tmp_path / "run").name == "tutorial"


def test_events_come_in_order(image_folder: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    train(DataSource(source=str(image_folder)), tmp_path / "run", options(), on_event=events.append)
    kinds = [type(event).__name__ for event in events if not isinstance(event, StepsDone)]
    started = kinds.index("TrainingStarted")
    assert kinds[0] == "DataRead"
    assert kinds.index("Audited") < kinds.index("Decided") < started
    assert kinds[started + 1 :] == ["Checked"] + ["EpochDone"] * 3 + ["Finished"]
    first = next(event for event in events if isinstance(event, TrainingStarted))
    assert 90 < sum(first.counts) < 118  # 70 % of 148, give or take the hash
    # About 3 of 18 cedars are validation images.
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert "have fewer than 21 validation images" in finished.sentences[-1]
    assert finished.sentences[-1].endswith(f": everyclass crossval {image_folder}")


@pytest.mark.parametrize(
    "wishes",
    [
        {"imbalance": ["weights-balanced"], "optimizer": "sgd", "schedule": "step"},
        {"imbalance": ["logit-adjustment"], "accumulation": 2, "clip_norm": 1.0},
        {"imbalance": ["late-balanced-sampling"], "ema_decay": 0.9, "augmentation": ["rotation"]},
        {"imbalance": ["sqrt-sampling"], "label_smoothing": 0.1, "selection": "last"},
        {"imbalance": [], "precision": "bf16", "optimizer": "adam", "early_stop_epochs": 1},
        {"imbalance": ["progressive-sampling", "focal"]},
        {"imbalance": ["repeat-factor-sampling"]},
        {"imbalance": ["weights-deferred"]},
        {"imbalance": ["class-balanced-focal"]},
        {"imbalance": ["ldam-drw"]},
        {"imbalance": ["balanced-sampling", "label-aware-smoothing"]},
        {"imbalance": ["class-temperature"]},
        {"imbalance": ["crt"]},
        {"imbalance": ["lws"]},
        {"imbalance": ["tau-norm"]},
        {"imbalance": ["offsets"]},
    ],
)
def test_every_option_of_the_recipe_trains(
    wishes: dict[str, object], image_folder: Path, tmp_path: Path
) -> None:
    outcome = train(
        DataSource(source=str(image_folder)),
        tmp_path / "run",
        options(epochs=2, **wishes),
        on_event=quiet,
    )
    assert 0 <= outcome.evaluation.balanced_accuracy <= 1
    assert (tmp_path / "run" / "model.json").exists()


def test_bad_input_with_overwrite_keeps_the_earlier_run(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    again = TrainOptions(wishes=SMALL, overwrite=True)
    with pytest.raises(InputError, match="does not exist"):
        train(DataSource(source=str(tmp_path / "typo")), out, again, on_event=quiet)
    for name in ("model.safetensors", "evaluation.json", "recipe.yaml"):
        assert (out / name).read_bytes() == (trained / name).read_bytes()
    assert not (out / ".preparing").exists()


def test_correcting_twice_is_refused_with_the_arithmetic(
    image_folder: Path, tmp_path: Path
) -> None:
    both = options(imbalance=["balanced-sampling", "weights-inverse"])
    with pytest.raises(InputError, match=r"correct the same imbalance twice: at ratio"):
        train(DataSource(source=str(image_folder)), tmp_path / "run", both, on_event=quiet)
    assert not (tmp_path / "run").exists()


# -- interrupted = uninterrupted -------------------------------------------------------------------

COMMAND = [
    sys.executable,
    "-m",
    "everyclass",
    "train",
    "--quiet",
    "--checkpoint-seconds",
    "0",
    "--model",
    "test_resnet",
    "--image-size",
    "32",
    "--epochs",
    "4",
    "--batch-size",
    "8",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--augmentation",
    "crop",
    "--augmentation",
    "flip",
    "--set",
    "ema_decay=0.9",
]


def start(image_folder: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, str(image_folder), "--out", str(out)], stderr=subprocess.PIPE, text=True
    )


def go_on(image_folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND[:7], str(image_folder), "--out", str(out), "--resume"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    process = start(image_folder, out)
    assert process.wait(timeout=300) == 0, process.stderr.read() if process.stderr else ""
    return out


def results(run: Path) -> tuple[bytes, list[dict[str, object]], object]:
    """What must not depend on interruptions: weights, log without wall times, evaluation."""
    lines = [
        {k: v for k, v in line.items() if k not in ("seconds", "images_per_second")}
        for line in RunFolder(run).read_metrics()
    ]
    evaluation = json.loads((run / "evaluation.json").read_text())
    return (run / "model.safetensors").read_bytes(), lines, evaluation


@pytest.mark.parametrize("kill_seed", [1, 2])
def test_killed_at_any_moment_and_resumed_equals_uninterrupted(
    kill_seed: int, image_folder: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    rng = random.Random(kill_seed)
    process = start(image_folder, out)
    wait_for(lambda: any((out / "checkpoints").glob("step-*.pt")), process)
    time.sleep(rng.uniform(0, 1.5))
    process.kill()
    process.wait()
    if not (out / "evaluation.json").exists():
        done = go_on(image_folder, out)
        assert done.returncode == 0, done.stderr
    assert results(out) == results(uninterrupted)


def test_killed_before_the_first_checkpoint_starts_over(
    image_folder: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start(image_folder, out)
    wait_for((out / "recipe.yaml").exists, process)
    process.kill()
    process.wait()
    for checkpoint in (out / "checkpoints").glob("*"):
        checkpoint.unlink()
    done = go_on(image_folder, out)
    assert done.returncode == 0, done.stderr
    assert results(out) == results(uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(
    number: signal.Signals, image_folder: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start(image_folder, out)
    wait_for(lambda: any((out / "checkpoints").glob("step-*.pt")), process)
    os.kill(process.pid, number)
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 130, complaint
    assert "Everything is saved" in complaint
    assert f"--out {out} --resume" in complaint
    assert "Traceback" not in complaint
    done = go_on(image_folder, out)
    assert done.returncode == 0, done.stderr
    assert results(out) == results(uninterrupted)


@pytest.mark.parametrize("name", ["ldam-drw", "weights-deferred", "progressive-sampling", "crt"])
def test_what_changes_with_the_epoch_is_resumed_exactly(
    name: str, image_folder: Path, tmp_path: Path
) -> None:
    data, own = DataSource(source=str(image_folder)), options(imbalance=[name])
    train(data, tmp_path / "whole", own, on_event=quiet)

    def stop_after_two(event: Event) -> None:  # before the last epoch, in which weights come in
        if isinstance(event, EpochDone) and event.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "parts", own, on_event=stop_after_two)
    resume(data, tmp_path / "parts", TrainOptions(), on_event=quiet)
    assert results(tmp_path / "parts") == results(tmp_path / "whole")
    load_model(tmp_path / "parts")


# -- refusals --------------------------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Path, Path]:
    """A small data set and a run on it that stopped after its first epoch."""
    folder = write_image_folder(tmp_path / "images", {"ash": 20, "birch": 10})
    out = tmp_path / "run"

    def stop_after_one(event: Event) -> None:
        if isinstance(event, EpochDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(DataSource(source=str(folder)), out, options(), on_event=stop_after_one)
    return folder, out


def test_resume_goes_on_after_an_exception(stopped: tuple[Path, Path]) -> None:
    folder, out = stopped
    outcome = resume(DataSource(source=str(folder)), out, TrainOptions(), on_event=quiet)
    assert outcome.evaluation.n > 0
    with pytest.raises(InputError, match="is finished; there is nothing to resume"):
        resume(DataSource(source=str(folder)), out, TrainOptions(), on_event=quiet)


def assert_resume_refuses(stopped: tuple[Path, Path], words: str) -> None:
    folder, out = stopped
    before = sorted(path.name for path in out.rglob("*"))
    with pytest.raises(InputError, match=words):
        resume(DataSource(source=str(folder)), out, TrainOptions(), on_event=quiet)
    assert sorted(path.name for path in out.rglob("*")) == before


def test_resume_refuses_a_new_class(stopped: tuple[Path, Path]) -> None:
    write_image_folder(stopped[0], {"cedar": 5})
    assert_resume_refuses(stopped, "had 2 classes, now there are 3; new: cedar")


def test_resume_refuses_a_new_image(stopped: tuple[Path, Path]) -> None:
    source = stopped[0] / "ash" / "ash_000.png"
    (stopped[0] / "ash" / "extra.png").write_bytes(source.read_bytes())
    assert_resume_refuses(stopped, r"1 images are new \(ash/extra.png\)")


def test_resume_refuses_a_changed_file(stopped: tuple[Path, Path]) -> None:
    source, target = (stopped[0] / "ash" / f"ash_00{k}.png" for k in (0, 1))
    target.write_bytes(source.read_bytes())
    assert_resume_refuses(stopped, "1 files have another content")


def test_resume_accepts_a_touched_file(stopped: tuple[Path, Path]) -> None:
    folder, out = stopped
    os.utime(folder / "ash" / "ash_000.png")
    assert resume(DataSource(source=str(folder)), out, TrainOptions(), on_event=quiet)


def test_resume_takes_no_other_settings(stopped: tuple[Path, Path]) -> None:
    folder, out = stopped
    with pytest.raises(InputError, match="cannot take other settings"):
        resume(
            DataSource(source=str(folder)), out, TrainOptions(wishes={"epochs": 9}), on_event=quiet
        )


def test_a_non_finite_loss_names_step_files_and_checkpoint(
    image_folder: Path, tmp_path: Path
) -> None:
    # A rate of 100 on raw inputs overflows within a few steps.
    wild = options(
        model="tutorial",
        image_size=40,
        optimizer="sgd",
        learning_rate=100.0,
        normalisation="raw",
        warmup_fraction=0.0,
    )
    with pytest.raises(NonFiniteLoss, match=r"at step \d+.*files: .*png.*checkpoint.*lower"):
        train(DataSource(source=str(image_folder)), tmp_path / "run", wild, on_event=quiet)
