"""
Digits with a small conv net + exponential moving average of the weights.
Reported numbers are from the averaged model.
"""
import copy
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

CFG = {
    "seed": 17,
    "epochs": 10,
    "batch_size": 48,
    "lr": 2e-3,
    "weight_decay": 1e-4,
    "ema_decay": 0.98,
    "label_smoothing": 0.05,
}


def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def conv_block(cin, cout, pool=False):
    layers = [
        nn.Conv2d(cin, cout, 3, padding=1, bias=False),
        nn.BatchNorm2d(cout),
        nn.ReLU(inplace=True),
    ]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class DigitNet(nn.Module):
    def __init__(self, width=24, n_classes=10):
        super().__init__()
        self.features = nn.Sequential(
            conv_block(1, width),
            conv_block(width, width, pool=True),
            conv_block(width, width * 2),
            conv_block(width * 2, width * 2, pool=True),
            conv_block(width * 2, width * 4),
        )
        self.fc = nn.Linear(width * 4, n_classes)

    def forward(self, x):
        x = self.features(x)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.fc(x)


class ModelEMA:
    def __init__(self, model, decay):
        self.module = copy.deepcopy(model).eval()
        self.decay = decay
        for p in self.module.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        for e, p in zip(self.module.parameters(), model.parameters()):
            e.mul_(self.decay).add_(p, alpha=1 - self.decay)
        for e, b in zip(self.module.buffers(), model.buffers()):
            e.copy_(b)


@torch.no_grad()
def evaluate(net, loader):
    net.eval()
    preds, gts = [], []
    for xb, yb in loader:
        preds.append(net(xb).argmax(1))
        gts.append(yb)
    preds, gts = torch.cat(preds), torch.cat(gts)
    return (preds == gts).float().mean().item(), preds.numpy(), gts.numpy()


def main():
    seed_everything(CFG["seed"])
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16.0
    x = (x - x.mean()) / x.std()
    y = torch.tensor(data.target)
    tr, va = train_test_split(np.arange(len(y)), test_size=0.25, stratify=data.target,
                              random_state=CFG["seed"])
    train_dl = DataLoader(TensorDataset(x[tr], y[tr]), CFG["batch_size"], shuffle=True, drop_last=True)
    val_dl = DataLoader(TensorDataset(x[va], y[va]), 256)

    model = DigitNet()
    ema = ModelEMA(model, CFG["ema_decay"])
    opt = torch.optim.AdamW(model.parameters(), lr=CFG["lr"], weight_decay=CFG["weight_decay"])
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, CFG["epochs"], eta_min=1e-5)
    criterion = nn.CrossEntropyLoss(label_smoothing=CFG["label_smoothing"])

    for epoch in range(1, CFG["epochs"] + 1):
        model.train()
        running = 0.0
        for xb, yb in train_dl:
            opt.zero_grad(set_to_none=True)
            loss = criterion(model(xb), yb)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            opt.step()
            ema.update(model)
            running += loss.item()
        sched.step()
        acc, _, _ = evaluate(ema.module, val_dl)
        print(f"epoch {epoch:02d}  loss {running / len(train_dl):.4f}  val acc (ema) {acc:.4f}")

    acc, p, g = evaluate(ema.module, val_dl)
    print(classification_report(g, p, digits=3, zero_division=0))
    print(f"final accuracy: {acc:.4f}")


if __name__ == "__main__":
    main()
