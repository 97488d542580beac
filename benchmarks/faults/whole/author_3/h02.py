"""Robustness study: digits with 10 % of the training labels flipped at random, hand-written ViT."""
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.metrics import recall_score
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class HP:
    dim: int = 48
    depth: int = 2
    heads: int = 4
    noise: float = 0.10
    lr: float = 1.5e-3
    warmup: int = 200
    steps: int = 620
    batch: int = 50
    seed: int = 8


hp = HP()
torch.manual_seed(hp.seed)
rng = np.random.default_rng(hp.seed)


class Block(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.att = nn.MultiheadAttention(d, h, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x):
        y = self.n1(x)
        x = x + self.att(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.n2(x))


class ViT(nn.Module):
    def __init__(self, hp):
        super().__init__()
        self.patch = nn.Conv2d(1, hp.dim, 2, stride=2)
        self.pos = nn.Parameter(torch.randn(1, 16, hp.dim) * 0.02)
        self.blocks = nn.ModuleList(Block(hp.dim, hp.heads) for _ in range(hp.depth))
        self.norm = nn.LayerNorm(hp.dim)
        self.out = nn.Linear(hp.dim, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2) + self.pos
        for b in self.blocks:
            x = b(x)
        return self.out(self.norm(x).mean(1))


X, y = load_digits(return_X_y=True)
X = torch.tensor(X, dtype=torch.float32).view(-1, 1, 8, 8).sub(4.88).div(6.02)
order = rng.permutation(len(y))
X, y = X[order], y[order]
y_train = y[:1400].copy()
flip = rng.random(1400) < hp.noise
y_train[flip] = rng.integers(0, 10, flip.sum())
print("flipped labels:", int(flip.sum()))
loader = DataLoader(TensorDataset(X[:1400], torch.tensor(y_train)), batch_size=hp.batch, shuffle=True)

model = ViT(hp)
opt = torch.optim.AdamW(model.parameters(), lr=hp.lr, weight_decay=0.05)
sched = torch.optim.lr_scheduler.LambdaLR(
    opt,
    lambda s: s / hp.warmup if s < hp.warmup
    else 0.5 * (1 + math.cos(math.pi * (s - hp.warmup) / (hp.steps - hp.warmup))))
loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)

step, avg = 0, None
while step < hp.steps:
    for xb, yb in loader:
        model.train()
        loss = loss_fn(model(xb), yb)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        sched.step()
        step += 1
        avg = loss.item() if avg is None else 0.95 * avg + 0.05 * loss.item()
        if step % 62 == 0:
            model.eval()
            with torch.no_grad():
                acc = (model(X[1400:]).argmax(1).numpy() == y[1400:]).mean()
            print(f"step {step} lr {sched.get_last_lr()[0]:.2e} loss {avg:.3f} clean test acc {acc:.3f}")
        if step >= hp.steps:
            break

model.eval()
with torch.no_grad():
    pred = model(X[1400:]).argmax(1).numpy()
print("recalls", np.round(recall_score(y[1400:], pred, average=None), 2))
