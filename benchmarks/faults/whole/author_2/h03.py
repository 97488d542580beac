import os
import copy
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset, DataLoader

# Pretrain on digits 0-5, then keep the convolutional part fixed and fit a new
# classifier on all ten digits.
torch.manual_seed(31)
d = load_digits()
X = torch.tensor(d.images).float().unsqueeze(1) / 16
Y = torch.tensor(d.target)
g = torch.Generator().manual_seed(31)
idx = torch.randperm(len(Y), generator=g)
X, Y = X[idx], Y[idx]


class SmallCNN(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten())
        self.fc = nn.Linear(64 * 16, n)

    def forward(self, x):
        return self.fc(self.body(x))


def loop(net, ds, opt, epochs, fixed_body=False):
    dl = DataLoader(ds, batch_size=32, shuffle=True)
    for e in range(epochs):
        net.train()
        if fixed_body:
            net.body.eval()
        tot = 0.0
        for x, y in dl:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
            tot += loss.item()
        print("  epoch", e, "loss %.4f" % (tot / len(dl)))


m = Y[:800] < 6
pre = SmallCNN(6)
print("pretraining on", int(m.sum()), "images")
loop(pre, TensorDataset(X[:800][m], Y[:800][m]), torch.optim.Adam(pre.parameters(), 1e-3), 6)
weights = copy.deepcopy(pre.state_dict())

net = SmallCNN(10)
for k in ("fc.weight", "fc.bias"):
    weights.pop(k)
print(net.load_state_dict(weights, strict=False))
for p in net.body.parameters():
    p.requires_grad = False
opt = torch.optim.Adam(filter(lambda p: p.requires_grad, net.parameters()), lr=2e-4)
print("fitting the classifier")
loop(net, TensorDataset(X[:1400], Y[:1400]), opt, 10, fixed_body=True)

net.eval()
with torch.no_grad():
    pred = net(X[1400:]).argmax(1)
yt = Y[1400:]
print("accuracy", round((pred == yt).float().mean().item(), 4))
print("recalls", [round((pred[yt == k] == k).float().mean().item(), 2) for k in range(10)])
