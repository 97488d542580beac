# Denoising autoencoder on all digits (no labels), then a classifier on the fixed encoder
import io

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.metrics import classification_report, balanced_accuracy_score
from sklearn.model_selection import train_test_split


class Encoder(nn.Module):
    def __init__(self, code=64):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 16, code),
        )

    def forward(self, x):
        return self.net(x)


class DAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = nn.Sequential(nn.ReLU(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.Sigmoid())

    def forward(self, x):
        return self.decoder(self.encoder(x)).view(-1, 1, 8, 8)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.Sequential(nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x):
        return self.head(self.encoder(x))


def iterate(n, bs):
    p = torch.randperm(n)
    for s in range(0, n - bs + 1, bs):
        yield p[s:s + bs]


def pretrain(x, epochs=8, bs=64):
    net = DAE()
    opt = torch.optim.Adam(net.parameters(), 2e-3)
    for ep in range(epochs):
        acc = []
        for j in iterate(len(x), bs):
            noisy = (x[j] + 0.25 * torch.randn_like(x[j])).clamp(0, 1)
            loss = nn.functional.mse_loss(net(noisy), x[j])
            opt.zero_grad()
            loss.backward()
            opt.step()
            acc.append(loss.item())
        print(f"pretrain {ep}: mse {np.mean(acc):.4f}")
    buf = io.BytesIO()
    torch.save(net.state_dict(), buf)
    buf.seek(0)
    return buf


def main():
    torch.manual_seed(3)
    d = load_digits()
    x = torch.tensor(d.images / 16.0, dtype=torch.float32)[:, None]
    y = torch.tensor(d.target)
    tr, te = train_test_split(np.arange(len(y)), test_size=0.3, random_state=0, stratify=d.target)
    weights = pretrain(x[tr])

    clf = Classifier()
    result = clf.load_state_dict(torch.load(weights), strict=False)
    print("missing", result.missing_keys, "unexpected", result.unexpected_keys)
    clf.encoder.requires_grad_(False)
    opt = torch.optim.Adam(filter(lambda p: p.requires_grad, clf.parameters()), lr=5e-3)
    ce = nn.CrossEntropyLoss()
    for ep in range(15):
        clf.train()
        clf.encoder.eval()
        ls = []
        for j in iterate(len(tr), 48):
            j = torch.as_tensor(tr)[j]
            loss = ce(clf(x[j]), y[j])
            opt.zero_grad()
            loss.backward()
            opt.step()
            ls.append(loss.item())
        if ep % 3 == 2:
            print(f"probe {ep}: loss {np.mean(ls):.4f}")

    clf.eval()
    with torch.no_grad():
        pred = clf(x[te]).argmax(1)
    print(classification_report(y[te], pred, digits=3))
    print("balanced accuracy", round(balanced_accuracy_score(y[te], pred), 4))


if __name__ == "__main__":
    main()
