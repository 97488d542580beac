"""CIFAR-10-LT by the literature's protocol: ResNet-32, and what we would do with 200 epochs.

    EVERYCLASS_DATA=FOLDER python benchmarks/quality/cifar10_lt.py --out OUT
        [--epochs 200] [--ratio 100] [--arms ce balanced-softmax two-stage ours] [--seeds 0 1 2]
    python benchmarks/quality/cifar10_lt.py --out OUT --report

The protocol (Cao et al. 2019; the gallery of BagofTricks-LT): 12,406 images at ratio 100, batches
of 128, SGD at 0.1 with momentum 0.9 and weight decay 2e-4, 5 epochs of linear warm-up, the rate x
0.01 at epochs 160 and 180 (of fewer epochs: at the same shares), crops out of images padded by 4,
and mirrored. Judged on the 10,000 test images by the last epoch, no choice made on them. Published
at 200 epochs: cross-entropy 70 to 72, balanced softmax 77.5, two stages 82.5, with strong
augmentation 84.9. Images are JPEGs here: expect a small offset.

- ce: plain cross-entropy. balanced-softmax: ln of the class frequencies added in the loss.
- two-stage: cross-entropy with mixup, then the head re-trained on class-balanced batches.
- ours: balanced softmax, AutoAugment's policy for CIFAR and a square cut out of each image, a
  cosine with Nesterov, weight decay 5e-4, and the moving average of the weights (0.999, its
  statistics measured anew).

Takes a GPU minutes and a CPU a night: `--epochs 20` is a comparison of the arms with each other,
not with what is published. A finished arm is a line of OUT/cifar10_lt.jsonl and is not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).parent))
from main_road import CIFAR_CLASSES, shuffled

import everyclass
from everyclass.imbalance.heads import retrain_head
from everyclass.imbalance.mixing import mixup

ARMS = ("ce", "balanced-softmax", "two-stage", "ours")
BATCH, PADDING, CUT = 128, 4, 16
PARTS = 16  # of a batch, each of which AutoAugment draws for: torchvision draws once a call
EMA_DECAY = 0.999


@dataclass(frozen=True)
class Data:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64, on the device."""

    images: Tensor
    labels: Tensor


def main() -> None:
    options = parsed()
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "cifar10_lt.jsonl"
    rows = [json.loads(one) for one in results.read_text().splitlines()] if results.exists() else []
    if not options.report:
        device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        train, test = read(options.data_root, options.ratio, device)
        for seed in options.seeds:
            for arm in options.arms:
                key = f"{arm} ratio={options.ratio:g} epochs={options.epochs} seed={seed}"
                if any(row["key"] == key for row in rows):
                    continue
                row = {"key": key, "arm": arm, "ratio": options.ratio, "epochs": options.epochs}
                rows.append(row | run(arm, train, test, seed=seed, epochs=options.epochs))
                with results.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                told = rows[-1]
                print(
                    f"{key}: accuracy {told['accuracy']:.4f}, lowest recall "
                    f"{min(told['recalls']):.3f}, {told['seconds']:.0f} s on {device}",
                    flush=True,
                )
    print(report(rows))


def read(root: Path, ratio: float, device: str) -> tuple[Data, Data]:
    parts = []
    for split in ("train", "test"):
        images, labels = [], []
        for c, name in enumerate(CIFAR_CLASSES):
            files = shuffled(root / "cifar10" / split / name)
            kept = int(5000 * ratio ** (-c / 9)) if split == "train" else len(files)
            for path in files[:kept]:
                images.append(np.asarray(Image.open(path).convert("RGB")))
                labels.append(c)
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        parts.append(Data(pixels.to(device), torch.tensor(labels, device=device)))
    return parts[0], parts[1]


# -- the network -----------------------------------------------------------------------------------


class Block(nn.Module):
    """Two 3x3 convolutions; where the size changes, the shortcut drops and pads (option A)."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.added = width - width_in
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.added or self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *[self.added // 2] * 2))
        return F.relu(out + x)


def resnet32(n_classes: int = 10) -> nn.Sequential:
    """The features, then the head as the last layer."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    width_in = 16
    for width in (16, 32, 64):
        for k in range(5):
            layers.append(Block(width_in, width, 2 if k == 0 and width > 16 else 1))
            width_in = width
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, n_classes))
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
    return net


# -- one training ----------------------------------------------------------------------------------


def run(arm: str, train: Data, test: Data, *, seed: int, epochs: int) -> dict[str, object]:
    torch.manual_seed(seed)
    started = time.perf_counter()
    device = train.images.device
    drawn = torch.Generator().manual_seed(seed)
    counts = torch.bincount(train.labels.cpu(), minlength=10)
    log_prior = everyclass.log_prior(counts).to(device)
    mean, deviation = figures(train.images)
    net = resnet32().to(device)
    ours = arm == "ours"
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.1, momentum=0.9, nesterov=ours, weight_decay=5e-4 if ours else 2e-4
    )
    averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY)) if ours else None
    rate = cosine if ours else stepped
    per_epoch = math.ceil(len(train.labels) / BATCH)
    for epoch in range(epochs):
        net.train()
        order = torch.randperm(len(train.labels), generator=drawn).to(device)
        for i, rows in enumerate(order.split(BATCH)):
            factor = rate((epoch + i / per_epoch) * 200 / epochs)
            for group in optimizer.param_groups:
                group["lr"] = 0.1 * factor
            images = varied(train.images[rows], drawn, strong=ours)
            inputs = (images.float() - mean) / deviation
            targets = train.labels[rows]
            if arm == "two-stage":
                mixed = mixup(inputs, targets, n_classes=10, generator=drawn)
                loss = F.cross_entropy(net(mixed.images), mixed.targets)
            elif arm == "ce":
                loss = F.cross_entropy(net(inputs), targets)
            else:
                loss = everyclass.logit_adjusted_cross_entropy(net(inputs), targets, log_prior)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if averaged is not None:
                averaged.update_parameters(net)
    best = net
    if averaged is not None:
        best = averaged.module
        measure_statistics(best, train, mean, deviation)
    if arm == "two-stage":
        best[-1].load_state_dict(head_anew(best, train, mean, deviation, seed))
    recalls = recalls_of(best, test, mean, deviation)
    return {
        "seed": seed,
        "accuracy": statistics.mean(recalls),  # the test set is even
        "recalls": recalls,
        "seconds": time.perf_counter() - started,
        "device": str(device),
    }


def stepped(epoch: float) -> float:
    """The factor at an epoch of 200: warm-up, then two steps."""
    return min(1.0, (epoch + 1) / 5) * 0.01 ** ((epoch >= 160) + (epoch >= 180))


def cosine(epoch: float) -> float:
    return min(1.0, (epoch + 1) / 5) * 0.5 * (1 + math.cos(math.pi * epoch / 200))


def figures(images: Tensor) -> tuple[Tensor, Tensor]:
    values = images.float()
    shape = (1, 3, 1, 1)
    return values.mean((0, 2, 3)).view(shape), values.std((0, 2, 3)).view(shape)


POLICY = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)


def varied(images: Tensor, drawn: torch.Generator, *, strong: bool) -> Tensor:
    """(B, 3, 32, 32) uint8: moved by up to 4 px, mirrored; and by the policy, with a square cut."""
    n, _, side, _ = images.shape
    padded = F.pad(images, [PADDING] * 4)
    moved = torch.randint(2 * PADDING + 1, (2, n), generator=drawn).to(images.device)
    along = torch.arange(side, device=images.device)
    rows, columns = (one[:, None] + along for one in moved)
    places = torch.arange(n, device=images.device)[:, None, None]
    images = padded.permute(0, 2, 3, 1)[places, rows[:, :, None], columns[:, None, :]]
    images = images.permute(0, 3, 1, 2)
    mirrored = (torch.rand(n, generator=drawn) < 0.5).to(images.device).view(-1, 1, 1, 1)
    images = torch.where(mirrored, images.flip(3), images)
    if not strong:
        return images
    images = torch.cat([POLICY(part) for part in images.contiguous().chunk(PARTS)])
    centre = torch.randint(side, (2, n), generator=drawn).to(images.device)
    inside = [
        ((along >= one[:, None] - CUT // 2) & (along < one[:, None] + CUT // 2)) for one in centre
    ]
    cut = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(cut, 128)


@torch.no_grad()
def measure_statistics(net: nn.Module, train: Data, mean: Tensor, deviation: Tensor) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over the batches
    net.train()
    for images in train.images.split(BATCH):
        net((images.float() - mean) / deviation)


@torch.no_grad()
def features_of(net: nn.Sequential, images: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    net.eval()
    return torch.cat([net[:-1]((one.float() - mean) / deviation) for one in images.split(500)])


def head_anew(
    net: nn.Sequential, train: Data, mean: Tensor, deviation: Tensor, seed: int
) -> dict[str, Tensor]:
    found = retrain_head(
        features_of(net, train.images, mean, deviation), train.labels, n_classes=10, seed=seed
    )
    return {"weight": found.weight, "bias": found.bias}


@torch.no_grad()
def recalls_of(net: nn.Sequential, test: Data, mean: Tensor, deviation: Tensor) -> list[float]:
    net.eval()
    parts = [(one.float() - mean) / deviation for one in test.images.split(500)]
    right = torch.cat([net(one).argmax(1) for one in parts]) == test.labels
    return [float(right[test.labels == c].float().mean()) for c in range(10)]


# -- what is printed -------------------------------------------------------------------------------


def report(rows: list[dict]) -> str:
    lines = [
        "| arm | ratio | epochs | seeds | accuracy, even classes | lowest recall | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for ratio, epochs, arm in dict.fromkeys((r["ratio"], r["epochs"], r["arm"]) for r in rows):
        own = [r for r in rows if (r["ratio"], r["epochs"], r["arm"]) == (ratio, epochs, arm)]
        figures_ = [r["accuracy"] for r in own]
        error = statistics.stdev(figures_) / len(own) ** 0.5 if len(own) > 1 else float("nan")
        lines.append(
            f"| {arm} | {ratio:g} | {epochs} | {len(own)} | {statistics.mean(figures_):.4f} ± "
            f"{error:.4f} | {statistics.mean(min(r['recalls']) for r in own):.3f} | "
            f"{statistics.mean(r['seconds'] for r in own):.0f} |"
        )
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--ratio", type=float, default=100)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--device", help="cpu, cuda or mps; by default a GPU where there is one")
    parser.add_argument("--data-root", type=Path, default=os.environ.get("EVERYCLASS_DATA"))
    parser.add_argument("--report", action="store_true", help="print only")
    return parser.parse_args()


if __name__ == "__main__":
    main()
