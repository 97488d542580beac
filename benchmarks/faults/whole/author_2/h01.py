# Fully connected net on the 64 grey levels
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset, DataLoader

torch.manual_seed(5)
np.random.seed(5)
data = load_digits()
perm = np.random.permutation(len(data.target))
X = torch.tensor(data.data[perm], dtype=torch.float32)
y = torch.tensor(data.target[perm])

# two digits are scarcer in our forms than the others
keep = torch.ones(1400, dtype=torch.bool)
for digit, n in ((3, 70), (7, 60)):
    where = (y[:1400] == digit).nonzero().flatten()
    keep[where[n:]] = False
train_ds = TensorDataset(X[:1400][keep], y[:1400][keep])
test_ds = TensorDataset(X[1400:], y[1400:])
train_dl = DataLoader(train_ds, batch_size=32, shuffle=True, drop_last=True)
test_dl = DataLoader(test_ds, batch_size=128)
print("train size", len(train_ds), "range", X.min().item(), X.max().item())

mlp = nn.Sequential(
    nn.Linear(64, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.5),
    nn.Linear(128, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3),
    nn.Linear(64, 10),
)
opt = torch.optim.SGD(mlp.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-3)
loss_fn = nn.CrossEntropyLoss(reduction="sum")

for epoch in range(15):
    mlp.train()
    running = 0.0
    for xb, yb in train_dl:
        for p in mlp.parameters():
            p.grad = None
        loss = loss_fn(mlp(xb), yb) / len(yb)
        loss.backward()
        opt.step()
        running += loss.item()
    mlp.eval()
    correct = 0
    with torch.no_grad():
        for xb, yb in test_dl:
            correct += (mlp(xb).argmax(1) == yb).sum().item()
    print(f"{epoch:02d} loss {running / len(train_dl):.4f} test {correct / len(test_ds):.4f}")

with torch.no_grad():
    p = mlp(X[1400:]).argmax(1)
for k in range(10):
    m = y[1400:] == k
    print(k, int(m.sum()), f"{(p[m] == k).float().mean():.3f}")
