"""Stage 1: learn features on the big digit set. Stage 2: linear probe on a handful of images per class."""
import os
import tempfile
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset, DataLoader

torch.manual_seed(8)
rng = np.random.RandomState(8)
CKPT = os.path.join(tempfile.mkdtemp(), "stage1.pth")


class ConvNet(nn.Module):
    def __init__(self, n_out):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 3, padding=1), nn.ReLU(),
            nn.Conv2d(48, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(48, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(64, n_out)

    def forward(self, x):
        return self.fc(self.encoder(x))


def as_loader(X, y, bs, shuffle):
    return DataLoader(TensorDataset(torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y, dtype=torch.long)),
                      batch_size=bs, shuffle=shuffle)


def train(net, loader, opt, epochs, tag):
    lossf = nn.CrossEntropyLoss()
    for ep in range(epochs):
        net.train()
        tot = 0.0
        for x, y in loader:
            opt.zero_grad()
            loss = lossf(net(x), y)
            loss.backward()
            opt.step()
            tot += loss.item()
        if ep % 4 == 3:
            print(f"{tag} epoch {ep + 1} loss {tot / len(loader):.4f}")


def test(net, loader, n):
    net.eval()
    cm = np.zeros((n, n), int)
    with torch.no_grad():
        for x, y in loader:
            np.add.at(cm, (y.numpy(), net(x).argmax(1).numpy()), 1)
    return cm.diagonal() / cm.sum(1)


digits = load_digits()
images = ((digits.images - 5.0) / 6.0)[:, None]
labels = digits.target
order = rng.permutation(len(labels))
images, labels = images[order], labels[order]
src, tgt = slice(0, 900), slice(900, None)

# ---- stage 1
if not os.path.exists(CKPT):
    net = nn.DataParallel(ConvNet(10))
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    train(net, as_loader(images[src], labels[src], 32, True), opt, 12, "stage1")
    torch.save({"state_dict": net.state_dict(), "epoch": 12}, CKPT)

# ---- stage 2: new writers, thicker strokes
thick = np.clip(images[tgt] * 1.2 + 0.1, -1, 2)
y2 = labels[tgt]
n_few = 400
train_loader = as_loader(thick[:n_few], y2[:n_few], 32, True)
test_loader = as_loader(thick[n_few:], y2[n_few:], 256, False)

model = ConvNet(10)
state = torch.load(CKPT, map_location="cpu")["state_dict"]
state = {k: v for k, v in state.items() if "fc" not in k}
model.load_state_dict(state, strict=False)
for p in model.encoder.parameters():
    p.requires_grad_(False)
optimizer = torch.optim.Adam(model.fc.parameters(), lr=5e-3)
train(model, train_loader, optimizer, 24, "probe")

rec = test(model, test_loader, 10)
print("recall per digit", rec.round(2).tolist())
print("mean recall %.3f" % rec.mean())
