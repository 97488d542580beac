"""ResNet-18 (random init) on small blood-cell crops, torchvision only."""
import os
import argparse
import torch
import torch.nn as nn
from torchvision import models, transforms
from torchvision.datasets.folder import default_loader
from torch.utils.data import DataLoader


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--root", default=os.path.join(os.environ.get("DATA", "data"), "pbc_128"))
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--bs", type=int, default=32)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--size", type=int, default=32)
    return p.parse_args()


def build(root, size, a, b):
    names = sorted(n for n in os.listdir(root) if n not in ("ig", "monocyte"))
    t = transforms.Compose([
        transforms.Resize((size, size)),
        transforms.ToTensor(),
        transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ])
    data = []
    for y, n in enumerate(names):
        for f in sorted(os.listdir(os.path.join(root, n)))[a:b]:
            data.append((t(default_loader(os.path.join(root, n, f))), y))
    return data, names


def make_model(n):
    m = models.resnet18(weights=None)
    # small pictures: no aggressive stem
    m.conv1 = nn.Conv2d(3, 64, 3, 2, 1, bias=False)
    m.maxpool = nn.Identity()
    m.layer3 = nn.Identity()
    m.layer4 = nn.Identity()
    m.fc = nn.Linear(128, n)
    return m


def train_one(model, loader, opt, crit):
    model.train()
    s, c, n = 0.0, 0, 0
    for x, y in loader:
        opt.zero_grad()
        out = model(x)
        loss = crit(out, y)
        loss.backward()
        opt.step()
        s += loss.item() * len(y)
        c += (out.argmax(1) == y).sum().item()
        n += len(y)
    return s / n, c / n


def evaluate(model, loader, k):
    model.eval()
    hit = torch.zeros(k)
    tot = torch.zeros(k)
    with torch.no_grad():
        for x, y in loader:
            p = model(x).argmax(1)
            hit += torch.bincount(y[p == y], minlength=k)
            tot += torch.bincount(y, minlength=k)
    return hit / tot


def main():
    a = parse()
    torch.manual_seed(0)
    train, names = build(a.root, a.size, 0, 200)
    val, _ = build(a.root, a.size, 200, 264)
    tl = DataLoader(train, batch_size=a.bs, shuffle=True, drop_last=True)
    vl = DataLoader(val, batch_size=a.bs, shuffle=False)
    model = make_model(len(names))
    opt = torch.optim.Adam(model.parameters(), lr=a.lr)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, a.epochs)
    crit = nn.CrossEntropyLoss()
    for e in range(a.epochs):
        tr_loss, tr_acc = train_one(model, tl, opt, crit)
        sched.step()
        rec = evaluate(model, vl, len(names))
        print(f"epoch {e + 1}/{a.epochs} train loss {tr_loss:.3f} acc {tr_acc:.3f} | val acc {rec.mean():.3f}")
    for n, r in zip(names, rec.tolist()):
        print(f"{n}: {r:.3f}")


if __name__ == "__main__":
    main()
