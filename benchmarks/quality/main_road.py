"""The main road on real sets: everyclass, plain cross-entropy and the tutorial, equal epochs.

    EVERYCLASS_DATA=FOLDER python benchmarks/quality/main_road.py --out OUT [--seeds 0 1 2]

FOLDER holds trashnet/, pbc_128/ and cifar10/ with a folder a class. Long-tailed versions are made
as manifests, no file is copied. Every arm is the command line as a user types it, on the same
manifest, so on the same split; `CE` is everyclass's own recipe without a correction of imbalance
(`--imbalance none`, no post-hoc sweep); `tutorial` is `--recipe tutorial` at the same side (36 px
on CIFAR, the least its network takes). Models are chosen on validation images that are cut from the
training images; the figures are from test images.

A finished cell is kept in OUT/results.jsonl and not run again, so the grid can be stopped and
continued. At the end every finished cell is printed: mean over seeds, with the range.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CIFAR_CLASSES = (  # in the original order, which the profile goes by
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


@dataclass(frozen=True)
class Set:
    name: str
    side: int
    epochs: int
    tutorial_side: int


SETS = (
    Set("pbc-lt-50", 64, 5, 64),
    Set("trashnet", 64, 5, 64),
    Set("cifar10-lt-100", 32, 3, 36),
)
ARMS = ("ours", "CE", "tutorial")


def shuffled(folder: Path) -> list[Path]:
    files = sorted(folder.iterdir())
    random.Random(0).shuffle(files)
    return files


def pbc_long_tailed(root: Path, ratio: float) -> list[tuple[Path, str, str]]:
    """200 a class for test; of the rest int(1000 * ratio ** (-k / 7)), the largest class first."""
    files = {folder.name: shuffled(folder) for folder in (root / "pbc_128").iterdir()}
    rows = []
    for k, name in enumerate(sorted(files, key=lambda each: -len(files[each]))):
        n = int(1000 * ratio ** (-k / 7))
        rows += [(path, name, "test") for path in files[name][:200]]
        rows += [(path, name, "train") for path in files[name][200 : 200 + n]]
    return rows


def cifar_long_tailed(root: Path, ratio: float) -> list[tuple[Path, str, str]]:
    """int(5000 * ratio ** (-c / 9)) a class, and the whole balanced test set."""
    rows = []
    for c, name in enumerate(CIFAR_CLASSES):
        n = int(5000 * ratio ** (-c / 9))
        rows += [(path, name, "train") for path in shuffled(root / "cifar10/train" / name)[:n]]
        rows += [(path, name, "test") for path in sorted((root / "cifar10/test" / name).iterdir())]
    return rows


def write_manifest(path: Path, rows: Sequence[tuple[Path, str, str]]) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "split"])
        writer.writerows(rows)
    return path


def source_of(name: str, root: Path, out: Path) -> Path:
    if name == "trashnet":
        return root / "trashnet"
    rows = pbc_long_tailed(root, 50) if name.startswith("pbc") else cifar_long_tailed(root, 100)
    return write_manifest(out / f"{name}.csv", rows)


def arm_options(arm: str, of: Set) -> list[str]:
    if arm == "tutorial":
        return ["--recipe", "tutorial", "--image-size", str(of.tutorial_side)]
    plain = ["--imbalance", "none", "--set", "tau_sweep=false"] if arm == "CE" else []
    return ["--image-size", str(of.side), *plain]


def everyclass(*arguments: str) -> None:
    command = [sys.executable, "-m", "everyclass", *arguments]
    print("$ everyclass", *arguments, flush=True)
    subprocess.run(command, check=True)


def run_cell(of: Set, arm: str, seed: int, source: Path, out: Path) -> dict[str, object]:
    run = out / f"{of.name}-{arm}-{seed}"
    result = out / f"{run.name}.json"
    started = time.perf_counter()
    everyclass(
        *["train", str(source), "--out", str(run), "--overwrite", "--quiet", "--no-pretrained"],
        *["--epochs", str(of.epochs), "--seed", str(seed), "--json", str(result)],
        *arm_options(arm, of),
    )
    seconds = time.perf_counter() - started
    evaluation = json.loads(result.read_text())
    recalls = {one["name"]: one["recall"] for one in evaluation["classes"]}
    return {
        "set": of.name,
        "arm": arm,
        "seed": seed,
        "epochs": of.epochs,
        "n_test": evaluation["n"],
        "balanced_accuracy": evaluation["balanced_accuracy"],
        "macro_f1": evaluation["macro_f1"],
        "accuracy": evaluation["accuracy"],
        "worst_recall": min(recalls.values()),
        "at_zero": sum(value == 0 for value in recalls.values()),
        "ece": evaluation["ece"],
        "seconds": round(seconds, 1),
        "recalls": recalls,
    }


def walk_the_rest(of: Set, source: Path, out: Path) -> None:
    """Audit, evaluate and predict, as a user would after training."""
    run = out / f"{of.name}-ours-0"
    everyclass("audit", str(source), "--image-size", str(of.side))
    everyclass("evaluate", str(run), str(source))
    everyclass("predict", str(run), str(source), "--out", str(out / f"{of.name}-predictions.csv"))


def table(results: Sequence[dict[str, object]]) -> str:
    lines = [
        "| set | arm | epochs | seeds | balanced accuracy | worst recall | classes at 0 | macro-F1 "
        "| accuracy | ECE | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for of in SETS:
        for arm in ARMS:
            cells = [r for r in results if r["set"] == of.name and r["arm"] == arm]
            if not cells:
                lines.append(f"| {of.name} | {arm} | {of.epochs} | not run |" + " |" * 7)
                continue
            figures = [
                spread([float(str(cell[key])) for cell in cells])
                for key in ("balanced_accuracy", "worst_recall", "at_zero", "macro_f1", "accuracy")
            ]
            ece = spread([float(str(cell["ece"])) for cell in cells])
            seconds = statistics.median(float(str(cell["seconds"])) for cell in cells)
            lines.append(
                f"| {of.name} | {arm} | {of.epochs} | {len(cells)} | "
                + " | ".join(figures)
                + f" | {ece} | {seconds:.0f} |"
            )
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:.3g}"
    return f"{mean:.3f} ({min(values):.3g} to {max(values):.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sets", nargs="+", default=[of.name for of in SETS])
    parser.add_argument("--walk", action="store_true", help="also audit, evaluate, predict")
    arguments = parser.parse_args()
    root = Path(os.environ.get("EVERYCLASS_DATA", ""))
    if not (root / "trashnet").is_dir():
        sys.exit("EVERYCLASS_DATA must name the folder that holds trashnet/, pbc_128/, cifar10/.")
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = arguments.out / "results.jsonl"
    results = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(one["set"], one["arm"], one["seed"]) for one in results}
    for seed in arguments.seeds:
        for of in (each for each in SETS if each.name in arguments.sets):
            source = source_of(of.name, root, arguments.out)
            for arm in ARMS:
                if (of.name, arm, seed) in done:
                    continue
                results.append(run_cell(of, arm, seed, source, arguments.out))
                with open(kept, "a") as file:
                    file.write(json.dumps(results[-1]) + "\n")
            if arguments.walk and seed == arguments.seeds[0]:
                walk_the_rest(of, source, arguments.out)
    print(table(results))


if __name__ == "__main__":
    main()
