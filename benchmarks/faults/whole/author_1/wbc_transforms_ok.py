"""Simple WBC classifier. Usage: python wbc_transforms.py"""
import os
import numpy as np
import torch
import torch.nn as nn
from PIL import Image
from torch.utils.data import Dataset, DataLoader
from torchvision import transforms
from sklearn.metrics import recall_score

SEED = 21
torch.manual_seed(SEED)
np.random.seed(SEED)

root = os.path.join(os.environ.get("DATA", "data"), "pbc_128")
class_names = ["basophil", "eosinophil", "erythroblast", "lymphocyte", "platelet"]

mean = (0.79, 0.69, 0.72)
std = (0.19, 0.24, 0.11)

data_transforms = {
    "train": transforms.Compose([
        transforms.RandomCrop(32),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(mean, std),
    ]),
    "val": transforms.Compose([
        transforms.CenterCrop(32),
        transforms.ToTensor(),
        transforms.Normalize(mean, std),
    ]),
}


class WBC(Dataset):
    def __init__(self, split):
        self.tf = data_transforms[split]
        lo, hi = (0, 320) if split == "train" else (320, 400)
        self.images, self.labels = [], []
        for li, cn in enumerate(class_names):
            for fn in sorted(os.listdir(os.path.join(root, cn)))[lo:hi]:
                with Image.open(os.path.join(root, cn, fn)) as im:
                    self.images.append(im.convert("RGB").resize((36, 36)))
                self.labels.append(li)

    def __getitem__(self, index):
        return self.tf(self.images[index]), self.labels[index]

    def __len__(self):
        return len(self.labels)


sets = {s: WBC(s) for s in ("train", "val")}
dataloaders = {s: DataLoader(sets[s], batch_size=32, shuffle=(s == "train")) for s in sets}


class ConvNet(nn.Module):
    def __init__(self, num_classes=5):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.GELU(), nn.MaxPool2d(2))
        self.layer2 = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.GELU(), nn.MaxPool2d(2))
        self.layer3 = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.GELU(), nn.MaxPool2d(2))
        self.drop = nn.Dropout(0.25)
        self.fc = nn.Linear(64 * 16, num_classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.drop(x.reshape(x.size(0), -1)))


model = ConvNet(len(class_names))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
best_acc = 0.0

for epoch in range(8):
    model.train()
    train_loss, train_hits = 0.0, 0
    for x, y in dataloaders["train"]:
        optimizer.zero_grad()
        logits = model(x)
        loss = criterion(logits, y)
        loss.backward()
        optimizer.step()
        train_loss += loss.item() * x.size(0)
        train_hits += (logits.argmax(1) == y).sum().item()

    model.eval()
    y_true, y_pred = [], []
    with torch.no_grad():
        for x, y in dataloaders["val"]:
            y_pred += model(x).argmax(1).tolist()
            y_true += y.tolist()
    val_acc = np.mean(np.array(y_true) == np.array(y_pred))
    best_acc = max(best_acc, val_acc)
    print(f"Epoch {epoch}: train loss {train_loss / len(sets['train']):.4f} "
          f"train acc {train_hits / len(sets['train']):.4f} val acc {val_acc:.4f}")

print("Best val acc:", best_acc)
for n, r in zip(class_names, recall_score(y_true, y_pred, average=None, zero_division=0)):
    print(f"{n:>13s}: {r:.3f}")
