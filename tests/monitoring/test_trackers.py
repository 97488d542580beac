"""What is read back from each tracker, after a training told it to them and one went on."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from everyclass.contracts import Evaluation
from everyclass.errors import InputError
from everyclass.findings import Finding
from everyclass.monitoring import trackers
from everyclass.monitoring.trackers import refuse_absent
from everyclass.recipe import Decision, Recipe
from everyclass.stats.evaluation import evaluate_predictions
from everyclass.workflows.events import (
    Alarmed,
    Decided,
    EpochDone,
    Event,
    Finished,
    TrainingStarted,
)
from everyclass.workflows.tracking import Tracking

CLASSES = ("ash", "birch | white")
RECIPE = Recipe(
    decisions=(
        Decision(name="epochs", value=2, reason="asked for", origin="user"),
        Decision(name="augmentation", value=("crop", "flip"), reason="usual", origin="default"),
    )
)
STARTED = TrainingStarted(
    classes=CLASSES, counts=(8, 8), n_steps=8, first_step=0, epochs=2, weights="random"
)
ALARM = Finding(
    id="starved",
    since_step=2,
    seen_step=4,
    severity="alarm",
    evidence={},
    sentence="Class 'ash' is never predicted.",
)


def epoch(number: int, recall: float) -> EpochDone:
    return EpochDone(
        step=4 * (number + 1),
        epoch=number,
        epochs=2,
        train_loss=0.5,
        val_loss=0.25,
        accuracy=0.75,
        balanced_accuracy=recall,
        macro_f1=0.5,
        recalls=(recall, float("nan")),
        predicted_shares=(0.5, 0.5),
        best=True,
        images_per_second=10.0,
        seconds=1.0,
    )


def evaluation() -> Evaluation:
    import numpy as np

    targets = np.array([0, 0, 1, 1])
    return evaluate_predictions(
        targets,
        np.array([0, 1, 1, 1]),
        probs=np.full((4, 2), 0.5),
        probs_before_temperature=np.full((4, 2), 0.5),
        classes=CLASSES,
        split="test",
        decision="balanced",
        prior=(0.5, 0.5),
        temperature=1.0,
        train_counts=np.array([8, 8]),
        set_aside=0,
    )


def told(run: Path, name: str, events: list[Event], *, resumed: bool = False) -> list[str]:
    """Run the events past one tracker; what it warned of."""
    warned: list[str] = []
    with Tracking((name,), resumed=resumed, warn=warned.append) as tracking:
        tracking.on_event(Decided(recipe=RECIPE, path=run / "recipe.yaml"))
        for event in events:
            tracking.on_event(event)
        (run / "report.html").write_text("<p>the report</p>")
    return warned


@pytest.fixture
def two_sittings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Path, dict[str, Any]]]:
    """A training that was stopped after its first epoch and went on."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def train(name: str) -> tuple[Path, dict[str, Any]]:
        run = tmp_path / "waste"
        run.mkdir()
        assert told(run, name, [STARTED, epoch(0, 0.5), Alarmed(finding=ALARM)]) == []
        first = json.loads((run / "tracking.json").read_text())
        if name == "wandb":
            time.sleep(1.1)  # its folders are named by the second
        going_on = replace(STARTED, first_step=4)
        finished = Finished(folder=run, evaluation=evaluation(), sentences=())
        assert told(run, name, [going_on, epoch(1, 1.0), finished], resumed=True) == []
        assert json.loads((run / "tracking.json").read_text()) == first
        return run, first

    return train


def test_tensorboard(two_sittings: Callable[[str], tuple[Path, dict[str, Any]]]) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run, _ = two_sittings("tensorboard")
    events = accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    recalls = events.Scalars("everyclass/val/recall/ash")
    assert [(one.step, one.value) for one in recalls] == [(4, 0.5), (8, 1.0)]
    assert "everyclass/val/recall/birch | white" not in events.Tags()["scalars"]  # was NaN
    assert events.Scalars("everyclass/final/balanced_accuracy")[0].value == 0.75
    recipe = events.Tensors("everyclass/recipe/text_summary")[0].tensor_proto.string_val[0]
    assert b"| augmentation | crop + flip |" in recipe
    (alarm,) = events.Tensors("everyclass/alarm starved/text_summary")
    assert alarm.step == 4
    assert alarm.tensor_proto.string_val[0] == ALARM.sentence.encode()


def test_mlflow(two_sittings: Callable[[str], tuple[Path, dict[str, Any]]]) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    run, tracking = two_sittings("mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{run.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("everyclass")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_id == tracking["trackers"]["mlflow"]["run_id"]
    assert found.info.run_name == tracking["name"]
    assert found.info.status == "FINISHED"
    assert found.data.params == {"epochs": "2", "augmentation": "crop + flip"}
    recalls = client.get_metric_history(found.info.run_id, "everyclass/val/recall/ash")
    assert [(one.step, one.value) for one in recalls] == [(4, 0.5), (8, 1.0)]
    assert found.data.metrics["everyclass/final/recall/birch _7c_ white"] == 1.0
    assert found.data.tags["everyclass/alarm starved at step 4"] == ALARM.sentence
    assert [one.path for one in client.list_artifacts(found.info.run_id)] == ["report.html"]


def test_wandb_offline(two_sittings: Callable[[str], tuple[Path, dict[str, Any]]]) -> None:
    pytest.importorskip("wandb")
    run, tracking = two_sittings("wandb")
    folders = sorted((run / "wandb").glob("offline-run-*"))
    assert {one.name.split("-", 3)[3] for one in folders} == {tracking["name"]}
    rows, config, summary, recalls = [], {}, {}, []
    for _ in range(100):  # its own process may still be writing when it says that it is done
        rows.clear()
        for folder in sorted((run / "wandb").glob("offline-run-*")):
            (file,) = folder.glob("run-*.wandb")
            for record in records_of(file):
                kind = record.WhichOneof("record_type")
                if kind == "history":
                    items = {
                        one.key or "/".join(one.nested_key): one for one in record.history.item
                    }
                    rows.append({key: json.loads(one.value_json) for key, one in items.items()})
                if kind == "run":
                    config |= {one.key: one.value_json for one in record.run.config.update}
                if kind == "summary":
                    summary |= {
                        one.key or "/".join(one.nested_key): one.value_json
                        for one in record.summary.update
                    }
        recalls = [
            (row["everyclass/step"], row["everyclass/val/recall/ash"])
            for row in rows
            if "everyclass/val/recall/ash" in row
        ]
        if len(recalls) == 2:
            break
        time.sleep(0.2)
    assert recalls == [(4, 0.5), (8, 1.0)]
    assert json.loads(config["augmentation"]) == "crop + flip"
    assert json.loads(summary["everyclass/alarm starved at step 4"]) == ALARM.sentence
    assert any(row.get("everyclass/final/balanced_accuracy") == 0.75 for row in rows)
    # The artifact's copy waits in W&B's staging folder; its record is in the run's file.
    artifacts = [
        record.artifact.name
        for folder in folders
        for record in records_of(next(folder.glob("run-*.wandb")))
        if record.WhichOneof("record_type") == "artifact"
    ]
    assert f"report-{tracking['name']}" in artifacts


def records_of(file: Path) -> list[Any]:
    """The records of a W&B run file, which is a LevelDB log: after 7 bytes of a header, blocks of
    32 KiB hold pieces (4 bytes of checksum, 2 of length, 1 of kind: whole, first, middle, last)."""
    from wandb.proto import wandb_internal_pb2

    content, at, piece, found = file.read_bytes(), 7, b"", []
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # no room for a piece's header: the block ends in zeros
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        piece += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(piece)
            found.append(record)
            piece = b""
    return found


def test_trackio(
    two_sittings: Callable[[str], tuple[Path, dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("trackio")
    import trackio.sqlite_storage as storage
    import trackio.utils

    home = tmp_path / "trackio"
    for module in (storage, trackio.utils, trackio):
        monkeypatch.setattr(module, "TRACKIO_DIR", home, raising=False)
    _, tracking = two_sittings("trackio")
    assert capsys.readouterr().out == ""
    assert storage.SQLiteStorage.get_runs("everyclass") == [tracking["name"]]
    rows = storage.SQLiteStorage.get_logs("everyclass", tracking["name"])
    recalls = [
        (row["step"], row["everyclass/val/recall/ash"])
        for row in rows
        if "everyclass/val/recall/ash" in row
    ]
    assert recalls == [(4, 0.5), (8, 1.0)]
    config = storage.SQLiteStorage.get_run_config("everyclass", tracking["name"])
    assert config["augmentation"] == "crop + flip"
    (alarm,) = [
        one
        for one in storage.SQLiteStorage.get_alerts("everyclass", tracking["name"])
        if one["title"] == "everyclass/alarm starved"
    ]
    assert (alarm["text"], alarm["step"]) == (ALARM.sentence, 4)
    assert sqlite3.connect(next(home.glob("*.db"))).execute("select count(*) from metrics")


def test_a_tracker_that_fails_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    opened = trackers._TensorBoard.__init__
    calls: list[int] = []

    def log(self: Any, scalars: Any, step: int) -> None:
        calls.append(step)
        raise OSError("No space left on device")

    monkeypatch.setattr(trackers._TensorBoard, "log", log)
    (warning,) = told(tmp_path, "tensorboard", [STARTED, epoch(0, 0.5), epoch(1, 1.0)])
    assert calls == [4]
    assert "--track tensorboard failed" in warning
    assert "No space left on device" in warning
    assert opened is trackers._TensorBoard.__init__

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("no server there")

    monkeypatch.setattr(trackers._TensorBoard, "__init__", refuse)
    (warning,) = told(tmp_path, "tensorboard", [STARTED, epoch(0, 0.5), epoch(1, 1.0)])
    assert "no server there" in warning


def test_what_is_not_there_is_refused_before_anything_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InputError, match=r"--track cannot be 'neptune'.*tensorboard, mlflow"):
        refuse_absent(("neptune",))
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs wandb.*pip install 'everyclass\[wandb\]'"):
        Tracking(("wandb",), warn=print)


def test_nothing_is_opened_where_nothing_is_tracked(tmp_path: Path) -> None:
    with Tracking((), warn=print) as tracking:
        tracking.on_event(Decided(recipe=RECIPE, path=tmp_path / "recipe.yaml"))
        tracking.on_event(STARTED)
    assert list(tmp_path.iterdir()) == []
