"""Linear probe: pretrain a small convnet on four digits and rotations, then freeze it and fit a head."""
import os
import tempfile

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
np.random.seed(0)


class Backbone(nn.Module):
    def __init__(self, out_dim):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(48, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.fc = nn.Linear(64 * 2 * 2, out_dim)

    def forward(self, x):
        return self.fc(self.features(x))


digits = load_digits()
x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
y = torch.tensor(digits.target)
perm = torch.randperm(len(y))
x, y = x[perm], y[perm]
x_tr, y_tr, x_te, y_te = x[:1300], y[:1300], x[1300:], y[1300:]


def pretrain(path):
    net = Backbone(4)
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    ds = TensorDataset(x_tr)
    for ep in range(4):
        for (xb,) in DataLoader(ds, batch_size=64, shuffle=True):
            k = torch.randint(0, 4, (len(xb),))
            xr = torch.stack([torch.rot90(im, int(j), (1, 2)) for im, j in zip(xb, k)])
            loss = nn.functional.cross_entropy(net(xr), k)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"[pretext] epoch {ep} loss {loss.item():.3f}")
    torch.save(net.state_dict(), path)


def linear_probe(path, epochs=14):
    net = Backbone(10)
    state = torch.load(path)
    state = {k: v for k, v in state.items() if not k.startswith("fc.")}
    print(net.load_state_dict(state, strict=False))
    for p in net.features.parameters():
        p.requires_grad = False
    opt = torch.optim.SGD(net.fc.parameters(), lr=0.05, momentum=0.9)
    loss_fn = nn.CrossEntropyLoss()
    loader = DataLoader(TensorDataset(x_tr, y_tr), batch_size=52, shuffle=True)
    for ep in range(epochs):
        net.train()
        net.features.eval()
        tot = 0
        for xb, yb in loader:
            opt.zero_grad()
            loss = loss_fn(net(xb), yb)
            loss.backward()
            opt.step()
            tot += loss.item()
        net.eval()
        with torch.no_grad():
            pred = net(x_te).argmax(1)
        print(f"[probe] epoch {ep} loss {tot / len(loader):.3f} test acc {(pred == y_te).float().mean():.3f}")
    return pred


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as tmp:
        ckpt = os.path.join(tmp, "pretext.pt")
        pretrain(ckpt)
        pred = linear_probe(ckpt)
    print("recalls", [round((pred[y_te == c] == c).float().mean().item(), 2) for c in range(10)])
