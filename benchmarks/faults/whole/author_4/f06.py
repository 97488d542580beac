import argparse

import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import Dataset, DataLoader, random_split
from sklearn.datasets import load_digits


def get_args():
    p = argparse.ArgumentParser("digits classifier")
    p.add_argument("--epochs", type=int, default=14)
    p.add_argument("--bs", type=int, default=64)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--hidden", type=int, default=64)
    p.add_argument("--layers", type=int, default=3)
    p.add_argument("--dropout", type=float, default=0.9)
    p.add_argument("--seed", type=int, default=0)
    return p.parse_args()


class Digits(Dataset):
    def __init__(self):
        d = load_digits()
        self.images = d.images.astype(np.float32)
        self.targets = d.target.astype(np.int64)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        img = torch.from_numpy(self.images[i])[None]
        img = (img - 4.88) / 6.02
        return img, int(self.targets[i])


class Net(nn.Module):
    def __init__(self, hidden, layers, dropout):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Dropout2d(dropout),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(dropout),
        )
        dims = [32 * 4 * 4] + [hidden] * layers
        fc = []
        for a, b in zip(dims[:-1], dims[1:]):
            fc += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
        self.mlp = nn.Sequential(*fc)
        self.out = nn.Linear(hidden, 10)

    def forward(self, x):
        x = self.conv(x)
        return self.out(self.mlp(x.flatten(1)))


def run_epoch(model, loader, loss_fn, optimizer=None):
    training = optimizer is not None
    model.train(training)
    total, correct, loss_sum = 0, 0, 0.0
    with torch.set_grad_enabled(training):
        for images, labels in loader:
            logits = model(images)
            loss = loss_fn(logits, labels)
            if training:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total += labels.numel()
            correct += (logits.argmax(-1) == labels).sum().item()
            loss_sum += loss.item() * labels.numel()
    return loss_sum / total, correct / total


def per_class(model, loader):
    model.eval()
    hit, cnt = np.zeros(10), np.zeros(10)
    with torch.no_grad():
        for images, labels in loader:
            pred = model(images).argmax(1)
            for t, p in zip(labels.tolist(), pred.tolist()):
                cnt[t] += 1
                hit[t] += t == p
    return hit / cnt


def main():
    args = get_args()
    torch.manual_seed(args.seed)
    ds = Digits()
    n_val = int(0.2 * len(ds))
    train_ds, val_ds = random_split(ds, [len(ds) - n_val, n_val])
    train_loader = DataLoader(train_ds, batch_size=args.bs, shuffle=True)
    val_loader = DataLoader(val_ds, batch_size=200)

    model = Net(args.hidden, args.layers, args.dropout)
    print(model)
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    loss_fn = nn.CrossEntropyLoss()
    best = 0
    for ep in range(args.epochs):
        tl, ta = run_epoch(model, train_loader, loss_fn, optimizer)
        vl, va = run_epoch(model, val_loader, loss_fn)
        best = max(best, va)
        print(f"[{ep + 1}/{args.epochs}] train {tl:.3f}/{ta:.3f}  val {vl:.3f}/{va:.3f}")
    rec = per_class(model, val_loader)
    print("recall per digit:", np.round(rec, 3))
    print("balanced acc: %.3f  best val acc: %.3f" % (rec.mean(), best))


if __name__ == "__main__":
    main()
