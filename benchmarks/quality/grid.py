"""Every class, beside what users would do instead: sets, arms and seeds in a grid that resumes.

    EVERYCLASS_DATA=FOLDER python benchmarks/quality/grid.py --out OUT [--sets trashnet pbc-lt-50]
        [--arms ours ce fastai] [--seeds 0 1 2] [--epochs 5] [--peer-python peer/bin/python]
        [--seconds 3600] [--report]

All arms get the same manifest (`sets.py`), so the same training, validation and test images, the
same side and number of epochs, a ResNet-18 from scratch unless an arm says otherwise, and are
judged on the same test images, which are about even.

- ours: `everyclass train` with its defaults from scratch. ours-resnet18: the same on a ResNet-18.
- ce, weights, sampler, balanced-softmax, post-hoc, focal, ldam-drw, crt: our loop on a ResNet-18
  with that correction and no other, and no moving average; models are chosen by validation balanced
  accuracy.
- both: balanced weights on a balanced sampler, the usual mistake; our loop refuses it, so
  `peers/torchvision_style.py` makes it. torchvision: the same script as it is.
- fastai: `peers/fastai_defaults.py`, run by `--peer-python`, which has fastai.

A finished cell is a line of OUT/cells.jsonl and is not run again; `cells.jsonl` beside this script
holds those that RESULTS.md shows: a copy of it in OUT goes on from there. Cells are taken seed by
seed, in the order of the sets, so that an interrupted grid is a fair part of it; `--seconds` stops
it between two cells. The calibration error is that after temperature scaling on validation images.
The natural accuracy is that at the training images' frequencies: the mean of the recalls weighted
by them, of our natural decision (same weights, that prior put back) and of a peer's largest output.
Printed: mean over seeds with its standard error; empty cells as such.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from sets import SETS, Set, manifest_of

from everyclass.stats.calibration import expected_calibration_error, fit_temperature, softmax
from everyclass.stats.confusion import balanced_accuracy, confusion_matrix, macro_f1, recall

HERE = Path(__file__).parent
UNCORRECTED = ["--set", "tau_sweep=false"]
SCRATCH = ["--no-pretrained", "--model", "resnet18"]
PLAIN = [*SCRATCH, "--ema-decay", "0"]
OURS: dict[str, list[str]] = {
    "ours": ["--no-pretrained"],
    "ours-resnet18": [*SCRATCH],
    "ce": [*PLAIN, "--imbalance", "none", *UNCORRECTED],
    "weights": [*PLAIN, "--imbalance", "weights-balanced", *UNCORRECTED],
    "sampler": [*PLAIN, "--imbalance", "balanced-sampling", *UNCORRECTED],
    "balanced-softmax": [*PLAIN, "--imbalance", "logit-adjustment", *UNCORRECTED],
    "post-hoc": [*PLAIN, "--imbalance", "none"],
    "focal": [*PLAIN, "--imbalance", "focal", *UNCORRECTED],
    "ldam-drw": [*PLAIN, "--imbalance", "ldam-drw", *UNCORRECTED],
    "crt": [*PLAIN, "--imbalance", "crt", *UNCORRECTED],
}
PEERS = {"torchvision": [], "both": ["--plain", "--weights", "--sampler"]}
ARMS = (*OURS, *PEERS, "fastai")
FIGURES = (
    *("balanced_accuracy", "macro_f1", "worst_recall", "smallest_three", "accuracy"),
    *("natural_accuracy", "ece", "at_zero", "seconds"),
)


@dataclass(frozen=True)
class Cell:
    """One training."""

    of: Set
    arm: str
    seed: int
    epochs: int

    @property
    def key(self) -> str:
        return f"{self.of.name} {self.arm} seed={self.seed} epochs={self.epochs}"


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    for seed in options.seeds:
        for name in options.sets:
            for arm in options.arms:
                yield Cell(SETS[name], arm, seed, options.epochs or SETS[name].epochs)


def figures_of(recalls: list[float], counts: list[int]) -> dict[str, float]:
    """Those that go by class."""
    smallest = sorted(range(len(counts)), key=lambda c: counts[c])[:3]
    return {
        "worst_recall": min(recalls),
        "smallest_three": float(np.mean([recalls[c] for c in smallest])),
        "at_zero": sum(one == 0 for one in recalls),
    }


def ours(cell: Cell, manifest: Path, folder: Path, extra: list[str]) -> dict[str, Any]:
    told = folder / "evaluation.json"
    started = time.perf_counter()
    subprocess.run(
        [
            *[sys.executable, "-m", "everyclass", "train", str(manifest), "--quiet", "--overwrite"],
            *["--out", str(folder / "run"), "--json", str(told), "--seed", str(cell.seed)],
            *["--image-size", str(cell.of.side), "--epochs", str(cell.epochs), *extra],
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - started
    found = json.loads(told.read_text())
    recalls = [one["recall"] for one in found["classes"]]
    counts = [one["train_n"] for one in found["classes"]]
    kept = {name: found[name] for name in ("balanced_accuracy", "macro_f1", "accuracy", "ece")}
    natural = natural_recalls(manifest, folder)
    kept["natural_accuracy"] = float(np.average(natural, weights=counts))
    return kept | figures_of(recalls, counts) | {"seconds": seconds}


def natural_recalls(manifest: Path, folder: Path) -> list[float]:
    """Of the finished run, by the decision that makes fewest errors at the training frequencies."""
    told = folder / "natural.json"
    subprocess.run(
        [
            *[sys.executable, "-m", "everyclass", "evaluate", str(folder / "run"), str(manifest)],
            *["--split", "test", "--decision", "natural", "--quiet", "--json", str(told)],
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return [one["recall"] for one in json.loads(told.read_text())["classes"]]


def peer(cell: Cell, manifest: Path, folder: Path, command: list[str]) -> dict[str, Any]:
    out = folder / "logits.npz"
    arguments = [str(manifest), str(cell.of.side), str(cell.epochs), str(cell.seed), str(out)]
    started = time.perf_counter()
    subprocess.run([*command[:2], *arguments, *command[2:]], check=True)
    seconds = time.perf_counter() - started
    with np.load(out) as found:
        logits, targets = found["test_logits"], found["test_targets"]
        temperature = fit_temperature(found["val_logits"], found["val_targets"]).temperature
        counts = found["counts"].tolist()
    matrix = confusion_matrix(targets, logits.argmax(1), n_classes=logits.shape[1])
    return {
        "balanced_accuracy": balanced_accuracy(matrix),
        "macro_f1": macro_f1(matrix),
        "accuracy": float(matrix.trace() / matrix.sum()),
        "natural_accuracy": float(np.average(recall(matrix), weights=counts)),
        "ece": expected_calibration_error(softmax(logits / temperature), targets),
        **figures_of(recall(matrix).tolist(), counts),
        "seconds": seconds,
    }


def run(cell: Cell, options: argparse.Namespace) -> dict[str, Any]:
    manifest = manifest_of(cell.of.name, options.data_root, options.out)
    folder = options.out / cell.key.replace(" ", "_")
    folder.mkdir(exist_ok=True)
    if cell.arm in OURS:
        found = ours(cell, manifest, folder, OURS[cell.arm])
    elif cell.arm in PEERS:
        script = str(HERE / "peers/torchvision_style.py")
        found = peer(cell, manifest, folder, [sys.executable, script, *PEERS[cell.arm]])
    else:
        script = str(HERE / "peers/fastai_defaults.py")
        found = peer(cell, manifest, folder, [options.peer_python, script])
    named = {"set": cell.of.name, "arm": cell.arm, "seed": cell.seed, "epochs": cell.epochs}
    return {"key": cell.key, **named, **found}


def known(out: Path) -> list[dict[str, Any]]:
    path = out / "cells.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def report(rows: list[dict[str, Any]]) -> str:
    """A table a set and budget; balanced accuracy with its standard error over seeds."""
    lines = []
    for name, epochs in dict.fromkeys((row["set"], row["epochs"]) for row in rows):
        of = [row for row in rows if (row["set"], row["epochs"]) == (name, epochs)]
        lines += [
            f"\n**{name}, {epochs} epochs**\n",
            "| arm | seeds | balanced accuracy | macro F1 | worst class | smallest three | "
            "accuracy | natural accuracy | calibration error | classes at 0 | seconds |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        for arm in ARMS:
            own = [row for row in of if row["arm"] == arm]
            if not own:
                lines.append(f"| {arm} | 0 | not run | | | | | | | | |")
                continue
            # Natural accuracy is younger than the oldest cells.
            mean = {
                name: statistics.mean([row[name] for row in own if name in row] or [float("nan")])
                for name in FIGURES
            }
            figures = [row["balanced_accuracy"] for row in own]
            error = statistics.stdev(figures) / len(own) ** 0.5 if len(own) > 1 else float("nan")
            lines.append(
                f"| {arm} | {len(own)} | {mean['balanced_accuracy']:.3f} ± {error:.3f} | "
                f"{mean['macro_f1']:.3f} | {mean['worst_recall']:.3f} | "
                f"{mean['smallest_three']:.3f} | {mean['accuracy']:.3f} | "
                f"{mean['natural_accuracy']:.3f} | {mean['ece']:.3f} | "
                f"{mean['at_zero']:.1f} | {mean['seconds']:.0f} |"
            )
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS)[:4], metavar="SET")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="instead of the set's own")
    parser.add_argument("--data-root", type=Path, default=os.environ.get("EVERYCLASS_DATA"))
    parser.add_argument("--peer-python", help="with fastai; without it that arm is left out")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop between cells")
    parser.add_argument("--report", action="store_true", help="print only")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    done = {row["key"] for row in known(options.out)}
    for cell in [] if options.report else cells(options):
        left_out = cell.arm == "fastai" and not options.peer_python
        if cell.key in done or left_out:
            continue
        if time.monotonic() - started > options.seconds:
            break
        found = run(cell, options)
        with open(options.out / "cells.jsonl", "a") as file:
            file.write(json.dumps(found) + "\n")
        print(
            f"{cell.key}: balanced accuracy {found['balanced_accuracy']:.3f}, worst class "
            f"{found['worst_recall']:.3f}, {found['seconds']:.0f} s",
            flush=True,
        )
    print(report(known(options.out)))


if __name__ == "__main__":
    main()
