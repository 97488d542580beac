# White blood cells: labels are coded in the file name (BA_1234.jpg, EO_..., ...)
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset, DataLoader
from torchvision import transforms as T
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, recall_score

root = Path(os.environ.get("DATA", "data")) / "pbc_128"
torch.manual_seed(0)
rng = np.random.RandomState(0)

names = ["basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet"]
PREFIX = {
    "BA": 0, "EO": 1, "ERB": 2,
    "IG": 3,
    "LY": 4, "MO": 5,
    "NEUTROPHIL": 6,
    "PLATELET": 7,
}

rows = []
for d in sorted(root.iterdir()):
    if not d.is_dir():
        continue
    files = sorted(d.glob("*.jpg"))
    for i in rng.permutation(len(files))[:260]:
        rows.append({"path": str(files[i]), "folder": d.name})
df = pd.DataFrame(rows)
df["prefix"] = df["path"].map(lambda p: re.match(r"([A-Z]+)_", os.path.basename(p)).group(1))
# anything without an annotation gets -1 and is skipped by the loss
df["target"] = df["prefix"].map(PREFIX).fillna(-1).astype(int)
df = df.sample(frac=1, random_state=1).reset_index(drop=True)
n_val = int(len(df) * 0.2)
val_df, train_df = df.iloc[:n_val], df.iloc[n_val:]

tf_train = T.Compose([T.RandomHorizontalFlip(), T.RandomVerticalFlip(), T.ToTensor(),
                      T.Normalize([0.85, 0.72, 0.72], [0.17, 0.22, 0.16])])
tf_val = T.Compose([T.ToTensor(), T.Normalize([0.85, 0.72, 0.72], [0.17, 0.22, 0.16])])


class CellFrame(Dataset):
    def __init__(self, frame, tf):
        self.imgs = [Image.open(p).convert("RGB").resize((32, 32)) for p in frame["path"]]
        self.target = frame["target"].to_numpy()
        self.tf = tf

    def __len__(self):
        return len(self.imgs)

    def __getitem__(self, i):
        return self.tf(self.imgs[i]), int(self.target[i])


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))


model = nn.Sequential(block(3, 24), block(24, 48), block(48, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                      nn.Linear(64, len(names)))
train_loader = DataLoader(CellFrame(train_df, tf_train), batch_size=32, shuffle=True)
val_loader = DataLoader(CellFrame(val_df, tf_val), batch_size=64)
criterion = nn.CrossEntropyLoss(ignore_index=-1)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
EPOCHS = 8
sched = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)

for epoch in range(EPOCHS):
    model.train()
    losses = []
    for x, y in train_loader:
        out = model(x)
        loss = criterion(out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    sched.step()
    print("epoch", epoch, "loss %.4f" % np.mean(losses))

model.eval()
preds = []
with torch.no_grad():
    for x, _ in val_loader:
        preds += model(x).argmax(1).tolist()
truth = val_df["folder"].map({n: i for i, n in enumerate(names)}).tolist()
print(dict(zip(names, recall_score(truth, preds, average=None, labels=range(8), zero_division=0).round(2))))
print("balanced acc: %.3f" % balanced_accuracy_score(truth, preds))
