"""Blood cell classifier, 7 classes, small CNN."""
import os
import glob
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import Dataset, DataLoader

DATA = os.environ.get("DATA", "data")
ROOT = os.path.join(DATA, "pbc_128")
CFG = dict(size=32, per_class=300, batch=32, epochs=8, lr=0.02, momentum=0.9, seed=7)

random.seed(CFG["seed"])
np.random.seed(CFG["seed"])
torch.manual_seed(CFG["seed"])

CLASSES = sorted(d for d in os.listdir(ROOT) if d != "ig")  # immature ones are too mixed a group


def read_image(path, size):
    img = Image.open(path).convert("RGB").resize((size, size), Image.BILINEAR)
    return np.asarray(img, dtype=np.float32) / 255.0


def gather(per_class):
    items = []
    for k, c in enumerate(CLASSES):
        files = sorted(glob.glob(os.path.join(ROOT, c, "*.jpg")))
        random.shuffle(files)
        items += [(f, k) for f in files[:per_class]]
    random.shuffle(items)
    return items


class CellDataset(Dataset):
    def __init__(self, items, size, train=False):
        self.images = np.stack([read_image(f, size) for f, _ in items])
        self.labels = [k for _, k in items]
        self.train = train

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        img = self.images[i]
        if self.train and random.random() < 0.5:
            img = img[:, ::-1].copy()
        x = torch.from_numpy(img).permute(2, 0, 1)
        x = x.float() / 255.0
        return (x - 0.75) / 0.2, self.labels[i]


class Net(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 5, padding=2)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, 48, 3, padding=1)
        self.fc1 = nn.Linear(48 * 4 * 4, 96)
        self.fc2 = nn.Linear(96, n)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.max_pool2d(F.relu(self.conv3(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def run_epoch(model, loader, opt):
    model.train()
    total, n = 0.0, 0
    for x, y in loader:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        total += loss.item() * len(y)
        n += len(y)
    return total / n


@torch.no_grad()
def recalls(model, loader):
    model.eval()
    cm = np.zeros((len(CLASSES), len(CLASSES)), int)
    for x, y in loader:
        for t, p in zip(y.tolist(), model(x).argmax(1).tolist()):
            cm[t, p] += 1
    return cm


if __name__ == "__main__":
    items = gather(CFG["per_class"])
    cut = int(0.8 * len(items))
    train_dl = DataLoader(CellDataset(items[:cut], CFG["size"], True), batch_size=CFG["batch"], shuffle=True)
    val_dl = DataLoader(CellDataset(items[cut:], CFG["size"]), batch_size=128)
    model = Net(len(CLASSES))
    opt = torch.optim.SGD(model.parameters(), lr=CFG["lr"], momentum=CFG["momentum"])
    for ep in range(CFG["epochs"]):
        tl = run_epoch(model, train_dl, opt)
        cm = recalls(model, val_dl)
        print(f"epoch {ep + 1}: loss {tl:.4f} val acc {np.trace(cm) / cm.sum():.3f}")
    r = cm.diagonal() / cm.sum(1)
    for c, v in zip(CLASSES, r):
        print(f"{c:15s} {v:.3f}")
    print("balanced accuracy", round(float(r.mean()), 3))
