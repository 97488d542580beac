"""Images a second from files to classes: `everyclass predict` beside a plain torchvision loop.

    python benchmarks/speed/predict.py FOLDER [--models test_resnet resnet10t resnet18] [--side 64]

FOLDER holds a folder a class. Both use the same weights (random: the time does not depend on them)
and as many cores. What each does for an image:

- the plain loop: `PIL.Image.open`, `convert("RGB")`, transforms v2 `Resize((side, side),
  antialias=True)` of the PIL image, `ToImage`, `ToDtype(float32, scale=True)`, `Normalize`; of each
  64 a batch, one eager float32 call of the network under `inference_mode` with PyTorch's own number
  of threads, and `argmax`. It writes nothing.
- `everyclass predict` of a run that was trained in float32, and of one trained in bfloat16, which
  answers in it where the processor has units for it: reads, decodes (JPEGs where the side allows at
  a fraction of their size), resizes, calls the network, calibrates probabilities, takes both
  decisions and writes a CSV file with all of them. Listing the folder, loading the weights, folding
  batch normalisation and reading that CSV file are in its time; the plain loop gets its list and
  its network before the clock starts.

"plain, 2 workers" is the same loop behind a DataLoader with a worker a core. Runs alternate in one
process, the files are in the page cache, one warm-up of each stands apart. Processor
time depends less than the clock on what else runs on the machine. "Same class" counts the images
to which both give the same; where JPEGs are decoded at a fraction or resized twice
rounded, logits differ in the second digit, so random weights, whose logits are close, make it a
hard test.
"""

from __future__ import annotations

import argparse
import csv
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command sets it; both sides have it

import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from everyclass.images.readers import read_table
from everyclass.models.backbones import build_backbone
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.models.decision import Decision
from everyclass.models.file import SavedModel, save_model
from everyclass.settings import Precision
from everyclass.workflows.cores import usable_cores
from everyclass.workflows.machine import find_machine
from everyclass.workflows.predict import predict

BATCH = 64
MEAN, STD = (0.67, 0.64, 0.60), (0.20, 0.20, 0.22)


class Files(Dataset[torch.Tensor]):
    """What people write: open, convert, transform."""

    def __init__(self, paths: list[str], side: int) -> None:
        self.paths = paths
        self.transform = v2.Compose(
            [
                v2.Resize((side, side), antialias=True),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> torch.Tensor:
        image: torch.Tensor = self.transform(Image.open(self.paths[place]).convert("RGB"))
        return image


def plain(network: torch.nn.Module, paths: list[str], side: int, *, workers: int) -> list[int]:
    found: list[int] = []
    with torch.inference_mode():
        for batch in DataLoader(Files(paths, side), batch_size=BATCH, num_workers=workers):
            found += network(batch).argmax(dim=1).tolist()
    return found


def make_run(
    folder: Path, name: str, classes: tuple[str, ...], side: int, precision: Precision
) -> Classifier:
    """A run folder with a model that was never trained."""
    backbone = build_backbone(name, side=side, n_classes=len(classes), seed=0)
    classifier = Classifier(backbone.network, Preprocessing(side=side, mean=MEAN, std=STD)).eval()
    equal = (1 / len(classes),) * len(classes)
    folder.mkdir()
    (folder / "recipe.yaml").touch()  # what makes a folder a run
    save_model(
        folder,
        SavedModel(
            classifier=classifier,
            name=name,
            small_stem=backbone.small_stem,
            classes=classes,
            decision=Decision(logits_prior=equal, natural_prior=equal),
            precision=precision,
        ),
    )
    return classifier


def timed(contender) -> tuple[float, float, list]:
    """Seconds on the clock, seconds of all processors, and what it found."""
    started, used = time.perf_counter(), sum(os.times()[:4])
    found = contender()
    return time.perf_counter() - started, sum(os.times()[:4]) - used, found


def measure(arguments: argparse.Namespace, name: str, scratch: Path) -> None:
    table = read_table(str(arguments.folder))
    every = max(1, len(table) // arguments.images)
    paths = list(table.images)[::every][: arguments.images]
    listed = scratch / f"{name}.csv"
    listed.write_text("image\n" + "\n".join(paths) + "\n")
    side, run, half = arguments.side, scratch / name, scratch / f"{name}-bf16"
    classifier = make_run(run, name, table.classes, side, "fp32")
    make_run(half, name, table.classes, side, "bf16")

    def ours(run: Path) -> list[int]:
        out = run / "predicted.csv"
        predict(run, [str(listed)], out, on_progress=lambda done, total: None)
        with open(out, newline="", encoding="utf-8") as file:
            return [table.classes.index(row["prediction_natural"]) for row in csv.DictReader(file)]

    contenders = {
        "plain loop": lambda: plain(classifier.network, paths, side, workers=0),
        "plain, 2 workers": lambda: plain(classifier.network, paths, side, workers=usable_cores()),
        "everyclass predict": lambda: ours(run),
        **({"the same, bf16": lambda: ours(half)} if find_machine("cpu").bf16 else {}),
    }
    for contender in contenders.values():
        contender()
    seconds: dict[str, list[float]] = {one: [] for one in contenders}
    used: dict[str, list[float]] = {one: [] for one in contenders}
    classes: dict[str, list[int]] = {}
    for _ in range(arguments.repeats):
        for one, contender in contenders.items():
            spent, processors, found = timed(contender)
            seconds[one].append(spent)
            used[one].append(1e3 * processors / len(paths))
            classes[one] = found
    base = statistics.median(seconds["plain loop"])
    print(f"{name} at {side} px, {len(paths):,} images")
    for one, values in seconds.items():
        middle = statistics.median(values)
        processors = statistics.median(used[one])
        low, high = len(paths) / max(values), len(paths) / min(values)
        same = sum(a == b for a, b in zip(classes[one], classes["plain loop"]))
        print(
            f"  {one:20} {len(paths) / middle:7,.0f} images/s  ({low:,.0f} to {high:,.0f})  "
            f"{base / middle:5.2f} x   {processors:6.2f} ms of processor time each"
            f"   same class: {same}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=["test_resnet", "resnet10t", "resnet18"])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(
        f"{arguments.folder}, {usable_cores()} cores, load {os.getloadavg()[0]:.1f}, "
        f"n = {arguments.repeats}, torch {torch.__version__}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.models:
            measure(arguments, name, Path(scratch))


if __name__ == "__main__":
    main()
