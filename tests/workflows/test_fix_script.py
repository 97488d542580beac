"""`everyclass run --fix`: the copy, the diff, and the copy run again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from everyclass.capture.execute import Ending, Target
from everyclass.capture.report import Overhead, Watched, WatchReport
from everyclass.diagnoses import Cause, Diagnosis, Remedy, Trial
from everyclass.diagnosis.case import Case
from everyclass.errors import InputError
from everyclass.findings import CauseId
from everyclass.fixing.patch import MARK
from everyclass.workflows.fix_script import patch_script, plan_fix
from everyclass.workflows.run_script import RunOutcome

IMAGES = """
torch.manual_seed(0)
y = torch.randint(0, 4, (640,))
x = torch.randint(0, 120, (640, 1, 8, 8)).float()
for k in range(4):  # a bright corner for each class
    row, column = 4 * (k // 2), 4 * (k % 2)
    x[y == k, :, row : row + 4, column : column + 4] += 100
"""

LOOP = """
for epoch in range(int(sys.argv[1])):
    model.train()
    for inputs, labels in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        hits = sum((model(a).argmax(1) == b).sum().item() for a, b in val_loader)
        losses = sum(criterion(model(a), b).item() for a, b in val_loader)
    print(f"epoch {epoch}: accuracy {hits / 128:.3f}, loss {losses:.3f}")
"""

LOADERS = """
train_loader = DataLoader(TensorDataset(x[:512], y[:512]), batch_size=16, shuffle=True)
val_loader = DataLoader(TensorDataset(x[512:], y[512:]), batch_size=64)
criterion = nn.CrossEntropyLoss()
"""

IMPORTS = """import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
"""

RAW_PIXELS = f"""{IMPORTS}{IMAGES}{LOADERS}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.fc = nn.Linear(512, 4)

    def forward(self, x):
        x = torch.relu(self.conv(x)).flatten(1)
        return self.fc(torch.relu(x))


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
{LOOP}"""

NETWORK_TWICE = f"""{IMPORTS}from . import words  # noqa: F401
{IMAGES}x = (x - 80) / 50
{LOADERS}

def build():
    layers = [nn.Flatten()]
    layers += [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)]
    return nn.Sequential(*layers)


model = build()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
# the same again, for a fresh start
model = build()
{LOOP}"""


def run_fix(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "everyclass", "run", "--fix", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_a_collapsing_script_gets_a_copy_that_trains(tmp_path: Path) -> None:
    script = tmp_path / "own" / "train.py"
    script.parent.mkdir()
    script.write_text(RAW_PIXELS)
    done = run_fix(["--out", "seen", "--budget", "200", "own/train.py", "4"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert script.read_text() == RAW_PIXELS
    copy = (tmp_path / "own" / "train.fixed.py").read_text()
    assert copy.startswith(f"{MARK}train.py")
    # What was added is all that differs.
    kept = [line for line in copy.splitlines()[1:] if "Standardise" not in line]
    assert [line for line in kept if " x = (x - " not in line] == RAW_PIXELS.splitlines()
    fix = json.loads((tmp_path / "seen" / "fix.json").read_text())
    assert fix["causes"] == ["inputs-not-scaled"]
    assert fix["before"]["verdict"] != "healthy"
    assert fix["after"]["verdict"] == "healthy"
    assert fix["before"]["balanced_accuracy"] < 0.5 < 0.9 < fix["after"]["balanced_accuracy"]
    assert fix["after"]["predicted"] == 4
    assert fix["before"]["judged_on"] == fix["after"]["judged_on"] == "last evaluation"
    # Standard output is the script's own, once; what the copy prints is beside ours.
    assert done.stdout.count("epoch ") == 4
    assert done.stderr.count("epoch ") == 4
    assert "+        x = (x - " in done.stderr
    assert "train.fixed.py trains." in done.stderr


def test_a_module_of_a_package_gets_a_copy_in_the_package(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text("")
    (package / "train.py").write_text(NETWORK_TWICE)
    done = run_fix(["--json", "seen.json", "--budget", "200", "-m", "package.train", "4"], tmp_path)
    assert done.returncode == 0, done.stderr
    copy = (package / "train_fixed.py").read_text()
    assert copy.index("model = build()\noptimizer = ") > copy.index("for a fresh start")
    fix = json.loads((tmp_path / "seen.json").read_text())["fix"]
    assert fix["causes"] == ["parameters-not-optimised"]
    assert (fix["before"]["verdict"], fix["after"]["verdict"]) == ("not-learning", "healthy")
    assert (package / "train.py").read_text() == NETWORK_TWICE


def test_a_script_without_a_fault_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "quick.py").write_text("print('nothing to learn')\n")
    done = run_fix(["quick.py"], tmp_path)
    assert done.returncode == 0
    assert "No copy was written." in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["quick.py"]


# -- what is refused before anything runs ----------------------------------------------------------


def test_another_file_of_that_name_is_not_overwritten(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("print('ran')\n")
    other = tmp_path / "train.fixed.py"
    other.write_text("import torch\n")
    done = run_fix(["train.py"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "was not made by --fix" in done.stderr
    assert other.read_text() == "import torch\n"
    other.write_text(f"#!/usr/bin/env python\n{MARK}train.py.\n")
    assert plan_fix(Target(name=str(script))).copy == other


@pytest.mark.parametrize("more", [["--check-only"], ["--budget", "0"]])
def test_a_fix_needs_trials(more: list[str], tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('ran')\n")
    done = run_fix([*more, "train.py"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "trials" in done.stderr


def test_one_of_several_processes_cannot_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text("")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="distributed"):
        plan_fix(Target(name=str(tmp_path / "train.py")))


def test_a_text_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_bytes(b"name = '\xff'\n")
    with pytest.raises(InputError, match="no Python text"):
        plan_fix(Target(name=str(tmp_path / "train.py")))


# -- which change is applied -----------------------------------------------------------------------


def trial(change: str, *causes: CauseId, proved: bool = True) -> Trial:
    return Trial(
        change=change,
        causes=causes,
        words=change.replace("-", " "),
        steps=200,
        control=0.25,
        changed=0.95,
        gain=0.7,
        ci95=(0.6, 0.8),
        chance=0.25,
        seeds=2,
        images=100,
        missed=(),
        recovered=True,
        proved=proved,
    )


def outcome_of(*causes: Cause, trials: Sequence[Trial] = (), sites: str = "train.py") -> RunOutcome:
    import torch

    report = WatchReport(
        script="train.py",
        ended=str(Ending(code=0, error=None)),
        verdict="collapsed",
        sentence="",
        step=100,
        phase="opening",
        findings=(),
        checks=(),
        watched=Watched(),
        overhead=Overhead(seconds=0.0, fraction=None),
        summary=None,
        call_sites={},
    )
    model = torch.nn.Linear(4, 4)
    case = Case(
        model=model,
        optimizers=(torch.optim.SGD(model.parameters(), lr=0.5),),
        call_sites={"optimizer": f"{sites}:3", "model": f"{sites}:2"},
    )
    remedies = tuple(Remedy(cause=one.id, sentence=f"Do {one.id}.") for one in causes)
    diagnosis = Diagnosis(
        verdict="collapsed",
        step=100,
        sentence="",
        causes=causes,
        remedies=remedies,
        trials=tuple(trials),
    )
    return RunOutcome(report=report, code=0, case=case, diagnosis=diagnosis)


def proved(change: str, *causes: CauseId) -> list[Cause]:
    made = trial(change, *causes)
    return [Cause(id=one, proved=True, sentence="", trial=made) for one in causes]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "train.py"
    path.write_text(
        "from torch.optim import SGD\nmodel = Linear(4, 4)\n"
        "optimizer = SGD(model.parameters(), lr=0.5, weight_decay=9)\n"
    )
    return path


def test_both_causes_of_a_pair_are_fixed(script: Path) -> None:
    causes = proved(
        "rate-tenth + weight-decay-off", "learning-rate-too-high", "weight-decay-too-strong"
    )
    found = patch_script(plan_fix(Target(name="train.py")), outcome_of(*causes))
    assert found.causes == ("learning-rate-too-high", "weight-decay-too-strong")
    assert "lr=0.05, weight_decay=0.0" in (script.parent / "train.fixed.py").read_text()


def test_a_suspicion_changes_nothing(script: Path) -> None:
    suspected = Cause(
        id="learning-rate-too-high",
        proved=False,
        sentence="",
        trial=trial("rate-tenth", "learning-rate-too-high", proved=False),
    )
    found = patch_script(plan_fix(Target(name="train.py")), outcome_of(suspected))
    assert found.copy is None
    assert "only what a trial has proved" in found.refused[0]
    assert not (script.parent / "train.fixed.py").exists()


def test_a_cause_without_an_edit_is_told_and_the_next_proved_change_is_taken(script: Path) -> None:
    first = proved("batchnorm-added", "poor-initialisation")
    other = trial("adam", "learning-rate-too-low")
    found = patch_script(plan_fix(Target(name="train.py")), outcome_of(*first, trials=[*[other]]))
    assert "poor-initialisation is proved" in found.refused[0]
    assert found.causes == ("learning-rate-too-low",)


def test_what_cannot_be_edited_is_told_with_what_to_do_by_hand(script: Path) -> None:
    causes = (
        *proved("batchnorm-added", "poor-initialisation"),
        Cause(id="labels-unrelated", proved=True, sentence=""),
    )
    found = patch_script(plan_fix(Target(name="train.py")), outcome_of(*causes))
    assert found.copy is None
    assert found.remedies == ("Do poor-initialisation.", "Do labels-unrelated.")


def test_a_fault_in_another_file_is_told_with_its_place(script: Path) -> None:
    causes = proved("rate-tenth", "learning-rate-too-high")
    found = patch_script(
        plan_fix(Target(name="train.py")), outcome_of(*causes, sites="parts/engine.py")
    )
    assert found.copy is None
    assert "parts/engine.py:3" in found.refused[0]
