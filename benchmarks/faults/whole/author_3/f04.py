"""Handwritten digits, VGG style blocks. Trainer class so I can reuse it for the other homework."""
import argparse
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split
from sklearn.datasets import load_digits


def conv_block(cin, cout):
    return nn.Sequential(
        nn.Conv2d(cin, cout, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(cout, cout, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )


class SmallVGG(nn.Module):
    def __init__(self, n_classes=10):
        super().__init__()
        self.features = nn.Sequential(conv_block(1, 16), conv_block(16, 32))
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(32 * 2 * 2, 64), nn.ReLU(), nn.Linear(64, n_classes))

    def forward(self, x):
        return self.head(self.features(x))


class Trainer:
    def __init__(self, model, train_loader, val_loader, lr, momentum):
        self.model = model
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.loss_fn = nn.CrossEntropyLoss()
        self.opt = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
        self.history = {"train_loss": [], "val_acc": []}

    def train_epoch(self):
        self.model.train()
        losses = []
        self.opt.zero_grad()
        for images, labels in self.train_loader:
            logits = self.model(images)
            loss = self.loss_fn(logits, labels)
            loss.backward()
            self.opt.step()
            losses.append(loss.item())
        return float(np.mean(losses))

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        hit = torch.zeros(10)
        cnt = torch.zeros(10)
        for images, labels in self.val_loader:
            pred = self.model(images).argmax(dim=1)
            for c in range(10):
                mask = labels == c
                cnt[c] += mask.sum()
                hit[c] += (pred[mask] == c).sum()
        return hit / cnt.clamp(min=1)

    def fit(self, epochs):
        for ep in range(1, epochs + 1):
            tl = self.train_epoch()
            rec = self.validate()
            self.history["train_loss"].append(tl)
            self.history["val_acc"].append(rec.mean().item())
            print(f"[{ep}/{epochs}] train loss {tl:.4f} | val balanced acc {rec.mean():.4f}")
        return rec


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=12)
    ap.add_argument("--batch-size", type=int, default=48)
    ap.add_argument("--lr", type=float, default=0.03)
    ap.add_argument("--momentum", type=float, default=0.9)
    ap.add_argument("--seed", type=int, default=7)
    args = ap.parse_args()

    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)

    data = load_digits()
    imgs = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1)
    imgs = (imgs / 16.0 - 0.3) / 0.38
    ds = TensorDataset(imgs, torch.tensor(data.target))
    n_val = 400
    train_set, val_set = random_split(ds, [len(ds) - n_val, n_val])
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=200)

    trainer = Trainer(SmallVGG(), train_loader, val_loader, args.lr, args.momentum)
    rec = trainer.fit(args.epochs)
    print("per-class recall:", [round(r, 3) for r in rec.tolist()])


if __name__ == "__main__":
    main()
