#!/usr/bin/env python
"""Blood cell types, small AlexNet-like net."""
import os
from types import SimpleNamespace

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, random_split
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

args = SimpleNamespace(
    data=os.path.join(os.environ.get("DATA", "data"), "pbc_128"),
    size=32, batch=32, epochs=18, lr=0.01, momentum=0.9, seed=99, per_class=240,
)
torch.manual_seed(args.seed)

transform = v2.Compose([
    v2.ToImage(),
    v2.Resize((args.size, args.size), antialias=True),
    v2.ToDtype(torch.float32, scale=True),
])


class Cells(ImageFolder):
    def find_classes(self, directory):
        names, _ = super().find_classes(directory)
        names = [n for n in names if n != "ig"]   # not one cell type
        return names, {n: i for i, n in enumerate(names)}


def build_sets():
    ds = Cells(args.data)
    per = {}
    items = []
    for i in torch.randperm(len(ds)).tolist():
        path, t = ds.samples[i]
        if per.get(t, 0) < args.per_class:
            per[t] = per.get(t, 0) + 1
            items.append((transform(ds.loader(path)).as_subclass(torch.Tensor), t))
    n = int(len(items) * 0.8)
    a, b = random_split(items, [n, len(items) - n])
    return a, b, ds.classes


class MiniAlex(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 96, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(96 * 16, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, k))

    def forward(self, x):
        return self.classifier(self.features(x))


def main():
    train_set, val_set, classes = build_sets()
    train_loader = DataLoader(train_set, batch_size=args.batch, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=128)
    net = MiniAlex(len(classes))
    opt = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=args.momentum)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, args.epochs)
    loss_fn = nn.CrossEntropyLoss()
    step = 0
    for epoch in range(args.epochs):
        net.train()
        for x, y in train_loader:
            opt.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            opt.step()
            step += 1
            if step % 50 == 0:
                print(f"epoch {epoch} step {step} loss {loss.item():.4f}")
        sched.step()

    net.eval()
    conf = torch.zeros(len(classes), len(classes), dtype=torch.long)
    with torch.no_grad():
        for x, y in val_loader:
            for t, p in zip(y, net(x).argmax(1)):
                conf[t, p] += 1
    print(conf)
    rec = conf.diag() / conf.sum(1).clamp(min=1)
    for c, r in zip(classes, rec):
        print(f"  {c:<14}{r:.3f}")
    print(f"accuracy {conf.diag().sum() / conf.sum():.4f}")


if __name__ == "__main__":
    main()
