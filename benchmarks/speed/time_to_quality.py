"""Time to quality: from a cold start on a folder of files to what fastai's defaults reach.

    python benchmarks/speed/time_to_quality.py SET [SET ...] --peer-python peer/bin/python
        [--data FOLDER] [--side 64] [--epochs 5] [--repeats 1]

SET is trashnet or pbc-lt-50 (200 images a class for test, 1,000 to 20 for training; see
`benchmarks/quality/main_road.py`). `peer/bin/python` has fastai. Both sides get the same manifest
with the same validation images, and start as a process that has imported nothing.

- fastai: `benchmarks/quality/peers/fastai_defaults.py`, a ResNet-18 from scratch. It opens each
  file with PIL in every epoch, in two workers. Its goal is the validation balanced accuracy after
  its last epoch; its time ends there.
- ours: `everyclass train` as a user types it with `--image-size SIDE --epochs EPOCHS --no-cache`
  (`--our-epochs` for another number). Its time ends with the first epoch in whose line of
  `metrics.jsonl` the goal is reached. It decodes each file once.

Printed are both times and their ratio; where the goal is never reached, that and the best figure.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from everyclass.stats.confusion import balanced_accuracy, confusion_matrix

sys.path.insert(0, str(Path(__file__).parents[1] / "quality"))
from main_road import pbc_long_tailed, shuffled, write_manifest

FASTAI = Path(__file__).parents[1] / "quality/peers/fastai_defaults.py"
VALIDATION_SHARE = 0.2


def rows_of(name: str, data: Path) -> list[tuple[Path, str, str]]:
    """(file, class, split) of training and validation images."""
    if name == "trashnet":
        files = {folder.name: shuffled(folder) for folder in sorted((data / name).iterdir())}
    else:
        files = {}
        for path, label, split in pbc_long_tailed(data, 50):
            if split == "train":
                files.setdefault(label, []).append(path)
    rows = []
    for label, paths in files.items():
        kept = max(1, round(VALIDATION_SHARE * len(paths)))
        rows += [(path, label, "val") for path in paths[:kept]]
        rows += [(path, label, "train") for path in paths[kept:]]
    return rows


def fastai_run(peer: str, manifest: Path, side: int, epochs: int, seed: int) -> tuple[float, float]:
    """(seconds to the end of the last epoch, balanced accuracy on the validation images)."""
    out = manifest.with_suffix(".npz")
    arguments = [peer, str(FASTAI), str(manifest)]
    started = time.time()
    done = subprocess.run(
        [*arguments, *map(str, (side, epochs, seed, out))], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"fastai failed:\n{done.stderr[-2000:]}")
    with np.load(out) as found:
        logits, targets = found["val_logits"], found["val_targets"]
        seconds = float(found["trained_at"]) - started
    matrix = confusion_matrix(targets, logits.argmax(1), n_classes=logits.shape[1])
    return seconds, balanced_accuracy(matrix)


def our_run(
    manifest: Path, side: int, epochs: int, seed: int, goal: float, folder: Path
) -> tuple[float | None, float, float, list[float]]:
    """(seconds until the goal, or None; seconds in all; best figure; figures of each epoch)."""
    arguments = [sys.executable, "-m", "everyclass", "train", str(manifest), "--out", str(folder)]
    arguments += ["--image-size", str(side), "--epochs", str(epochs), "--seed", str(seed)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*arguments, "--no-cache", "--quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    reached: float | None = None
    figures: list[float] = []
    while process.poll() is None:
        time.sleep(0.05)
        known = lines_of(folder / "metrics.jsonl")
        for figure in known[len(figures) :]:
            figures.append(figure)
            if reached is None and figure >= goal:
                reached = time.perf_counter() - started
    if process.returncode:
        assert process.stderr is not None
        sys.exit(f"everyclass failed:\n{process.stderr.read().decode()[-2000:]}")
    seconds = time.perf_counter() - started
    figures = lines_of(folder / "metrics.jsonl")
    if reached is None and max(figures, default=0.0) >= goal:
        reached = seconds
    return reached, seconds, max(figures, default=0.0), figures


def lines_of(path: Path) -> list[float]:
    """Validation balanced accuracy of each epoch that is written down whole."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text().split("\n")[:-1]:
        told = json.loads(line)
        if "balanced_accuracy" in told:
            found.append(float(told["balanced_accuracy"]))
    return found


def compare(name: str, options: argparse.Namespace, folder: Path) -> None:
    manifest = write_manifest(folder / f"{name}.csv", rows_of(name, options.data))
    theirs, goals, ours, totals = [], [], [], []
    for repeat in range(options.repeats):
        seconds, goal = fastai_run(
            options.peer_python, manifest, options.side, options.epochs, repeat
        )
        run = folder / f"{name}-{repeat}"
        reached, total, best, figures = our_run(
            manifest, options.side, options.our_epochs or options.epochs, repeat, goal, run
        )
        theirs.append(seconds)
        goals.append(goal)
        ours.append(reached)
        totals.append(total)
        shown = " ".join(f"{one:.3f}" for one in figures)
        print(
            f"{name}, seed {repeat}: fastai {goal:.3f} after {seconds:.1f} s; ours "
            + (
                f"there after {reached:.1f} s"
                if reached is not None
                else f"never (best {best:.3f})"
            )
            + f", {total:.1f} s in all; by epoch {shown}",
            flush=True,
        )
    known: Sequence[float] = [one for one in ours if one is not None]
    if len(known) == len(ours):
        a, b = statistics.median(theirs), statistics.median(known)
        print(f"{name}: fastai {a:.1f} s, ours {b:.1f} s: {b / a:.2f} of its time (target 0.25)")
    else:
        print(f"{name}: {len(known)} of {len(ours)} trainings of ours reached fastai's figure")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="+", choices=("trashnet", "pbc-lt-50"), metavar="SET")
    parser.add_argument("--peer-python", required=True, help="a Python with fastai")
    parser.add_argument("--data", type=Path, default=os.environ.get("EVERYCLASS_DATA"))
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--our-epochs", type=int, help="of ours, where others than --epochs")
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.sets:
            compare(name, options, Path(folder))


if __name__ == "__main__":
    main()
