import os
import glob
import pandas as pd
import numpy as np
from PIL import Image

import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader, WeightedRandomSampler
from torchvision import transforms
from sklearn.model_selection import train_test_split
from sklearn.metrics import classification_report, balanced_accuracy_score

DATA_DIR = os.path.join(os.environ.get("DATA", "data"), "pbc_128")
SIZE = 32
np.random.seed(0)
torch.manual_seed(0)

# ---- manifest (counts as in the smears of one clinic) ----
clinic = {"neutrophil": 1150, "ig": 520, "eosinophil": 340, "monocyte": 42, "basophil": 36, "lymphocyte": 48}
rows, test_rows = [], []
for name, n in clinic.items():
    paths = sorted(glob.glob(os.path.join(DATA_DIR, name, "*.jpg")))
    paths = list(np.random.permutation(paths))
    test_rows += [(p, name) for p in paths[:60]]
    rows += [(p, name) for p in paths[60:60 + n]]
df = pd.DataFrame(rows, columns=["path", "label"]).sample(frac=1, random_state=0).reset_index(drop=True)
test_df = pd.DataFrame(test_rows, columns=["path", "label"])
classes = sorted(df.label.unique())
cls2id = {c: i for i, c in enumerate(classes)}
for d in (df, test_df):
    d["target"] = d.label.map(cls2id)
train_df, val_df = train_test_split(df, test_size=0.15, stratify=df.target, random_state=0)
print(train_df.label.value_counts())


class SmearDataset(Dataset):
    def __init__(self, frame, tfm):
        self.targets = frame.target.tolist()
        self.tfm = tfm
        # small enough to keep decoded
        self.imgs = [Image.open(p).convert("RGB").resize((SIZE, SIZE)) for p in frame.path]

    def __len__(self):
        return len(self.imgs)

    def __getitem__(self, idx):
        return self.tfm(self.imgs[idx]), self.targets[idx]


norm = transforms.Normalize([0.87, 0.75, 0.72], [0.16, 0.19, 0.08])
train_tfm = transforms.Compose([
    transforms.RandomHorizontalFlip(),
    transforms.RandomVerticalFlip(),
    transforms.ToTensor(), norm,
])
eval_tfm = transforms.Compose([transforms.ToTensor(), norm])
train_set = SmearDataset(train_df, train_tfm)
val_set = SmearDataset(val_df, eval_tfm)
test_set = SmearDataset(test_df, eval_tfm)

per_class = np.bincount(train_set.targets)
sample_w = 1.0 / per_class[train_set.targets]
sampler = WeightedRandomSampler(torch.as_tensor(sample_w), num_samples=len(train_set), replacement=True)
train_loader = DataLoader(train_set, batch_size=64, sampler=sampler)
val_loader = DataLoader(val_set, batch_size=128)
test_loader = DataLoader(test_set, batch_size=128)

model = nn.Sequential(
    nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(48, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
    nn.Flatten(), nn.Dropout(0.2),
    nn.Linear(256, len(classes)),
)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


def collect(loader):
    model.eval()
    t, p = [], []
    with torch.no_grad():
        for x, y in loader:
            p.append(model(x).argmax(1))
            t.append(y)
    return torch.cat(t).numpy(), torch.cat(p).numpy()


for epoch in range(15):
    model.train()
    losses = []
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    t, p = collect(val_loader)
    print(f"Epoch {epoch + 1}: train loss {np.mean(losses):.4f} | val acc {(t == p).mean():.4f}")

t, p = collect(test_loader)
print(classification_report(t, p, target_names=classes, zero_division=0))
print("balanced accuracy on test:", round(balanced_accuracy_score(t, p), 4))
