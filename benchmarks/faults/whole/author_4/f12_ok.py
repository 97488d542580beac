# 4-fold cross validation of a small residual conv net on the sklearn digits
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from sklearn.model_selection import StratifiedKFold
from torch.utils.data import DataLoader, Subset, TensorDataset

EPOCHS = 4
BS = 64
K = 4
torch.manual_seed(2024)


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a = nn.Conv2d(c, c, 3, padding=1)
        self.b = nn.Conv2d(c, c, 3, padding=1)
        self.n1 = nn.GroupNorm(4, c)
        self.n2 = nn.GroupNorm(4, c)

    def forward(self, x):
        h = F.silu(self.n1(self.a(x)))
        return F.silu(x + self.n2(self.b(h)))


def make_model():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.SiLU(),
        Residual(32),
        nn.MaxPool2d(2),
        Residual(32),
        nn.Flatten(),
        nn.Linear(32 * 16, 64),
        nn.SiLU(),
        nn.Dropout(0.2),
        nn.Linear(64, 10),
    )


digits = load_digits()
X = torch.tensor(digits.data, dtype=torch.float32).view(-1, 1, 8, 8)
X = (X - X.mean()) / X.std()
y = torch.tensor(digits.target)
full = TensorDataset(X, y)

loss_fn = nn.CrossEntropyLoss()
skf = StratifiedKFold(n_splits=K, shuffle=True, random_state=1)
scores = []
all_true, all_pred = [], []
model = make_model()
optimizer = torch.optim.RMSprop(model.parameters(), lr=5e-4)
print("parameters:", sum(p.numel() for p in model.parameters()))

for fold, (tr, va) in enumerate(skf.split(digits.data, digits.target), 1):
    # fresh weights for every fold, otherwise the validation part leaks
    model = make_model()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=5e-4)
    train_loader = DataLoader(Subset(full, tr.tolist()), batch_size=BS, shuffle=True)
    val_loader = DataLoader(Subset(full, va.tolist()), batch_size=256)

    for ep in range(EPOCHS):
        model.train()
        ep_loss = 0.0
        for xb, yb in train_loader:
            model.zero_grad()
            out = model(xb)
            loss = loss_fn(out, yb)
            loss.backward()
            optimizer.step()
            ep_loss += loss.item() * len(xb)
        print(f"fold {fold} epoch {ep + 1} loss {ep_loss / len(tr):.4f}")

    model.eval()
    preds = []
    with torch.no_grad():
        for xb, _ in val_loader:
            preds.append(model(xb).argmax(dim=1).numpy())
    preds = np.concatenate(preds)
    truth = digits.target[va]
    s = balanced_accuracy_score(truth, preds)
    scores.append(s)
    all_true.append(truth)
    all_pred.append(preds)
    print(f"== fold {fold}: balanced accuracy {s:.4f}")

cm = confusion_matrix(np.concatenate(all_true), np.concatenate(all_pred))
print(cm)
print("per class recall", np.round(cm.diagonal() / cm.sum(1), 3))
print(f"CV balanced accuracy {np.mean(scores):.4f} +- {np.std(scores):.4f}")
