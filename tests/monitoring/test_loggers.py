"""Scalars in real files: TensorBoard's events, an MLflow store on SQLite, a W&B run offline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from everyclass.errors import InputError
from everyclass.monitoring.loggers import (
    LogEvery,
    MlflowLogger,
    ScalarLogger,
    TensorBoardLogger,
    WandbLogger,
)
from everyclass.monitoring.monitor import Monitor

NAMES = ("ash", "birch (white)", "c\u00e8dre")


class Memory:
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        self.rows.append((step, dict(scalars)))


class Both:
    def __init__(self, *loggers: ScalarLogger) -> None:
        self._loggers = loggers

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        for one in self._loggers:
            one.log(scalars, step)


def _train(logger: ScalarLogger, *, steps: int = 12, every_steps: int = 5) -> None:
    generator = torch.Generator().manual_seed(0)
    monitor = Monitor(classes=NAMES)
    log = LogEvery(monitor, logger, every_steps=every_steps)
    for _ in range(steps):
        targets = torch.randint(0, 3, (32,), generator=generator)
        logits = torch.randn(32, 3, generator=generator) + 2 * F.one_hot(targets, 3)
        monitor.step(logits, targets)
        log()


def test_every_k_steps() -> None:
    memory = Memory()
    _train(memory)
    assert [step for step, _ in memory.rows] == [5, 10]
    assert "everyclass/recall/birch (white)" in memory.rows[0][1]
    with pytest.raises(InputError, match="every_steps is 0"):
        LogEvery(Monitor(), memory, every_steps=0)


def test_nothing_is_sent_before_there_is_a_figure() -> None:
    memory = Memory()
    monitor = Monitor()
    log = LogEvery(monitor, memory, every_steps=1)
    for _ in range(2):  # 20 images make no round yet
        monitor.step(torch.randn(10, 3), torch.arange(10) % 3)
        log()
    assert memory.rows == []
    monitor.step(torch.randn(12, 3), torch.arange(12) % 3)
    log()
    assert [step for step, _ in memory.rows] == [3]


def test_tensorboard_events_are_what_was_logged(tmp_path: Path) -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    memory = Memory()
    with tensorboard.SummaryWriter(tmp_path) as writer:
        _train(Both(memory, TensorBoardLogger(writer)))
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == set(memory.rows[0][1])
    for name in memory.rows[0][1]:
        read = [(one.step, one.value) for one in events.Scalars(name)]
        assert read == [(step, pytest.approx(row[name], rel=1e-6)) for step, row in memory.rows]


def test_mlflow_metrics_are_what_was_logged(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'runs.db'}")
    run_id = client.create_run(client.create_experiment("cells")).info.run_id
    memory = Memory()
    _train(Both(memory, MlflowLogger(client, run_id=run_id)))
    for name, stored in (
        ("everyclass/kappa", "everyclass/kappa"),
        ("everyclass/recall/birch (white)", "everyclass/recall/birch _28_white_29_"),
        ("everyclass/recall/c\u00e8dre", "everyclass/recall/c_e8_dre"),
    ):
        read = [(one.step, one.value) for one in client.get_metric_history(run_id, stored)]
        assert read == [(step, pytest.approx(row[name])) for step, row in memory.rows]


def test_wandb_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(mode="offline", dir=str(tmp_path), project="cells")
    try:
        _train(WandbLogger(run))
        assert run.summary["everyclass/step"] == 10
        assert 0 < run.summary["everyclass/kappa"] <= 1
    finally:
        run.finish()


def test_wandb_gets_an_axis_of_its_own() -> None:
    """A recorder in the place of a run, for where W&B is not installed."""

    class Run:
        def __init__(self) -> None:
            self.defined: list[tuple[str, str | None]] = []
            self.rows: list[dict[str, float]] = []

        def define_metric(self, name: str, *, step_metric: str | None = None) -> None:
            self.defined.append((name, step_metric))

        def log(self, row: dict[str, float]) -> None:
            self.rows.append(row)

    run = Run()
    _train(WandbLogger(run))
    assert run.defined == [("everyclass/step", None), ("everyclass/*", "everyclass/step")]
    assert [row["everyclass/step"] for row in run.rows] == [5, 10]


def test_wrong_object_is_an_error() -> None:
    with pytest.raises(InputError, match="A str was given where an MlflowClient is expected"):
        MlflowLogger("runs.db", run_id="0")
