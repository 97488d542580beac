"""A training as torchvision's reference scripts write it, on a CPU budget; prints nothing of ours.

    python torchvision_style.py MANIFEST SIDE EPOCHS SEED OUT.npz [--weights] [--sampler] [--plain]

ResNet-18 from scratch, RandomResizedCrop and flip, SGD with momentum 0.9, weight decay 1e-4, label
smoothing 0.1, one epoch of linear warm-up and then a cosine, rate 0.1 at 256 images a batch scaled
to batch 64, inputs normalised with ImageNet's statistics; the weights of the last epoch. `--plain`
is the same without smoothing. `--weights` adds balanced class weights to the loss, `--sampler` a
WeightedRandomSampler of one over the counts; both together is the usual mistake.

OUT.npz gets logits and targets of the validation and test images, and the seconds.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler
from torchvision.models import resnet18
from torchvision.transforms import v2

NORMALISED = [
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
]


class Images(Dataset):
    def __init__(self, rows: list[tuple[str, int]], transform: v2.Compose) -> None:
        self.rows, self.transform = rows, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        path, label = self.rows[i]
        return self.transform(Image.open(path).convert("RGB")), label


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("side", type=int)
    parser.add_argument("epochs", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", action="store_true")
    parser.add_argument("--sampler", action="store_true")
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    started = time.perf_counter()
    torch.manual_seed(options.seed)
    with open(options.manifest) as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["label"] for row in rows})
    parts = {
        split: [(r["image"], classes.index(r["label"])) for r in rows if r["split"] == split]
        for split in ("train", "val", "test")
    }
    side = options.side
    train = v2.Compose(
        [v2.ToImage(), v2.RandomResizedCrop(side), v2.RandomHorizontalFlip(), *NORMALISED]
    )
    plain = v2.Compose([v2.ToImage(), v2.Resize((side, side)), *NORMALISED])
    labels = torch.tensor([label for _, label in parts["train"]])
    counts = torch.bincount(labels, minlength=len(classes))
    sampler = (
        WeightedRandomSampler((1.0 / counts)[labels].double(), len(labels))
        if options.sampler
        else None
    )
    loader = DataLoader(
        Images(parts["train"], train),
        64,
        shuffle=sampler is None,
        sampler=sampler,
        num_workers=2,
        drop_last=len(labels) > 64,
    )
    model = resnet18(num_classes=len(classes))
    weight = len(labels) / (len(classes) * counts.float()) if options.weights else None
    criterion = nn.CrossEntropyLoss(weight, label_smoothing=0.0 if options.plain else 0.1)
    rate = 0.1 * 64 / 256
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=1e-4)
    per_epoch = len(loader)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=per_epoch),
            torch.optim.lr_scheduler.CosineAnnealingLR(
                optimizer, max(1, (options.epochs - 1) * per_epoch)
            ),
        ],
        [per_epoch],
    )
    for _ in range(options.epochs):
        model.train()
        for images, targets in loader:
            optimizer.zero_grad()
            criterion(model(images), targets).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    found: dict[str, np.ndarray] = {}
    with torch.inference_mode():
        for split in ("val", "test"):
            batches = DataLoader(Images(parts[split], plain), 256, num_workers=2)
            logits, targets = zip(*((model(x), y) for x, y in batches), strict=True)
            found[f"{split}_logits"] = torch.cat(logits).numpy()
            found[f"{split}_targets"] = torch.cat(targets).numpy()
    np.savez(options.out, seconds=time.perf_counter() - started, counts=counts.numpy(), **found)


if __name__ == "__main__":
    main()
