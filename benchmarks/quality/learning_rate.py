"""The learning rate by our scaling rule and by a range test: which serves better?

    EVERYCLASS_DATA=FOLDER python benchmarks/quality/learning_rate.py --out OUT [--sets ...]

The range test (Smith 2017, arXiv:1506.01186): from fresh weights the rate rises exponentially from
1e-6 to 1 over 100 steps, each on a new batch; the smoothed loss is followed, and the rate where it
falls fastest per decade is suggested, as fastai's `lr_find` calls it "steep". Then both rates train
the same recipe for five epochs on the same split, and the balanced accuracy on test images, the
rates and the seconds of the range test are printed. Arms that `--arms` leaves out are not run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from main_road import SETS, everyclass, source_of
from torch.nn import functional

from everyclass.decide import learning_rate
from everyclass.images.store import ImageStore
from everyclass.models.backbones import build_backbone
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.training.batches import training_batches
from everyclass.training.optim import build_optimizer
from everyclass.training.steps import steps
from everyclass.workflows.cores import usable_cores
from everyclass.workflows.correction import build_correction
from everyclass.workflows.data_source import DataSource, split_table
from everyclass.workflows.inference import make_fabric

BATCH, STEPS = 32, 100
LOW, HIGH = 1e-6, 1.0
SMOOTHING = 0.95


def rate_at(step: int) -> float:
    return LOW * (HIGH / LOW) ** (step / (STEPS - 1))


def range_test(source: Path, side: int) -> tuple[float, float]:
    """Suggested rate and the seconds it took."""
    table, _ = split_table(
        DataSource(source=str(source)).read(), seed=0, val_fraction=0.15, test_fraction=0.15
    )
    train = table.of_split("train")
    fabric = make_fabric(device="cpu", precision="fp32")
    correction = build_correction(
        ("balanced-sampling",),
        train.labels(),
        classes=train.classes,
        epochs=1,
        label_smoothing=0.0,
        seed=0,
        device=fabric.device,
    )
    backbone = build_backbone("resnet10t", side=side, n_classes=len(train.classes), seed=0)
    scaling = Preprocessing(side=side, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    classifier = Classifier(backbone.network, scaling).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(
        "adamw", classifier, learning_rate=LOW, momentum=0.9, weight_decay=0.05
    )
    model, wrapped = fabric.setup(classifier, optimizer)
    started, smoothed, losses = time.perf_counter(), 0.0, []
    with ImageStore(train, side=side, threads=usable_cores()) as store:
        batches = training_batches(
            store.gather,
            train.labels(),
            correction.epoch_order,
            n_images=len(train),
            batch_size=BATCH,
            first_step=0,
            n_steps=STEPS,
        )
        for result in steps(
            model, wrapped, batches, functional.cross_entropy, fabric=fabric, rate=rate_at, seed=0
        ):
            smoothed = SMOOTHING * smoothed + (1 - SMOOTHING) * float(result.loss)
            losses.append(smoothed / (1 - SMOOTHING ** (len(losses) + 1)))
            if losses[-1] > 4 * min(losses) or not math.isfinite(losses[-1]):
                break
    slope = np.gradient(np.array(losses))
    return float(f"{rate_at(int(slope.argmin())):.2g}"), time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["pbc-lt-50", "trashnet"])
    parser.add_argument("--arms", nargs="+", default=["rule", "range"])
    arguments = parser.parse_args()
    root = Path(os.environ.get("EVERYCLASS_DATA", ""))
    if not (root / "trashnet").is_dir():
        sys.exit("EVERYCLASS_DATA must name the folder that holds trashnet/, pbc_128/, cifar10/.")
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(usable_cores())
    for of in (each for each in SETS if each.name in arguments.sets):
        source = source_of(of.name, root, arguments.out)
        suggested, seconds = range_test(source, of.side)
        print(f"{of.name}: the range test suggests {suggested:g}, in {seconds:.0f} s", flush=True)
        rates = {"rule": learning_rate("adamw", BATCH)[0], "range": suggested}
        for arm in arguments.arms:
            result = arguments.out / f"{of.name}-{arm}.json"
            everyclass(
                *["train", str(source), "--out", str(arguments.out / f"{of.name}-{arm}")],
                *["--overwrite", "--quiet", "--json", str(result), "--epochs", str(of.epochs)],
                *["--image-size", str(of.side), "--learning-rate", str(rates[arm])],
                "--no-pretrained",
            )
            score = json.loads(result.read_text())["balanced_accuracy"]
            print(f"{of.name}: {arm:5} rate {rates[arm]:g}: balanced accuracy {score:.3f}")


if __name__ == "__main__":
    main()
