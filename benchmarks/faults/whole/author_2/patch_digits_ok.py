# Patch based classifier: every image is cut in 4 overlapping patches, one shared
# encoder, patch descriptors are concatenated, then an MLP.
import random
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

SEED = 5
random.seed(SEED); np.random.seed(SEED); torch.manual_seed(SEED)
digits = load_digits()
X = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16.
X = (X - 0.305) / 0.376
Y = torch.tensor(digits.target)
classes = [str(c) for c in digits.target_names]
order = torch.randperm(len(Y))
train_idx, test_idx = order[:1400], order[1400:]

train_loader = DataLoader(TensorDataset(X[train_idx], Y[train_idx]), batch_size=40, shuffle=True, drop_last=True)
test_loader = DataLoader(TensorDataset(X[test_idx], Y[test_idx]), batch_size=100)


class Encoder(nn.Module):
    def __init__(self, dim=64):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(),
            nn.Conv2d(24, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, dim, 3, padding=1), nn.ReLU(),
            nn.Conv2d(dim, dim, 3, padding=1), nn.ReLU(),
            nn.Conv2d(dim, dim, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x):
        return self.net(x)


class PatchNet(nn.Module):
    def __init__(self, n_classes, size=5, stride=3):
        super().__init__()
        self.size, self.stride = size, stride
        self.encoder = Encoder(64)
        self.mlp = nn.Sequential(nn.Linear(64 * 4, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, n_classes))

    def forward(self, x):
        bag = []
        for top in range(0, x.size(2) - self.size + 1, self.stride):
            for left in range(0, x.size(3) - self.size + 1, self.stride):
                p = x[:, :, top:top + self.size, left:left + self.size]
                bag.append(self.encoder(p))
        bag = torch.stack(bag, dim=1)
        z = bag.flatten(1)
        return self.mlp(z)


net = PatchNet(len(classes))
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
for epoch in range(1, 11):
    net.train()
    s = 0.
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(xb), yb)
        loss.backward()
        optimizer.step()
        s += loss.item()
    print('Epoch %d  train loss %.3f' % (epoch, s / len(train_loader)))

net.eval()
conf = torch.zeros(len(classes), len(classes))
with torch.no_grad():
    for xb, yb in test_loader:
        pred = net(xb).argmax(1)
        for t, p in zip(yb, pred):
            conf[t, p] += 1
rec = conf.diag() / conf.sum(1)
for name, r in zip(classes, rec):
    print('%-14s recall %.2f' % (name, r))
print('mean recall %.3f' % rec.mean())
