"""Cross-validated baseline for the digits set (small residual network)."""
import torch
import torch.nn as nn
import torch.nn.functional as F
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from sklearn.metrics import recall_score

torch.manual_seed(11)
rng = np.random.RandomState(11)


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.short = nn.Identity()
        if stride != 1 or cin != cout:
            self.short = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.short(x))


class TinyResNet(nn.Module):
    def __init__(self, n_out=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.layer1 = BasicBlock(16, 16)
        self.layer2 = BasicBlock(16, 32, 2)
        self.fc = nn.Linear(32, n_out)

    def forward(self, x):
        x = self.layer2(self.layer1(self.stem(x)))
        return self.fc(x.mean((2, 3)))


def iterate(x, y, bs, shuffle):
    order = rng.permutation(len(x)) if shuffle else np.arange(len(x))
    for s in range(0, len(x), bs):
        sel = torch.as_tensor(order[s:s + bs])
        yield x[sel], y[sel]


digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
images = (images - images.mean()) / images.std()
target = torch.tensor(digits.target)

EPOCHS, BS, LR = 7, 48, 2e-3
loss_fn = nn.CrossEntropyLoss()

scores, recalls = [], []
folds = StratifiedKFold(n_splits=3, shuffle=True, random_state=0)
for fold, (tr, te) in enumerate(folds.split(digits.images, digits.target)):
    # start every fold from scratch
    model = TinyResNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    tr, te = torch.as_tensor(tr), torch.as_tensor(te)
    for epoch in range(EPOCHS):
        model.train()
        losses = []
        for xb, yb in iterate(images[tr], target[tr], BS, True):
            model.zero_grad()
            loss = loss_fn(model(xb), yb)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"fold {fold} epoch {epoch} loss {np.mean(losses):.4f}")

    model.eval()
    preds = []
    with torch.no_grad():
        for xb, yb in iterate(images[te], target[te], 256, False):
            preds.append(model(xb).argmax(1))
    preds = torch.cat(preds)
    scores.append((preds == target[te]).float().mean().item())
    recalls.append(recall_score(target[te], preds, average=None, zero_division=0))
    print(f"fold {fold} accuracy {scores[-1]:.4f}")

print("mean accuracy %.4f +- %.4f" % (np.mean(scores), np.std(scores)))
print("recall per digit", np.round(np.mean(recalls, axis=0), 3))
