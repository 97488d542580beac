"""Property: no command writes outside its run and cache folders.

The commands run one after the other in one process, with a home, a working folder, images and a
folder for temporary files of their own; all of these must be afterwards what they were.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from image_folders import write_image_folder

DRIVER = '''
import json, sys
from pathlib import Path

ROOT, commands = Path(sys.argv[1]), json.loads(sys.argv[2])


def looked_at():
    """Everything under the root but runs and cache: kind, size and time of change."""
    found = {}
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT)
        if inside.parts[0] in ("out", "cache"):
            continue
        facts = path.lstat()
        # A folder's time tells of a file that came and went; temporary ones may.
        time = 0 if path.is_dir() and inside.parts[0] == "tmp" else facts.st_mtime_ns
        found[str(inside)] = (facts.st_mode, facts.st_size if path.is_file() else 0, time)
    return found


from everyclass.cli import main

answers = []
for command in commands:
    before = looked_at()
    try:
        main(command)
    except SystemExit as stop:
        code = stop.code
    after = looked_at()
    changed = sorted(
        name for name in {*before, *after} if before.get(name) != after.get(name)
    )
    answers.append({"command": command, "code": code, "changed": changed})
(ROOT / "out" / "answers.json").write_text(json.dumps(answers))
'''

SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(30):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(0, 3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

NOT_OURS = (
    # torchmetrics, which Lightning looks for, lets matplotlib list the machine's fonts, once.
    *("home/.cache/matplotlib", "home/.config/matplotlib"),
    # torch makes the folder for what it compiles when it is loaded, and leaves it empty.
    "tmp/torchinductor_",
)
MADE_ON_THE_WAY = ("home", "home/.cache", "home/.config")

SMALL = ["--model", "test_resnet", "--image-size", "24", "--epochs", "1"]
COMMANDS = [
    ["audit", "images", "--json", "../out/audit.json"],
    ["train", "images", "--explain"],
    ["train", "images", "--out", "../out/run", "--threads", "1", *SMALL],
    ["train", "images", "--out", "../out/other", "--threads", "1", "--seed", "1", *SMALL],
    ["evaluate", "../out/run", "images", "--json", "../out/evaluation.json"],
    ["predict", "../out/run", "images/ash", "--out", "../out/predictions.csv"],
    ["report", "../out/run", "--out", "../out/report.html"],
    ["compare", "../out/run", "../out/other", "--json", "../out/compare.json"],
    ["export", "../out/run", "--format", "torch", "--out", "../out/model.pt2"],
    ["crossval", "images", "--out", "../out/crossval", "--folds", "2", *SMALL],
    ["doctor", "--quick"],
    ["run", "--out", "../out/watched", "--budget", "0", "script.py"],
    # What fails leaves nothing either.
    ["audit", "nowhere"],
    ["train", "images", "--out", "../out/refused", "--model", "no_such_model"],
]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("machine")
    for name in ("home", "work", "tmp", "out", "cache"):
        (root / name).mkdir()
    write_image_folder(root / "work" / "images", {"ash": 24, "birch": 16})
    (root / "work" / "script.py").write_text(SCRIPT)
    return root


@pytest.fixture(scope="module")
def answers(machine: Path) -> list[dict[str, Any]]:
    """Of each command: its exit code, and what else than runs and cache is not as it was."""
    ours = {
        "HOME": str(machine / "home"),
        "TMPDIR": str(machine / "tmp"),
        "EVERYCLASS_CACHE": str(machine / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    others = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "HF_", "TORCH", "MPL", "PYTEST_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(machine), json.dumps(COMMANDS)],
        cwd=machine / "work",
        env={**others, **ours},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads((machine / "out" / "answers.json").read_text())
    return found


@pytest.mark.parametrize("place", range(len(COMMANDS)), ids=[" ".join(c[:2]) for c in COMMANDS])
def test_a_command_writes_to_its_run_and_the_cache_alone(
    answers: list[dict[str, Any]], place: int
) -> None:
    answer = answers[place]
    assert answer["code"] == (2 if place >= len(COMMANDS) - 2 else 0), answer
    # Weights & Biases, which timm loads where it is installed, removes its folders at the end.
    changed = [
        name
        for name in answer["changed"]
        if not name.startswith(NOT_OURS)
        and name not in MADE_ON_THE_WAY
        and not (name.startswith("tmp/") and "wandb-" in name)
    ]
    assert changed == []


def test_no_temporary_file_is_left(answers: list[dict[str, Any]], machine: Path) -> None:
    left = [path for path in (machine / "tmp").rglob("*") if path.name[:14] != "torchinductor_"]
    assert left == []
