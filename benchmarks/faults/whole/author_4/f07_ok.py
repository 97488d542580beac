# Tiny ViT on peripheral blood cells
import os
import random
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from PIL import Image
from torch.utils.data import TensorDataset, DataLoader

ROOT = Path(os.environ.get("DATA", "data")) / "pbc_128"
IMG = 32
PATCH = 8
DIM = 64
DEPTH = 4
HEADS = 4
EPOCHS = 9
BATCH = 64
LR = 5e-4
PER_CLASS = 330

random.seed(1); np.random.seed(1); torch.manual_seed(1)

classes = sorted(d.name for d in ROOT.iterdir() if d.is_dir())
xs, ys = [], []
for ci, c in enumerate(classes):
    fs = sorted((ROOT / c).glob("*.jpg"))
    random.shuffle(fs)
    for f in fs[:PER_CLASS]:
        xs.append(np.asarray(Image.open(f).convert("RGB").resize((IMG, IMG), Image.BILINEAR)))
        ys.append(ci)
X = torch.from_numpy(np.stack(xs)).permute(0, 3, 1, 2).float() / 255.
Y = torch.tensor(ys)
X = (X - X.mean((0, 2, 3), keepdim=True)) / X.std((0, 2, 3), keepdim=True)
perm = torch.randperm(len(Y))
n_test = len(Y) // 5
te, tr = perm[:n_test], perm[n_test:]
train_dl = DataLoader(TensorDataset(X[tr], Y[tr]), batch_size=BATCH, shuffle=True, drop_last=True)
test_dl = DataLoader(TensorDataset(X[te], Y[te]), batch_size=256)
print(len(tr), "train", len(te), "test", classes)


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.h = heads
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        B, N, D = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.h, D // self.h).permute(2, 0, 3, 1, 4)
        a = (q @ k.transpose(-2, -1)) / math.sqrt(D // self.h)
        out = (a.softmax(-1) @ v).transpose(1, 2).reshape(B, N, D)
        return self.proj(out)


class Block(nn.Module):
    def __init__(self, dim, heads, mlp=2):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, dim * mlp), nn.GELU(), nn.Linear(dim * mlp, dim))

    def forward(self, x):
        x = self.n1(x + self.attn(x))
        return self.n2(x + self.mlp(x))


class ViT(nn.Module):
    def __init__(self, n_cls):
        super().__init__()
        self.embed = nn.Conv2d(3, DIM, PATCH, PATCH)
        n = (IMG // PATCH) ** 2
        self.cls = nn.Parameter(torch.zeros(1, 1, DIM))
        self.pos = nn.Parameter(torch.randn(1, n + 1, DIM) * 0.02)
        self.blocks = nn.Sequential(*[Block(DIM, HEADS) for _ in range(DEPTH)])
        self.norm = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, n_cls)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        return self.head(self.norm(self.blocks(x))[:, 0])


net = ViT(len(classes))
print(f"{sum(p.numel() for p in net.parameters()) / 1e3:.0f}k params")
opt = torch.optim.AdamW(net.parameters(), lr=LR, betas=(0.9, 0.999), weight_decay=0.05)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=EPOCHS * len(train_dl))
ce = nn.CrossEntropyLoss(label_smoothing=0.1)

for ep in range(EPOCHS):
    net.train()
    tot = 0.
    for xb, yb in train_dl:
        if random.random() < .5:
            xb = xb.flip(-1)
        loss = ce(net(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
        tot += loss.item()
    net.eval()
    with torch.no_grad():
        pred = torch.cat([net(xb).argmax(1) for xb, _ in test_dl])
    acc = (pred == Y[te]).float().mean()
    print(f"ep {ep}: loss {tot / len(train_dl):.3f} test acc {acc:.3f}")

for i, c in enumerate(classes):
    m = Y[te] == i
    print(f"{c:>14s} recall {(pred[m] == i).float().mean():.3f}")
