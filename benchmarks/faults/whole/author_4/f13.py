import numpy as np
import torch, torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from sklearn.model_selection import train_test_split
from torch.utils.data import TensorDataset, DataLoader
from torchmetrics.classification import MulticlassRecall, MulticlassAccuracy

torch.manual_seed(31)

X, y = load_digits(return_X_y=True)
Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.2, random_state=31, stratify=y)
sc = StandardScaler().fit(Xtr)
Xtr, Xte = sc.transform(Xtr).astype(np.float32), sc.transform(Xte).astype(np.float32)

train = DataLoader(TensorDataset(torch.from_numpy(Xtr), torch.from_numpy(ytr)), batch_size=16, shuffle=True)
test = DataLoader(TensorDataset(torch.from_numpy(Xte), torch.from_numpy(yte)), batch_size=64)

ACCUM = 2   # effective batch 32
EPOCHS = 10

model = nn.Sequential(
    nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(),
    nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU(),
    nn.Dropout(0.2),
    nn.Linear(128, 64), nn.ReLU(),
    nn.Linear(64, 10),
)
opt = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
scheduler = torch.optim.lr_scheduler.StepLR(opt, step_size=4, gamma=0.3)
crit = nn.CrossEntropyLoss()

for epoch in range(EPOCHS):
    model.train()
    total = 0
    opt.zero_grad()
    for i, (xb, yb) in enumerate(train):
        out = model(xb)
        loss = crit(out, yb) / ACCUM
        loss.backward()
        total += loss.item() * ACCUM
        if (i + 1) % ACCUM == 0 or i + 1 == len(train):
            opt.step()
            opt.zero_grad()
            scheduler.step()
    model.eval()
    acc = MulticlassAccuracy(10, average="micro")
    with torch.no_grad():
        for xb, yb in test:
            acc.update(model(xb), yb)
    print(f"epoch {epoch + 1:>2} | loss {total / len(train):.4f} | test acc {acc.compute():.4f}")

rec = MulticlassRecall(10, average=None)
model.eval()
with torch.no_grad():
    for xb, yb in test:
        rec.update(model(xb), yb)
r = rec.compute()
print("recalls:", [round(v, 3) for v in r.tolist()])
print("macro recall: %.4f" % r.mean())
