"""Noisy crowd labels (about one in ten wrong), imbalanced classes, weights from the training counts."""
import os
from collections import Counter

import numpy as np
import torch
import torch.nn as nn
from PIL import Image
from torch.utils.data import DataLoader, Dataset

ROOT = os.path.join(os.environ.get("DATA", "data"), "pbc_128")
rng = np.random.default_rng(21)
torch.manual_seed(21)
SIZES = {"neutrophil": 380, "eosinophil": 300, "platelet": 220, "erythroblast": 160, "lymphocyte": 110, "basophil": 90}
NAMES = list(SIZES)


class Cells(Dataset):
    def __init__(self, triples, flip):
        self.t, self.flip = triples, flip
        self.img = []
        for path, _, _ in triples:
            a = np.asarray(Image.open(path).convert("RGB").resize((32, 32)), np.float32)
            self.img.append(torch.from_numpy(a).permute(2, 0, 1).div(127.5).sub(1))

    def __len__(self):
        return len(self.t)

    def __getitem__(self, i):
        x = self.img[i]
        if self.flip and torch.rand(()) < 0.5:
            x = x.flip(-1)
        return x, self.t[i][2]


train, test = [], []
for k, name in enumerate(NAMES):
    files = sorted(os.listdir(os.path.join(ROOT, name)))
    rng.shuffle(files)
    paths = [os.path.join(ROOT, name, f) for f in files]
    test += [(p, k, k) for p in paths[:50]]
    for p in paths[50:50 + SIZES[name]]:
        crowd = int(rng.integers(len(NAMES))) if rng.random() < 0.12 else k
        train.append((p, k, crowd))

counts = Counter(t[2] for t in train)
print({NAMES[k]: v for k, v in counts.items()}, "changed:", sum(t[1] != t[2] for t in train))
w = torch.tensor([len(train) / (len(NAMES) * counts[k]) for k in range(len(NAMES))])


class Res(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(),
                               nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o))
        self.s = nn.Conv2d(i, o, 1, 2)

    def forward(self, x):
        return torch.relu(self.a(x) + self.s(x))


net = nn.Sequential(Res(3, 24), Res(24, 40), Res(40, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, len(NAMES)))
loader = DataLoader(Cells(train, True), batch_size=32, shuffle=True)
tloader = DataLoader(Cells(test, False), batch_size=60)
lossf = nn.CrossEntropyLoss(weight=w)
opt = torch.optim.Adam(net.parameters(), lr=3e-4)

for ep in range(8):
    net.train()
    ls = []
    for x, y in loader:
        opt.zero_grad()
        l = lossf(net(x), y)
        l.backward()
        opt.step()
        ls.append(l.item())
    print("epoch", ep, "loss", round(float(np.mean(ls)), 3))

net.eval()
P, Y = [], []
with torch.no_grad():
    for x, y in tloader:
        P.append(net(x).argmax(1))
        Y.append(y)
P, Y = torch.cat(P), torch.cat(Y)
for k, n in enumerate(NAMES):
    print(f"{n:13s} {(P[Y == k] == k).float().mean():.2f}")
print("accuracy", (P == Y).float().mean().item())
