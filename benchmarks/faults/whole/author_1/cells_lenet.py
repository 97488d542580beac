"""Blood cell type classifier, LeNet style, images loaded into memory once."""
import os
import random
import numpy as np
from PIL import Image
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import TensorDataset, DataLoader, random_split

random.seed(0)
np.random.seed(0)
torch.manual_seed(0)

ROOT = os.path.join(os.environ.get("DATA", "data"), "pbc_128")
CLASSES = ["eosinophil", "erythroblast", "lymphocyte", "neutrophil", "platelet"]
PER_CLASS = 400
SIZE = 32
BATCH = 32
EPOCHS = 10


def load_images():
    xs, ys = [], []
    for idx, name in enumerate(CLASSES):
        files = sorted(os.listdir(os.path.join(ROOT, name)))[:PER_CLASS]
        for f in files:
            img = Image.open(os.path.join(ROOT, name, f)).convert("RGB")
            img = img.resize((SIZE, SIZE))
            xs.append(np.asarray(img, dtype=np.float32))
            ys.append(idx)
    x = np.stack(xs).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(x)), torch.tensor(ys)


class LeNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 5)
        self.conv2 = nn.Conv2d(16, 32, 5)
        self.fc1 = nn.Linear(32 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, n_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.flatten(1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


images, labels = load_images()
print("data:", images.shape, labels.bincount().tolist())
dataset = TensorDataset(images, labels)
n_val = len(dataset) // 5
train_set, val_set = random_split(dataset, [len(dataset) - n_val, n_val])
train_loader = DataLoader(train_set, batch_size=BATCH, shuffle=True)
val_loader = DataLoader(val_set, batch_size=128)

net = LeNet(len(CLASSES))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)

for epoch in range(EPOCHS):
    net.train()
    running, correct, seen = 0.0, 0, 0
    for xb, yb in train_loader:
        optimizer.zero_grad()
        out = net(xb)
        loss = criterion(out, yb)
        loss.backward()
        optimizer.step()
        running += loss.item() * len(yb)
        correct += (out.argmax(1) == yb).sum().item()
        seen += len(yb)
    print(f"epoch {epoch + 1}: loss {running / seen:.4f} train acc {correct / seen:.3f}")

net.eval()
hits = torch.zeros(len(CLASSES))
total = torch.zeros(len(CLASSES))
with torch.no_grad():
    for xb, yb in val_loader:
        pred = net(xb).argmax(1)
        for c in range(len(CLASSES)):
            mask = yb == c
            total[c] += mask.sum()
            hits[c] += (pred[mask] == c).sum()
for name, h, t in zip(CLASSES, hits, total):
    print(f"{name:14s} recall {h / t:.3f}")
print(f"val accuracy {hits.sum() / total.sum():.3f}")
