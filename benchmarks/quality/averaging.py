"""The moving average of the weights beside the weights themselves: same training, same images.

    EVERYCLASS_DATA=FOLDER python benchmarks/quality/averaging.py --out OUT [--sets trashnet]
        [--seeds 0 1] [--epochs 5]

One training of `everyclass train` a set and seed, its default recipe from scratch. An average
changes nothing in the training itself, so each checkpoint that is left holds both: the weights
of that step, and their average, which is what is evaluated, chosen by and kept. Both give a
balanced decision, with the same correction, on validation and on test images. Printed: balanced
accuracy of both at each checkpoint (ends of epochs; the last is the end of the training), and
means of the difference at ends and before.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from sets import SETS, manifest_of

from everyclass.models.file import load_model
from everyclass.stats.confusion import balanced_accuracy, confusion_matrix
from everyclass.workflows.pixel_logits import logits_of_files


def balanced_accuracies(run: Path, manifest: Path) -> list[tuple[int, str, float, float]]:
    """(step, split, of the weights, of their average) for each checkpoint of a run."""
    model = load_model(run)
    with open(manifest, newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for path in sorted(run.glob("checkpoints/step-*.pt")):
        state = torch.load(path, map_location="cpu", weights_only=True)
        for split in ("val", "test"):
            paths = [row["image"] for row in rows if row["split"] == split]
            truth = np.array([model.classes.index(r["label"]) for r in rows if r["split"] == split])
            figures = []
            for weights in (state["model"], state["average"]["module"]):
                model.classifier.load_state_dict(weights)
                logits = logits_of_files(model, paths, device="cpu")
                decided = model.decision.balanced(logits)
                matrix = confusion_matrix(truth, decided, n_classes=len(model.classes))
                figures.append(balanced_accuracy(matrix))
            found.append((int(path.name.split("-")[1]), split, figures[0], figures[1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=os.environ.get("EVERYCLASS_DATA"))
    parser.add_argument("--sets", nargs="+", default=["trashnet", "pbc-lt-50"], choices=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    gains: dict[str, list[float]] = {"before the end": [], "at the end": []}
    for name in options.sets:
        manifest = manifest_of(name, options.data, options.out)
        for seed in options.seeds:
            run = options.out / f"{name}-{seed}"
            words = ["train", str(manifest), "--no-pretrained", "--seed", str(seed), "--quiet"]
            words += ["--image-size", str(SETS[name].side), "--epochs", str(options.epochs)]
            words += ["--selection", "last", "--overwrite", "--out", str(run)]
            subprocess.run([sys.executable, "-m", "everyclass", *words], check=True)
            found = balanced_accuracies(run, manifest)
            last = max(step for step, *_ in found)
            for step, split, weights, average in found:
                print(
                    f"{name}, seed {seed}, step {step:4d}, {split:4}: weights {weights:.3f}, "
                    f"average {average:.3f}, {average - weights:+.3f}",
                    flush=True,
                )
                if split == "test":
                    gains["at the end" if step == last else "before the end"].append(
                        average - weights
                    )
    for when, values in gains.items():
        if values:
            print(
                f"{when}, test images: {statistics.mean(values):+.3f} in the mean of "
                f"{len(values)}, {min(values):+.3f} to {max(values):+.3f}"
            )


if __name__ == "__main__":
    main()
