"""Runs in TensorBoard, MLflow, W&B and Trackio: opened, continued, filled, closed.

Comes in: names, numbers, texts, a file. Goes out: what the tracker keeps, local unless the user's
own environment variables say otherwise. Each package is imported when its tracker is opened.
Scalars go through `monitoring.loggers`. Knows no training.
"""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from everyclass.errors import InputError
from everyclass.monitoring.loggers import (
    MlflowLogger,
    TensorBoardLogger,
    TrackioLogger,
    WandbLogger,
    mlflow_name,
)

TrackerName = Literal["tensorboard", "mlflow", "wandb", "trackio"]
TRACKERS: tuple[TrackerName, ...] = get_args(TrackerName)

PROJECT = "everyclass"
"""Name of the project (MLflow: experiment) that runs go to, unless an environment variable of the
tracker names another."""

PACKAGES: Mapping[TrackerName, tuple[str, ...]] = {
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}

_MLFLOW_LONGEST = 6000
"""Characters of a parameter's value that MLflow takes."""


class Tracker(Protocol):
    """A run in one tracker.

    Attributes:
        key: what finds the run again, JSON-ready.
    """

    key: Mapping[str, str]

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Store the numbers of one step."""

    def note(self, name: str, text: str, step: int) -> None:
        """Store a text that was told at a step."""

    def attach(self, path: Path) -> None:
        """Keep a copy of a file, where the tracker keeps files."""

    def close(self, *, finished: bool) -> None:
        """End the run; `finished` says whether it came to its end."""


def refuse_absent(trackers: tuple[str, ...]) -> tuple[TrackerName, ...]:
    """The trackers, each once.

    Raises:
        InputError: an unknown name, or one whose package is not installed.
    """
    found: list[TrackerName] = []
    for name in dict.fromkeys(trackers):
        known = next((one for one in TRACKERS if one == name), None)
        if known is None:
            raise InputError(f"--track cannot be {name!r}.", remedy=f"Use {', '.join(TRACKERS)}.")
        missing = [one for one in PACKAGES[known] if importlib.util.find_spec(one) is None]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise InputError(
                f"--track {name} needs {' and '.join(missing)}, which {verb} not installed.",
                remedy=f"pip install 'everyclass[{name}]'",
            )
        found.append(known)
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """One begin of a training, or one of its goings on.

    Attributes:
        name: of the run, unlike that of any other.
        config: its settings in words.
        key: of the run to go on with; None to begin one.
        step: optimizer steps done.
    """

    name: str
    config: Mapping[str, str]
    key: Mapping[str, str] | None
    step: int


def open_tracker(tracker: TrackerName, folder: Path, sitting: Sitting) -> Tracker:
    """Begin a run in a tracker, or go on with one. Raises whatever the tracker raises.

    Args:
        folder: of our run; TensorBoard and W&B write into folders inside it.
    """
    makers: Mapping[TrackerName, Callable[[Path, Sitting], Tracker]] = {
        "tensorboard": _TensorBoard,
        "mlflow": _Mlflow,
        "wandb": _Wandb,
        "trackio": _Trackio,
    }
    return makers[tracker](folder, sitting)


class _TensorBoard:
    """An event file in `tensorboard/` inside the run."""

    def __init__(self, folder: Path, sitting: Sitting) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.key: Mapping[str, str] = {"folder": "tensorboard"}
        # Whatever a killed run had written after its last checkpoint is written again.
        purge = sitting.step + 1 if sitting.key is not None else None
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=purge)
        self._logger = TensorBoardLogger(self._writer)
        rows = [f"| {setting} | {_cell(value)} |" for setting, value in sitting.config.items()]
        table = "\n".join(["| setting | value |", "|---|---|", *rows])
        self._writer.add_text("everyclass/recipe", table, sitting.step)
        self._writer.flush()

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        self._logger.log(scalars, step)
        self._writer.flush()

    def note(self, name: str, text: str, step: int) -> None:
        self._writer.add_text(name, text, step)
        self._writer.flush()

    def attach(self, path: Path) -> None:
        """An event file holds no pages; it lies beside the report already."""

    def close(self, *, finished: bool) -> None:
        self._writer.close()


class _Mlflow:
    """A run where MLFLOW_TRACKING_URI says, else in `mlflow.db` of the current folder."""

    def __init__(self, folder: Path, sitting: Sitting) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        own = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"
        uri = own if sitting.key is None else sitting.key["uri"]
        self._client: Any = MlflowClient(tracking_uri=uri)
        if sitting.key is None:
            made = self._client.create_run(self._experiment(), run_name=sitting.name)
            run_id = str(made.info.run_id)
        else:
            run_id = sitting.key["run_id"]
            self._client.update_run(run_id, status="RUNNING")
        self.key: Mapping[str, str] = {"uri": uri, "run_id": run_id}
        self._run_id = run_id
        self._logger = MlflowLogger(self._client, run_id=run_id)
        # A parameter of MLflow never changes; those of a resumed run are there already.
        there = self._client.get_run(run_id).data.params
        new = [
            Param(setting, value[:_MLFLOW_LONGEST])
            for setting, value in sitting.config.items()
            if setting not in there
        ]
        self._client.log_batch(run_id, params=new)

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        self._logger.log(scalars, step)

    def note(self, name: str, text: str, step: int) -> None:
        self._client.set_tag(self._run_id, mlflow_name(f"{name} at step {step}"), text)

    def attach(self, path: Path) -> None:
        self._client.log_artifact(self._run_id, str(path))

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._run_id, "FINISHED" if finished else "KILLED")


class _Wandb:
    """A run of W&B: offline, in `wandb/` inside the run, unless WANDB_MODE says otherwise."""

    def __init__(self, folder: Path, sitting: Sitting) -> None:
        import wandb

        mode: Any = os.environ.get("WANDB_MODE") or "offline"
        run_id = sitting.name if sitting.key is None else sitting.key["id"]
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=sitting.name,
            id=run_id,
            config=dict(sitting.config),
            mode=mode,
            # An offline run cannot look whether it is there; W&B joins equal ids when it syncs.
            resume="allow" if sitting.key is not None and mode == "online" else None,
            dir=os.environ.get("WANDB_DIR") or str(folder),
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.key: Mapping[str, str] = {"id": run_id}
        self._logger = WandbLogger(self._run)

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        self._logger.log(scalars, step)

    def note(self, name: str, text: str, step: int) -> None:
        self._run.summary[f"{name} at step {step}"] = text

    def attach(self, path: Path) -> None:
        import wandb

        artifact = wandb.Artifact(f"report-{self.key['id']}", type="report")
        artifact.add_file(str(path))
        self._run.log_artifact(artifact)

    def close(self, *, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


class _Trackio:
    """A run in Trackio's local database, unless its own variables name a Space or a server."""

    def __init__(self, folder: Path, sitting: Sitting) -> None:
        import trackio

        project = os.environ.get("TRACKIO_PROJECT") or PROJECT
        own = {"project": project, "name": sitting.name}
        self.key: Mapping[str, str] = own if sitting.key is None else dict(sitting.key)
        with redirect_stdout(io.StringIO()):  # standard output is for results
            self._run: Any = trackio.init(
                project=self.key["project"],
                name=self.key["name"],
                config=dict(sitting.config),
                resume="never" if sitting.key is None else "must",
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        self._logger = TrackioLogger(self._run)
        self._trackio = trackio

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        self._logger.log(scalars, step)

    def note(self, name: str, text: str, step: int) -> None:
        with redirect_stdout(io.StringIO()):
            self._run.alert(name, text, level=self._trackio.AlertLevel.WARN, step=step)

    def attach(self, path: Path) -> None:
        with redirect_stdout(io.StringIO()):
            self._run.log_artifact(path, name=f"report-{self.key['name']}", type="report")

    def close(self, *, finished: bool) -> None:
        with redirect_stdout(io.StringIO()):
            self._trackio.finish()  # the run's own would be done, and told, once more at exit


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
