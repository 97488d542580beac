"""Binary screening: segmented granulocytes (neutrophil, eosinophil) against mononuclear cells."""
import os
import logging
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn as nn
from PIL import Image
from torch.utils.data import Dataset, DataLoader
from torchvision.transforms import functional as TF

logging.basicConfig(level=logging.INFO, format="%(message)s")
log = logging.getLogger("screen")


@dataclass
class Args:
    root: Path = Path(os.environ.get("DATA", "data")) / "pbc_128"
    size: int = 32
    per_folder: int = 400
    batch: int = 32
    epochs: int = 8
    lr: float = 1e-3
    gamma: float = 1.0
    alpha: float = 0.5


GROUPS = {"neutrophil": 1, "eosinophil": 1, "lymphocyte": 0, "monocyte": 0}


class Screening(Dataset):
    def __init__(self, args, part):
        self.x, self.y = [], []
        for folder, g in GROUPS.items():
            files = sorted((args.root / folder).glob("*.jpg"))[: args.per_folder]
            files = [f for i, f in enumerate(files) if (i % 5 == 0) == (part == "val")]
            for f in files:
                img = Image.open(f).convert("RGB").resize((args.size, args.size))
                self.x.append(TF.normalize(TF.to_tensor(img), [0.8, 0.7, 0.75], [0.2, 0.25, 0.2]))
                self.y.append(float(g))

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], torch.tensor(self.y[i])


class FocalLoss(nn.Module):
    def __init__(self, alpha=0.5, gamma=1.0):
        super().__init__()
        self.alpha, self.gamma = alpha, gamma

    def forward(self, logits, targets):
        p = torch.sigmoid(logits).clamp(1e-6, 1 - 1e-6)
        pos = -self.alpha * (1 - p) ** self.gamma * targets * torch.log(p)
        neg = -(1 - self.alpha) * p ** self.gamma * (1 - targets) * torch.log(1 - p)
        return (pos + neg).mean()


def make_model():
    def cbr(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(o), nn.SiLU())
    return nn.Sequential(cbr(3, 24), cbr(24, 48), cbr(48, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))


def train_one(model, loader, loss_fn, opt):
    model.train()
    seen = 0.0
    for x, y in loader:
        logits = model(x)
        loss = loss_fn(logits, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        seen += loss.item()
    return seen / len(loader)


@torch.inference_mode()
def validate(model, loader):
    model.eval()
    p = torch.cat([torch.sigmoid(model(x)).flatten() for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    pred = (p > 0.5).float()
    sens = (pred[y == 1] == 1).float().mean().item()
    spec = (pred[y == 0] == 0).float().mean().item()
    return sens, spec, p.std().item()


def main():
    args = Args()
    torch.manual_seed(17)
    tr = DataLoader(Screening(args, "train"), batch_size=args.batch, shuffle=True)
    va = DataLoader(Screening(args, "val"), batch_size=64)
    model = make_model()
    loss_fn = FocalLoss(args.alpha, args.gamma)
    opt = torch.optim.RMSprop(model.parameters(), lr=args.lr)
    for ep in range(args.epochs):
        l = train_one(model, tr, loss_fn, opt)
        sens, spec, sd = validate(model, va)
        log.info("ep %d loss %.4f sensitivity %.3f specificity %.3f (std of p %.3f)", ep, l, sens, spec, sd)
    log.info("balanced accuracy %.3f", (sens + spec) / 2)


if __name__ == "__main__":
    main()
