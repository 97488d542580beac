import logging
import os
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
log = logging.getLogger("train")


@dataclass
class Config:
    root: str = os.path.join(os.environ.get("DATA", "data"), "pbc_128")
    size: int = 28
    per_class: int = 260
    batch_size: int = 32
    epochs: int = 11
    lr: float = 1e-3
    weight_decay: float = 0.1
    warmup: int = 40
    seed: int = 4


class CellData(Dataset):
    def __init__(self, files, labels, size, train):
        self.labels = labels
        self.train = train
        arr = [np.asarray(Image.open(f).convert("RGB").resize((size, size)), dtype=np.float32) for f in files]
        self.x = torch.from_numpy(np.stack(arr) / 127.5 - 1).permute(0, 3, 1, 2).contiguous()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        x = self.x[i]
        if self.train and np.random.rand() < 0.5:
            x = x.flip(2)
        return x, self.labels[i]


class ConvMixerLite(nn.Module):
    def __init__(self, classes, dim=48, depth=4, kernel=5, patch=4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, dim, patch, patch), nn.GELU())
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            self.blocks.append(nn.ModuleDict({
                "dw": nn.Sequential(nn.Conv2d(dim, dim, kernel, groups=dim, padding="same"), nn.GELU()),
                "pw": nn.Sequential(nn.Conv2d(dim, 2 * dim, 1), nn.GELU(), nn.Conv2d(2 * dim, dim, 1)),
            }))
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        x = self.stem(x)
        for b in self.blocks:
            x = x + b["dw"](x)
            x = x + b["pw"](x)
        return self.head(x.mean(dim=(2, 3)))


class Experiment:
    def __init__(self, cfg):
        self.cfg = cfg
        np.random.seed(cfg.seed)
        torch.manual_seed(cfg.seed)
        self.names = sorted(n for n in os.listdir(cfg.root) if n != "ig")   # ig: mixed group, left out
        tr, te = ([], []), ([], [])
        for k, n in enumerate(self.names):
            fs = sorted(os.listdir(os.path.join(cfg.root, n)))
            np.random.shuffle(fs)
            fs = [os.path.join(cfg.root, n, f) for f in fs[:cfg.per_class + 50]]
            for j, f in enumerate(fs):
                dst = te if j < 50 else tr
                dst[0].append(f)
                dst[1].append(k)
        self.train_dl = DataLoader(CellData(*tr, cfg.size, True), cfg.batch_size, shuffle=True, drop_last=True)
        self.test_dl = DataLoader(CellData(*te, cfg.size, False), 200)
        self.model = ConvMixerLite(len(self.names))
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay)
        total = cfg.epochs * len(self.train_dl)
        self.sched = torch.optim.lr_scheduler.LambdaLR(
            self.opt, lambda s: min(1.0, (s + 1) / cfg.warmup, max(0.02, 1.5 * (1 - s / total))))
        self.loss = nn.CrossEntropyLoss()

    def train(self):
        for ep in range(self.cfg.epochs):
            self.model.train()
            hist = []
            for x, y in self.train_dl:
                loss = self.loss(self.model(x), y)
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
                self.sched.step()
                hist.append(loss.item())
            log.info("epoch %d loss %.4f", ep, float(np.mean(hist)))

    def report(self):
        self.model.eval()
        m = np.zeros((len(self.names),) * 2, int)
        with torch.no_grad():
            for x, y in self.test_dl:
                np.add.at(m, (y.numpy(), self.model(x).argmax(1).numpy()), 1)
        for n, r in zip(self.names, m.diagonal() / m.sum(1)):
            print(f"{n:<15} {r:.2f}")
        print("accuracy", m.trace() / m.sum())


if __name__ == "__main__":
    e = Experiment(Config())
    e.train()
    e.report()
