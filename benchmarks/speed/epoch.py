"""Seconds an epoch: everyclass beside a plain torchvision loop, same files, model and cores.

    python benchmarks/speed/epoch.py FOLDER [--side 64] [--epochs 3] [--repeats 3]

FOLDER holds a folder a class. Both train a ResNet-18 from scratch on all images of the folder with
batch 32, AdamW, random crops and flips, float32, all cores. The peer is what people write:
ImageFolder, transforms v2 (Resize with antialias, RandomResizedCrop, flip, ToDtype, Normalize), a
shuffling DataLoader with one worker a core, `zero_grad; loss.backward(); step()`. Ours is
`training_batches` and `steps` as `everyclass train` drives them, decoding included: its first epoch
fills the store of resized images, the later ones read it; both are shown.

Runs are interleaved; medians, and the ratio of the medians. A first short epoch of each warms up.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from everyclass.images.readers import read_table
from everyclass.images.store import ImageStore
from everyclass.imbalance.sampling import epoch_order
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.training.batches import steps_per_epoch, training_batches
from everyclass.training.optim import build_optimizer
from everyclass.training.steps import steps
from everyclass.workflows.cores import usable_cores
from everyclass.workflows.inference import make_fabric

BATCH = 32
MEAN, STD = (0.67, 0.64, 0.60), (0.20, 0.20, 0.22)


def network(n_classes: int) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("resnet18", num_classes=n_classes)


def peer_epochs(folder: Path, side: int, epochs: int, workers: int) -> list[float]:
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((side, side), antialias=True),
            v2.RandomResizedCrop(side, scale=(0.56, 1.0), ratio=(1.0, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    images = ImageFolder(str(folder), transform=transform)
    loader = DataLoader(
        images, batch_size=BATCH, shuffle=True, num_workers=workers, persistent_workers=True
    )
    model = network(len(images.classes)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    seconds = []
    for _ in range(epochs):
        started = time.perf_counter()
        for inputs, targets in loader:
            loss = functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - started)
    return seconds


def our_epochs(folder: Path, side: int, epochs: int, threads: int) -> list[float]:
    table = read_table(str(folder))
    labels = table.labels()
    cache = Path(tempfile.mkdtemp())
    fabric = make_fabric(device="cpu", precision="fp32")
    classifier = Classifier(
        network(len(table.classes)), Preprocessing(side=side, mean=MEAN, std=STD)
    ).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(
        "adamw", classifier, learning_rate=1e-3, momentum=0.9, weight_decay=0.01
    )
    model, wrapped = fabric.setup(classifier, optimizer)
    per_epoch = steps_per_epoch(len(table), BATCH)
    seconds = []
    with ImageStore(table, side=side, threads=threads, folder=cache) as store:
        stream = steps(
            model,
            wrapped,
            training_batches(
                store.gather,
                labels,
                lambda epoch: epoch_order(labels, power=1.0, seed=0, epoch=epoch),
                n_images=len(table),
                batch_size=BATCH,
                first_step=0,
                n_steps=per_epoch * epochs,
            ),
            functional.cross_entropy,
            fabric=fabric,
            rate=lambda _: 1e-3,
            seed=0,
            augmentation=("crop", "flip"),
        )
        started = time.perf_counter()
        for result in stream:
            if (result.batch.step + 1) % per_epoch == 0:
                seconds.append(time.perf_counter() - started)
                started = time.perf_counter()
    shutil.rmtree(cache)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    threads = usable_cores()
    torch.set_num_threads(threads)
    n = sum(1 for path in arguments.folder.rglob("*") if path.is_file())
    ours_first, ours_later, peer = [], [], []
    for repeat in range(arguments.repeats):
        ours = our_epochs(arguments.folder, arguments.side, arguments.epochs, threads)
        theirs = peer_epochs(arguments.folder, arguments.side, arguments.epochs, threads)
        ours_first.append(ours[0])
        ours_later.extend(ours[1:])
        peer.extend(theirs)
        print(f"repeat {repeat}: ours {np.round(ours, 1)}, torchvision {np.round(theirs, 1)} s")
    base = statistics.median(peer)
    print(f"{n:,} images at {arguments.side} px, ResNet-18, batch {BATCH}, {threads} threads")
    for name, values in (
        ("torchvision loop", peer),
        ("everyclass, first epoch", ours_first),
        ("everyclass, later epochs", ours_later),
    ):
        middle = statistics.median(values)
        spread = f"({min(values):.1f} to {max(values):.1f}, n = {len(values)})"
        pace = f"{n / middle:6.0f} images/s  {base / middle:.2f}x"
        print(f"{name:26} {middle:6.1f} s  {spread}  {pace}")


if __name__ == "__main__":
    main()
