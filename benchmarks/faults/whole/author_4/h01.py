"""Digits, raw pixel values, a few digits under-represented (ratio ~4), weighted loss."""
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.metrics import recall_score
from torch.utils.data import DataLoader, TensorDataset

rs = np.random.RandomState(12)
torch.manual_seed(12)

images, target = load_digits(return_X_y=True)
perm = rs.permutation(len(target))
images, target = images[perm], target[perm]
test_x, test_y = images[:400], target[:400]
train_x, train_y = images[400:], target[400:]

keep_fraction = {1: 0.25, 4: 0.3, 8: 0.4, 9: 0.5}
keep = np.ones(len(train_y), bool)
for digit, frac in keep_fraction.items():
    where = np.flatnonzero(train_y == digit)
    keep[where[int(len(where) * frac):]] = False
train_x, train_y = train_x[keep], train_y[keep]
n_per_digit = np.bincount(train_y, minlength=10)
print("train images per digit", n_per_digit)


def to_loader(x, y, **kw):
    x = torch.tensor(x.reshape(-1, 1, 8, 8), dtype=torch.float32)   # 0..16
    return DataLoader(TensorDataset(x, torch.tensor(y)), **kw)


train_loader = to_loader(train_x, train_y, batch_size=32, shuffle=True)
test_loader = to_loader(test_x, test_y, batch_size=200)


class SmallCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 20, 3, padding=1), nn.BatchNorm2d(20), nn.ReLU(),
            nn.Conv2d(20, 40, 3, padding=1), nn.BatchNorm2d(40), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(40, 40, 3, padding=1), nn.BatchNorm2d(40), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(40 * 4, 10)

    def forward(self, x):
        return self.classifier(self.body(x).flatten(1))


weights = torch.tensor(len(train_y) / (10 * n_per_digit), dtype=torch.float32)
print("class weights", weights.numpy().round(2))
net = SmallCNN()
criterion = nn.CrossEntropyLoss(weight=weights)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

for epoch in range(9):
    net.train()
    cum = 0.0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
        cum += loss.item()
    print("epoch", epoch + 1, "loss", round(cum / len(train_loader), 4))

net.eval()
with torch.no_grad():
    pred = torch.cat([net(x).argmax(1) for x, _ in test_loader]).numpy()
recalls = recall_score(test_y, pred, average=None)
print("recall", recalls.round(3))
print("balanced accuracy", recalls.mean().round(4))
