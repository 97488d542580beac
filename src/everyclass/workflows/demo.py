"""`everyclass demo`: a script that collapses, its cause and its cure; and ours on the same images.

Comes in: a folder and the name of a data set. Goes out: what the script and its fixed copy came to,
and a run of ours. The script groups its images by class and forgets to shuffle. It is run as a user
would run it, in a process of its own, by `everyclass run --fix`.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from everyclass.contracts import Evaluation
from everyclass.errors import InputError
from everyclass.images.synthetic import write_demo_images
from everyclass.run_folder import write_atomically
from everyclass.workflows.audit import audit_data
from everyclass.workflows.cores import usable_cores
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.demo_data import write_digits, write_fashion_mnist
from everyclass.workflows.events import Event
from everyclass.workflows.fix_script import STANDARD_ERROR
from everyclass.workflows.train import TrainOptions, train

DemoData = Literal["tissue", "digits", "fashion-mnist"]

OURS: Mapping[DemoData, Mapping[str, Any]] = MappingProxyType(
    {
        "tissue": {
            "pretrained": False,
            "epochs": 5,
            "augmentation": ("crop", "flip", "vertical-flip"),
        },
        "digits": {"pretrained": False, "epochs": 12, "augmentation": ("crop",)},
        "fashion-mnist": {"pretrained": False, "epochs": 5, "augmentation": ("crop", "flip")},
    }
)
"""What differs from the defaults: a budget that fits two minutes, and flips only where they keep
the label (a mirrored 5 is no 5; tissue has no up and down)."""

SCRIPT, TABLE, WATCHED = "train.py", "images.csv", "watched"
KNOWN = ("images", "script", "run")
"""What a demo's folder holds."""

SCRIPT_BUDGET_SECONDS = 40
"""For the trials; `run` alone takes at least 20 s. They end with the first proof, which takes
longer where others use the cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptAct:
    """What the watched script came to.

    Args:
        folder: of the script, its fixed copy and `watched/`.
        diagnosis: content of `diagnosis.json`.
        fix: content of `fix.json`; None when no cause was proved that an edit cures.
        seconds: both runs and the trials.
    """

    folder: Path
    diagnosis: Mapping[str, Any]
    fix: Mapping[str, Any] | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """The script and ours on the same split, and where everything is.

    Args:
        folder: of our run.
        evaluation: of it, on the test images.
        seconds: that it took.
    """

    data: DemoData
    source: Path
    script: ScriptAct
    folder: Path
    evaluation: Evaluation
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "data": self.data,
            "source": str(self.source),
            "script": {
                "folder": str(self.script.folder),
                "seconds": round(self.script.seconds, 1),
                "diagnosis": dict(self.script.diagnosis),
                "fix": None if self.script.fix is None else dict(self.script.fix),
            },
            "ours": {
                "folder": str(self.folder),
                "seconds": round(self.seconds, 1),
                "evaluation": self.evaluation.to_dict(),
            },
        }


def write_images(out: Path, data: DemoData) -> Path:
    """The images beneath `out`, and the path of their manifest.

    Raises:
        InputError: `out` holds something else, or a data set that cannot be had.
    """
    if out.exists() and (not out.is_dir() or {one.name for one in out.iterdir()} - {*KNOWN}):
        raise InputError(
            f"{out} holds something that is not from a demo.", remedy="Choose another --out."
        )
    folder = out / "images"
    if data == "digits":
        return write_digits(folder, seed=0)
    if data == "fashion-mnist":
        return write_fashion_mnist(folder, seed=0)
    return write_demo_images(folder, seed=0, threads=usable_cores())


def watch_script(out: Path, source: Path, *, quiet: bool) -> ScriptAct:
    """Write the script and its table of images, and run it under `everyclass run --fix`.

    What both say goes to standard error.

    Args:
        source: manifest of the images.
        quiet: nothing is said.
    """
    started = time.monotonic()
    folder = out / "script"
    folder.mkdir(exist_ok=True)
    script = files("everyclass.workflows").joinpath("demo_script.txt").read_bytes()
    write_atomically(folder / SCRIPT, script)
    write_atomically(folder / TABLE, _table(source).encode())
    for name in ("diagnosis.json", "fix.json"):
        (folder / WATCHED / name).unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "everyclass", "run", "--fix"),
        *("--budget", str(SCRIPT_BUDGET_SECONDS)),
        *(("--quiet",) if quiet else ()),
        *("--out", WATCHED, SCRIPT, TABLE),
    ]
    said = subprocess.DEVNULL if quiet else STANDARD_ERROR
    subprocess.run(command, cwd=folder, stdout=said, stderr=said if quiet else None, check=False)
    return ScriptAct(
        folder=folder,
        diagnosis=_content(folder / WATCHED / "diagnosis.json") or {},
        fix=_content(folder / WATCHED / "fix.json"),
        seconds=time.monotonic() - started,
    )


def train_ours(
    out: Path,
    source: Path,
    script: ScriptAct,
    *,
    data: DemoData,
    on_event: Callable[[Event], None],
) -> DemoResult:
    """Train on the same images and the same split.

    Args:
        out: gets the run; that of an earlier demo is replaced.
        source: manifest of the images.
        script: what came before.
    """
    started = time.monotonic()
    folder = out / "run"
    outcome = train(
        DataSource(source=str(source)),
        folder,
        TrainOptions(wishes=OURS[data], overwrite=True),
        on_event=on_event,
    )
    return DemoResult(
        data=data,
        source=source,
        script=script,
        folder=folder,
        evaluation=outcome.evaluation,
        seconds=time.monotonic() - started,
    )


def _table(source: Path) -> str:
    """The split that `train` makes, as a table for the script: absolute path, class, split."""
    table = audit_data(DataSource(source=str(source.resolve()))).table
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("image", "label", "split"))
    for image, label, split in zip(table.images, table.labels(), table.splits()):
        rows.writerow((image, table.classes[label], split))
    return text.getvalue()


def _content(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
