# Robustness to annotation noise: 10 % of the training labels are replaced at random.
import argparse
import math
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

ap = argparse.ArgumentParser()
ap.add_argument("--noise", type=float, default=0.10)
ap.add_argument("--epochs", type=int, default=30)
ap.add_argument("--dim", type=int, default=32)
ap.add_argument("--seed", type=int, default=0)
args = ap.parse_args()
torch.manual_seed(args.seed)
rng = np.random.default_rng(args.seed)

d = load_digits()
xtr, xte, ytr, yte = train_test_split(d.images / 8.0 - 1.0, d.target, test_size=0.2, random_state=args.seed, stratify=d.target)
flip = rng.random(len(ytr)) < args.noise
ytr = np.where(flip, rng.integers(0, 10, len(ytr)), ytr)
xtr, xte = (torch.tensor(v, dtype=torch.float32).unsqueeze(1) for v in (xtr, xte))
ytr, yte = torch.tensor(ytr), torch.tensor(yte)


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.h = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.h, c // self.h).permute(2, 0, 3, 1, 4)
        a = (q @ k.transpose(-2, -1) / math.sqrt(c // self.h)).softmax(-1)
        return self.out((a @ v).transpose(1, 2).reshape(b, n, c))


class Layer(nn.Module):
    def __init__(self, dim, heads=4):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.n1(x))
        return x + self.mlp(self.n2(x))


class TinyViT(nn.Module):
    def __init__(self, dim, depth=3, classes=10):
        super().__init__()
        self.patch = nn.Conv2d(1, dim, 2, 2)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos = nn.Parameter(torch.randn(1, 17, dim) * 0.02)
        self.layers = nn.ModuleList(Layer(dim) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)[:, 0])


model = TinyViT(args.dim)
decay = [p for p in model.parameters() if p.ndim > 1]
no_decay = [p for p in model.parameters() if p.ndim <= 1]
opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": no_decay, "weight_decay": 0.0}], lr=2e-3)
sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=2e-3, total_steps=args.epochs * math.ceil(len(xtr) / 64))
criterion = nn.CrossEntropyLoss()

for ep in range(args.epochs):
    model.train()
    tot = 0.0
    for idx in torch.randperm(len(xtr)).split(64):
        opt.zero_grad()
        loss = criterion(model(xtr[idx]), ytr[idx])
        loss.backward()
        opt.step()
        sched.step()
        tot += loss.item() * len(idx)
    if ep % 3 == 2:
        model.eval()
        with torch.no_grad():
            pred = model(xte).argmax(1)
        print(f"epoch {ep + 1} train loss {tot / len(xtr):.3f} clean test acc {(pred == yte).float().mean():.3f}")

print("recall", [round((pred[yte == c] == c).float().mean().item(), 3) for c in range(10)])
