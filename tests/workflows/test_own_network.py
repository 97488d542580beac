"""A user's network by reference, from training to export, as the command line runs it."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from everyclass.cli import main
from everyclass.models.file import load_model
from everyclass.workflows.clock import Clock
from everyclass.workflows.fit import _Fit
from image_folders import write_image_folder

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU())
        self.out = nn.Linear(8 * 10 * 10, classes)

    def forward(self, x):
        x = self.features(x)
        return self.out(x.view(x.size(0), -1))

def build(classes):
    return Net(classes)
"""


def everyclass(folder: Path, *arguments: str, expected: int = 0) -> str:
    """The command as it is typed in `folder`; what it says on standard error. The user's module is
    imported anew, as a new process does."""
    sys.modules.pop("my_net", None)
    told, before = io.StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with redirect_stderr(told), pytest.raises(SystemExit) as stop:
            main([*arguments])
    finally:
        os.chdir(before)
    assert stop.value.code == expected, told.getvalue()
    return told.getvalue()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, a network and a finished run."""
    folder = tmp_path_factory.mktemp("project")
    write_image_folder(folder / "images", {"ash": 40, "birch": 20}, side=24)
    (folder / "my_net.py").write_text(NET)
    everyclass(folder, *TRAIN, "--model", "my_net:build", "--out", "run")
    return folder


TRACKED = ("--track", "tensorboard")
TRAIN = (
    *("train", "images", "--image-size", "24", "--epochs", "2", "--batch-size", "8"),
    *("--threads", "1", "--device", "cpu", "--no-cache"),
)


def test_the_run_records_the_reference_and_is_used_by_it(project: Path) -> None:
    assert json.loads((project / "run" / "model.json").read_text())["model"] == "my_net:build"
    recipe = (project / "run" / "recipe.yaml").read_text()
    assert "value: my_net:build" in recipe
    assert "the network fails when its inputs lie channels-last" in recipe
    everyclass(project, "predict", "run", "images", "--out", "predictions.csv")
    assert len((project / "predictions.csv").read_text().splitlines()) == 61
    everyclass(project, "evaluate", "run", "images", "--split", "all")
    everyclass(project, "export", "run", "--format", "torch", "--out", "model.pt2")


def test_elsewhere_one_message_says_what_is_missing(project: Path, tmp_path: Path) -> None:
    arguments = ("predict", str(project / "run"), str(project / "images"), "--out", "p.csv")
    told = everyclass(tmp_path, *arguments, expected=2)
    assert "model.json" in told
    assert f"There is no module 'my_net' in {tmp_path}" in told.replace("\n", " ")
    assert "PYTHONPATH" in told
    assert not (tmp_path / "p.csv").exists()


def test_a_function_that_was_edited_since_is_refused(project: Path) -> None:
    original = (project / "my_net.py").read_text()
    try:
        changed = original.replace("x = self.features(x)", "x = self.features(x.flip(1)) * 3")
        (project / "my_net.py").write_text(changed)
        arguments = ("predict", "run", "images", "--out", "again.csv")
        told = everyclass(project, *arguments, expected=2)
        assert "gives another network than the one that was trained" in told
        (project / "my_net.py").write_text(original + "\n# a remark\n")
        everyclass(project, *arguments)
    finally:
        (project / "my_net.py").write_text(original)


def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ("--model", "./my_net.py:build")
    everyclass(project, *TRAIN, *path, "--out", "whole")
    observe = _Fit._observe

    def stop_at_six(self: _Fit, result: Any, clock: Clock) -> None:
        observe(self, result, clock)
        if self.progress.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(_Fit, "_observe", stop_at_six)
        told = everyclass(project, *TRAIN, *path, "--out", "stopped", *TRACKED, expected=130)
    assert "--resume --track tensorboard" in told.replace("\n", " ")
    everyclass(project, "train", "images", "--out", "stopped", "--resume", "--no-cache", *TRACKED)
    events = EventAccumulator(str(project / "stopped" / "tensorboard"))
    events.Reload()
    recalls = events.Scalars("everyclass/val/recall/birch")
    metrics = [json.loads(line) for line in (project / "stopped" / "metrics.jsonl").open()]
    assert [one.step for one in recalls] == [line["step"] for line in metrics] == [6, 12]
    assert [one.value for one in recalls] == [
        pytest.approx(line["recall"]["birch"], abs=1e-6) for line in metrics
    ]
    assert len(events.Scalars("everyclass/final/recall/birch")) == 1
    weights = [(project / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        ("absent:build", (), "There is no module 'absent'"),
        ("my_net:build", ("--pretrained",), "Load them in that function"),
        ("my_net:build", ("--image-size", "40"), "cannot take images of 40 px"),
    ],
)
def test_what_cannot_be_trained_leaves_nothing_behind(
    project: Path, model: str, more: tuple[str, ...], message: str
) -> None:
    arguments = (*TRAIN, "--model", model, "--out", "refused", *more)
    assert message in everyclass(project, *arguments, expected=2)
    assert not (project / "refused").exists()


def test_a_model_of_torchvision_is_trained_and_loaded(project: Path) -> None:
    everyclass(project, *TRAIN, "--model", "torchvision:squeezenet1_1", "--out", "squeezed")
    assert load_model(project / "squeezed").name == "torchvision:squeezenet1_1"
