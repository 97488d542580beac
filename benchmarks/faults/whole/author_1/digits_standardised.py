import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 0
torch.manual_seed(SEED)
np.random.seed(SEED)

# ---------------------------------------------------------------- data
X, y = load_digits(return_X_y=True)
X = X.astype(np.float32)
X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.25, random_state=SEED, stratify=y)

mu = X_tr.mean(axis=0)
sigma = X_tr.std(axis=0)
X_tr = (X_tr - mu) / sigma
X_te = (X_te - mu) / sigma

train_dl = DataLoader(TensorDataset(torch.from_numpy(X_tr), torch.from_numpy(y_tr)), batch_size=32, shuffle=True)
test_dl = DataLoader(TensorDataset(torch.from_numpy(X_te), torch.from_numpy(y_te)), batch_size=450)

# ---------------------------------------------------------------- model


class MLP(nn.Module):
    def __init__(self, sizes, p=0.1):
        super().__init__()
        layers = []
        for a, b in zip(sizes[:-2], sizes[1:-1]):
            layers += [nn.Linear(a, b), nn.LeakyReLU(0.1), nn.Dropout(p)]
        layers.append(nn.Linear(sizes[-2], sizes[-1]))
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


model = MLP([64, 256, 128, 10])
optimizer = torch.optim.RMSprop(model.parameters(), lr=5e-4)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.95)
loss_function = nn.CrossEntropyLoss()

# ---------------------------------------------------------------- loop
for epoch in range(15):
    model.train()
    batch_losses = []
    for xb, yb in train_dl:
        optimizer.zero_grad()
        loss = loss_function(model(xb), yb)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        batch_losses.append(loss.item())
    scheduler.step()

    model.eval()
    with torch.no_grad():
        correct = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in test_dl)
    print(f"epoch {epoch + 1:2d}  loss {np.mean(batch_losses):.4f}  test acc {correct / len(y_te):.4f}")

# ---------------------------------------------------------------- report
model.eval()
with torch.no_grad():
    pred = model(torch.from_numpy(X_te)).argmax(1).numpy()
for d in range(10):
    m = y_te == d
    print(f"digit {d}: {100 * (pred[m] == d).mean():5.1f}%  ({m.sum()} samples)")
print("final accuracy", (pred == y_te).mean())
