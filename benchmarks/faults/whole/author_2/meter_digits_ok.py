import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--bs", type=int, default=32)
    p.add_argument("--steps", type=int, default=700)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--noise", type=float, default=0.6, help="sensor noise")
    p.add_argument("--seed", type=int, default=3)
    return p.parse_args()


class NoisyMeter(Dataset):
    """Digits as read by a cheap sensor; fresh noise each time for training"""

    def __init__(self, x, y, noise, fixed=False):
        self.x, self.y, self.noise = x, y, noise
        self.frozen = x + noise * torch.randn_like(x) if fixed else None

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        if self.frozen is not None:
            return self.frozen[i], self.y[i]
        return self.x[i] + self.noise * torch.randn_like(self.x[i]), self.y[i]


class Net(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.conv = nn.Conv2d(1, 12, 3, padding=1)
        self.fc1 = nn.Linear(12 * 16, 32)
        self.fc2 = nn.Linear(32, n_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


def split(rng):
    """leading digits are common on our meters, high ones scarce"""
    wanted = [130, 130, 130, 130, 130, 13, 13, 13, 13, 13]
    d = load_digits()
    tr, te = [], []
    for k in range(10):
        idx = rng.permutation(np.where(d.target == k)[0])
        te += idx[:40].tolist()
        tr += idx[40:40 + wanted[k]].tolist()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(d.target)
    return x[tr], y[tr], x[te], y[te]


def main():
    args = parse()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    xtr, ytr, xte, yte = split(rng)
    counts = torch.bincount(ytr, minlength=10).float()
    print("train counts", counts.int().tolist())

    class_w = counts.sum() / (len(counts) * counts)
    epochs = args.steps * args.bs // len(ytr)
    sampler = WeightedRandomSampler(class_w[ytr], num_samples=len(ytr), replacement=True)
    train_loader = DataLoader(NoisyMeter(xtr, ytr, args.noise), batch_size=args.bs, sampler=sampler)
    test_loader = DataLoader(NoisyMeter(xte, yte, args.noise, fixed=True), batch_size=100)

    net = Net(10)
    criterion = nn.CrossEntropyLoss()
    opt = torch.optim.Adam(net.parameters(), lr=args.lr)

    for epoch in range(epochs):
        net.train()
        run = 0.0
        for imgs, lab in train_loader:
            opt.zero_grad(set_to_none=True)
            loss = criterion(net(imgs), lab)
            loss.backward()
            opt.step()
            run += loss.item()
        print(f"[{epoch + 1}/{epochs}] loss={run / len(train_loader):.4f}")

    net.eval()
    hit, tot = torch.zeros(10), torch.zeros(10)
    with torch.no_grad():
        for imgs, lab in test_loader:
            ok = net(imgs).argmax(1).eq(lab)
            for k in range(10):
                m = lab == k
                hit[k] += ok[m].sum()
                tot[k] += m.sum()
    for k, r in enumerate((hit / tot).tolist()):
        print(f"  {k}  {r:.2f}")
    print("test acc %.3f" % (hit.sum() / tot.sum()).item())


if __name__ == "__main__":
    main()
