"""Seconds an epoch: everyclass beside what people write, and beside the limit of the machine.

    python benchmarks/speed/epoch.py FOLDER                              # ResNet-18, 64 px
    python benchmarks/speed/epoch.py FOLDER --network tutorial --side 256
    python benchmarks/speed/epoch.py FOLDER --enlarge --side 128         # 1024x768 JPEGs
    ... --peer-python peer/bin/python        # these too, from: python3 -m venv peer &&
                                             # peer/bin/pip install fastai ultralytics

FOLDER holds a folder a class; `--images` of them are used, from all classes alike. Everybody trains
the same architecture from scratch on the same files, batch size and cores. What an image costs:

- everyclass: `training_batches` and `steps` as `everyclass train` drives them, in the way it
  chooses by measuring. First epoch: decoding (JPEGs much larger than the side at a fraction of
  their size), resizing, a checksum and a write to the store; later epochs: a copy from the store.
  Crop and flip for the batch at once, in one resampling; the normalisation is in the model.
- compute only: the network, loss and optimizer on one constant batch, in the same way. No image.
- torchvision loop: PIL decoding, Resize with antialias, RandomResizedCrop (a second resampling),
  flip, ToDtype, Normalize in every epoch, in a worker a core; AdamW, float32, contiguous.
- tutorial's loop (with its network): read_image, Resize, ConvertImageDtype, Normalize in every
  epoch, no augmentation (ours has none then either), in the process that trains; SGD 0.001,
  batch 10.
- timm: its data set, transforms (crop with interpolation, flip, normalise per image) and loader, a
  worker a core, in a loop like that of torchvision.
- Lightning: torchvision's images in Lightning's Trainer with a plain module; no logger, no
  checkpoint, no progress bar.
- Ultralytics: classify from a YAML, torchvision's ResNet-18 under its own head; crop and flip in a
  worker a core, a moving average of the weights each step; RandAugment and erasing off.
- fastai: PIL decoding and Resize in a worker a core; crop and flip by batch on the CPU; Learner
  with its Adam and one-cycle, validation on 0.2 % of the images (outside the clock). torchvision's
  ResNet-18 instead of timm's.

Each loop runs in a process of its own, interleaved; threads wait passively for everybody
(OMP_WAIT_POLICY), as our command line sets it and as is best for peers with workers on the same
cores. Medians over repeats, and ratios of medians, of seconds by the clock and of processor seconds
(the loop, its threads and workers): where other programs use the same cores, the second is the
figure that repeats. The first epoch of a peer warms up and is not counted; ours is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from everyclass.workflows.cores import usable_cores

LOOPS = Path(__file__).with_name("loops.py")
LARGE = (1024, 768)


def subset(source: Path, target: Path, *, images: int, enlarge: bool) -> int:
    """The same number of files of each class, linked or enlarged to 1024x768; how many."""
    classes = sorted(path for path in source.iterdir() if path.is_dir())
    n = 0
    for folder in classes:
        (target / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[: images // len(classes)]:
            own = target / folder.name / path.name
            if enlarge:
                with Image.open(path) as image:
                    image.convert("RGB").resize(LARGE, Image.Resampling.BICUBIC).save(
                        own.with_suffix(".jpg"), quality=90
                    )
            else:
                own.symlink_to(path.resolve())
            n += 1
    return n


def run(name: str, folder: Path, task: dict[str, Any], python: str = sys.executable) -> Any:
    done = subprocess.run(
        [python, str(LOOPS), name, str(folder), json.dumps(task)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", default="resnet18", help="a timm name, or tutorial")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--images", type=int, default=960)
    parser.add_argument("--enlarge", action="store_true", help="train from 1024x768 JPEGs")
    parser.add_argument("--epochs", type=int, default=2, help="of each run, at least 2")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-python", help="of an environment with fastai and ultralytics")
    arguments = parser.parse_args()
    tutorial = arguments.network == "tutorial"
    task: dict[str, Any] = {
        "side": arguments.side,
        "network": arguments.network,
        "batch": 10 if tutorial else 32,
        "epochs": arguments.epochs,
        "cores": usable_cores(),
        "way": {},
    }
    contenders = {
        "everyclass": sys.executable,
        "compute only": sys.executable,
        "tutorial's loop" if tutorial else "torchvision loop": sys.executable,
    }
    if not tutorial:
        contenders |= {"timm": sys.executable, "Lightning": sys.executable}
        if arguments.peer_python:
            contenders |= dict.fromkeys(("fastai", "Ultralytics"), arguments.peer_python)
    seconds: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "images"
        n = subset(arguments.folder, folder, images=arguments.images, enlarge=arguments.enlarge)
        task["way"] = run("way", folder, task)
        for sentence in task["way"]["why"]:
            print(sentence)
        for repeat in range(arguments.repeats):
            for name, python in contenders.items():
                found = run(name, folder, task, python)
                if name == "everyclass":
                    seconds.setdefault("everyclass, first epoch", []).append(found[0])
                    name = "everyclass, later epochs"
                seconds.setdefault(name, []).extend(found[1:])
                print(f"repeat {repeat}: {name}", np.round(found, 2).tolist(), flush=True)
    report(seconds, n, task)


def report(seconds: dict[str, list[list[float]]], n: int, task: dict[str, Any]) -> None:
    print(
        f"{n:,} images at {task['side']} px, {task['network']}, batch {task['batch']}, "
        f"{task['cores']} cores, load {os.getloadavg()[0]:.1f}"
    )
    ours = np.median(seconds["everyclass, later epochs"], axis=0)
    for name, values in seconds.items():
        middle = np.median(values, axis=0)
        low, high = np.min(values, axis=0), np.max(values, axis=0)
        clock, busy = middle / ours
        print(
            f"{name:25} {middle[0]:6.2f} s ({low[0]:.1f} to {high[0]:.1f}, n = {len(values)}), "
            f"{n / middle[0]:,.0f} images/s, {clock:.2f} x ours; processors {middle[1]:.2f} s "
            f"({low[1]:.1f} to {high[1]:.1f}), {busy:.2f} x ours"
        )


if __name__ == "__main__":
    main()
