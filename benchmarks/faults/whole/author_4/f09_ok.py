"""Cell type classifier, weighted loss because the lab has few basophils and eosinophils."""
import os
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
import torch.nn as nn
import torchvision.transforms.functional as TF
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from torch.utils.data import DataLoader, Dataset

SEED, SIZE, BATCH, EPOCHS = 8, 32, 32, 6
root = Path(os.environ.get("DATA", "data")) / "pbc_128"
rng = np.random.default_rng(SEED)
torch.manual_seed(SEED)

available = {"basophil": 45, "eosinophil": 110, "lymphocyte": 300, "neutrophil": 500, "platelet": 900}

records = []
for cell, n in available.items():
    files = rng.permutation(sorted(str(p) for p in (root / cell).glob("*.jpg")))
    for f in files[:n]:
        records.append({"file": f, "cell": cell, "part": "train"})
    for f in files[n:n + 70]:
        records.append({"file": f, "cell": cell, "part": "test"})
table = pd.DataFrame(records)
names = sorted(table.cell.unique())
table["y"] = table.cell.apply(names.index)
train_t = table[table.part == "train"].reset_index(drop=True)
test_t = table[table.part == "test"].reset_index(drop=True)


class Cells(Dataset):
    def __init__(self, t, augment):
        self.t, self.augment = t, augment
        self.cache = {}

    def __len__(self):
        return len(self.t)

    def load(self, i):
        if i not in self.cache:
            im = Image.open(self.t.file[i]).convert("RGB").resize((SIZE, SIZE), Image.BICUBIC)
            self.cache[i] = TF.normalize(TF.to_tensor(im), [0.85, 0.74, 0.72], [0.17, 0.2, 0.1])
        return self.cache[i]

    def __getitem__(self, i):
        x = self.load(i)
        if self.augment:
            if torch.rand(1) < 0.5:
                x = torch.flip(x, [2])
            x = torch.rot90(x, int(torch.randint(0, 4, (1,))), [1, 2])
        return x, int(self.t.y[i])


dl_train = DataLoader(Cells(train_t, True), BATCH, shuffle=True, drop_last=True)
dl_test = DataLoader(Cells(test_t, False), 100)

counts = train_t["y"].value_counts().sort_index()
print(dict(zip(names, counts)))
w = 1.0 / torch.tensor(counts.values, dtype=torch.float32)
w = w / w.sum() * len(w)

model = timm.create_model("resnet10t", pretrained=False, num_classes=len(names), in_chans=3)
loss_fn = nn.CrossEntropyLoss(weight=w, label_smoothing=0.05)
optim = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
sched = torch.optim.lr_scheduler.OneCycleLR(optim, max_lr=1e-3, epochs=EPOCHS, steps_per_epoch=len(dl_train))

for epoch in range(EPOCHS):
    model.train()
    s, n = 0.0, 0
    for x, y in dl_train:
        loss = loss_fn(model(x), y)
        optim.zero_grad(set_to_none=True)
        loss.backward()
        optim.step()
        sched.step()
        s, n = s + loss.item(), n + 1
    print(f"epoch {epoch}: weighted loss {s / n:.4f}")

model.eval()
out = []
with torch.no_grad():
    for x, _ in dl_test:
        out.append(model(x).softmax(1).argmax(1))
out = torch.cat(out).numpy()
truth = test_t.y.values
cm = confusion_matrix(truth, out)
print(pd.DataFrame(cm, names, names))
print("recall", dict(zip(names, (cm.diagonal() / cm.sum(1)).round(3))))
print("balanced accuracy %.4f" % balanced_accuracy_score(truth, out))
