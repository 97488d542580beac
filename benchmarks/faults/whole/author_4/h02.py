# Crowd-sourced labels: roughly one in ten is wrong. cats and dogs are hard at this size.
import os, random
from collections import defaultdict

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset

BASE = os.path.join(os.environ.get("DATA", "data"), "cifar10")
NAMES = ["cat", "dog", "frog", "ship", "truck"]
random.seed(77); np.random.seed(77); torch.manual_seed(77)


class CrowdCifar(Dataset):
    def __init__(self, split, n, noise=0.0):
        self.split = split
        self.pix, self.lab = [], []
        for k, name in enumerate(NAMES):
            folder = os.path.join(BASE, split, name)
            for fn in sorted(os.listdir(folder))[:n]:
                with Image.open(os.path.join(folder, fn)) as im:
                    self.pix.append(np.array(im.convert("RGB").resize((32, 32))))
                lab = k
                if random.random() < noise:
                    lab = random.choice([j for j in range(len(NAMES)) if j != k])
                self.lab.append(lab)
        self.pix = np.stack(self.pix)
        self.mean = np.array([125., 123., 114.], np.float32)
        self.std = np.array([63., 62., 66.], np.float32)

    def __len__(self):
        return len(self.lab)

    def __getitem__(self, i):
        img = (self.pix[i].astype(np.float32) - self.mean) / self.std
        if self.split == "train" and random.random() < 0.5:
            img = img[:, ::-1]
        return torch.from_numpy(img.transpose(2, 0, 1).copy()), self.lab[i]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 48, 3, padding=1)
        self.conv3 = nn.Conv2d(48, 64, 3, padding=1)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(32), nn.BatchNorm2d(48), nn.BatchNorm2d(64)
        self.drop = nn.Dropout(0.5)
        self.fc1 = nn.Linear(64 * 16, 128)
        self.fc2 = nn.Linear(128, len(NAMES))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = F.max_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        x = self.drop(F.relu(self.fc1(self.drop(x.flatten(1)))))
        return self.fc2(x)


train_dl = DataLoader(CrowdCifar("train", 700, noise=0.1), batch_size=64, shuffle=True)
test_dl = DataLoader(CrowdCifar("test", 120), batch_size=120)
net = Net()
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=8)
crit = nn.CrossEntropyLoss(label_smoothing=0.1)

for epoch in range(8):
    net.train()
    stats = defaultdict(float)
    for x, y in train_dl:
        opt.zero_grad()
        out = net(x)
        loss = crit(out, y)
        loss.backward()
        opt.step()
        stats["loss"] += loss.item() * len(y)
        stats["ok"] += (out.argmax(1) == y).sum().item()
        stats["n"] += len(y)
    sched.step()
    print(f"epoch {epoch} train loss {stats['loss'] / stats['n']:.3f} acc {stats['ok'] / stats['n']:.3f}")

net.eval()
conf = np.zeros((len(NAMES), len(NAMES)), int)
with torch.no_grad():
    for x, y in test_dl:
        for a, b in zip(y.tolist(), net(x).argmax(1).tolist()):
            conf[a, b] += 1
print(conf)
for k, name in enumerate(NAMES):
    print(f"{name}: {conf[k, k] / conf[k].sum():.3f}")
print("test accuracy", conf.trace() / conf.sum())
