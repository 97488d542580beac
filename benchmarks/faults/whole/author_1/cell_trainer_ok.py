"""Blood cell sorter. Trainer class, plain config dict."""
import os
from collections import Counter

import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms
from sklearn.model_selection import train_test_split

CFG = {
    "root": os.path.join(os.environ.get("DATA", "data"), "pbc_128"),
    "keep": {"basophil": 120, "eosinophil": 420, "erythroblast": 130, "lymphocyte": 110,
             "neutrophil": 450, "platelet": 300},
    "img": 28,
    "bs": 32,
    "epochs": 9,
    "lr": 1e-3,
    "seed": 7,
}


class SubFolder(datasets.ImageFolder):
    """ImageFolder restricted to the classes (and number of files) we labelled."""

    def find_classes(self, directory):
        names = sorted(CFG["keep"])
        return names, {n: i for i, n in enumerate(names)}

    def make_dataset(self, directory, class_to_idx, *args, **kwargs):
        samples = []
        for name, idx in class_to_idx.items():
            folder = os.path.join(directory, name)
            for f in sorted(os.listdir(folder))[: CFG["keep"][name]]:
                samples.append((os.path.join(folder, f), idx))
        return samples


class Trainer:
    def __init__(self, cfg):
        torch.manual_seed(cfg["seed"])
        self.cfg = cfg
        tf = transforms.Compose([
            transforms.Resize((cfg["img"], cfg["img"])),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ])
        ds = SubFolder(cfg["root"], transform=tf)
        self.names = ds.classes
        idx = np.arange(len(ds))
        tr, va = train_test_split(idx, test_size=0.25, stratify=ds.targets, random_state=cfg["seed"])
        # decode once, everything fits in memory
        self.cache = [ds[i] for i in idx]
        self.train_dl = DataLoader([self.cache[i] for i in tr], batch_size=cfg["bs"], shuffle=True)
        self.val_dl = DataLoader([self.cache[i] for i in va], batch_size=128)

        counts = Counter(ds.targets[i] for i in tr)
        n = torch.tensor([counts[c] for c in range(len(self.names))], dtype=torch.float)
        weights = n.sum() / (n * len(self.names))
        print("class weights:", {k: round(w, 2) for k, w in zip(self.names, weights.tolist())})

        self.model = nn.Sequential(
            nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(48 * 7 * 7, 96), nn.ReLU(),
            nn.Linear(96, len(self.names)),
        )
        self.criterion = nn.CrossEntropyLoss(weight=weights)
        self.optimizer = optim.Adam(self.model.parameters(), lr=cfg["lr"])

    def train_epoch(self):
        self.model.train()
        total = 0.0
        for x, y in self.train_dl:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.train_dl)

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        k = len(self.names)
        hit, tot = np.zeros(k), np.zeros(k)
        for x, y in self.val_dl:
            p = self.model(x).argmax(1)
            for c in range(k):
                tot[c] += (y == c).sum().item()
                hit[c] += ((y == c) & (p == c)).sum().item()
        return hit / tot, hit.sum() / tot.sum()

    def fit(self):
        for e in range(self.cfg["epochs"]):
            loss = self.train_epoch()
            rec, acc = self.evaluate()
            print(f"epoch {e:02d} loss {loss:.4f} acc {acc:.3f} macro recall {rec.mean():.3f}")
        for n, r in zip(self.names, rec):
            print(f"{n:>14}: {r:.3f}")


if __name__ == "__main__":
    Trainer(CFG).fit()
