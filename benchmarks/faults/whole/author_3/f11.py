import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from torch.utils.data import DataLoader, Subset, TensorDataset

# 3-fold CV on digits, one model per fold, mean accuracy at the end
torch.manual_seed(99)
N_SPLITS = 3
N_EPOCHS = 8
device = "cpu"


class MLP(nn.Module):
    def __init__(self, sizes=(64, 128, 64, 10), p=0.1):
        super().__init__()
        layers = []
        for i in range(len(sizes) - 2):
            layers += [nn.Linear(sizes[i], sizes[i + 1]), nn.BatchNorm1d(sizes[i + 1]),
                       nn.ReLU(), nn.Dropout(p)]
        layers.append(nn.Linear(sizes[-2], sizes[-1]))
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x.flatten(1))


def train_step(model, loader, loss_fn, optimizer):
    model.train()
    total = 0.0
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    return total / len(loader.dataset)


def val_step(model, loader):
    model.eval()
    conf = np.zeros((10, 10), dtype=int)
    with torch.no_grad():
        for x, y in loader:
            p = model(x.to(device)).argmax(1)
            np.add.at(conf, (y.numpy(), p.cpu().numpy()), 1)
    return conf


def main():
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 1, 8, 8).astype("float32")
    X = (X - X.mean()) / X.std()
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))

    model = MLP().to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)

    skf = StratifiedKFold(n_splits=N_SPLITS, shuffle=True, random_state=0)
    scores, total_conf = [], np.zeros((10, 10), dtype=int)
    for fold, (tr, va) in enumerate(skf.split(X, y)):
        print(f"---- fold {fold} ----")
        model = MLP().to(device)
        train_loader = DataLoader(Subset(dataset, tr), batch_size=32, shuffle=True, drop_last=True)
        val_loader = DataLoader(Subset(dataset, va), batch_size=256)
        for epoch in range(N_EPOCHS):
            loss = train_step(model, train_loader, criterion, optimizer)
            conf = val_step(model, val_loader)
            acc = conf.trace() / conf.sum()
            print(f"epoch {epoch:2d} | loss {loss:.4f} | val acc {acc:.4f}")
        scores.append(acc)
        total_conf += conf

    print("CV accuracy: %.3f +- %.3f" % (np.mean(scores), np.std(scores)))
    print("per class:", np.round(total_conf.diagonal() / total_conf.sum(1), 3))


if __name__ == "__main__":
    main()
