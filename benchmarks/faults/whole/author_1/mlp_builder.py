import random
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix

config = dict(
    hidden=[128, 96, 64],
    lr=0.05,
    momentum=0.9,
    batch=32,
    epochs=14,
    val_fraction=0.2,
    seed=42,
)


def set_seed(s):
    random.seed(s)
    torch.manual_seed(s)


def make_mlp(n_in, hidden, n_out):
    dims = [n_in] + list(hidden) + [n_out]
    layers = []
    for i in range(len(dims) - 1):
        layers.append(nn.Linear(dims[i], dims[i + 1]))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class DigitsModule:
    """a bit of Lightning-like structure without Lightning"""

    def __init__(self, cfg):
        self.cfg = cfg
        set_seed(cfg["seed"])
        self.net = make_mlp(64, cfg["hidden"], 10)
        self.opt = torch.optim.SGD(self.net.parameters(), lr=cfg["lr"], momentum=cfg["momentum"])
        self.prepare_data()

    def prepare_data(self):
        bunch = load_digits()
        x = torch.tensor(bunch.data, dtype=torch.float32)
        x = (x - x.mean()) / x.std()
        y = torch.tensor(bunch.target)
        perm = torch.randperm(len(x))
        n_val = int(self.cfg["val_fraction"] * len(x))
        self.val = (x[perm[:n_val]], y[perm[:n_val]])
        self.train = (x[perm[n_val:]], y[perm[n_val:]])

    def training_step(self, xb, yb):
        loss = F.cross_entropy(self.net(xb), yb)
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        return loss.item()

    def validation(self):
        self.net.eval()
        with torch.no_grad():
            out = self.net(self.val[0])
            loss = F.cross_entropy(out, self.val[1]).item()
        self.net.train()
        return loss, out.argmax(1)

    def fit(self):
        x, y = self.train
        bs = self.cfg["batch"]
        for ep in range(self.cfg["epochs"]):
            order = torch.randperm(len(x))
            tot = 0.0
            steps = 0
            for i in range(0, len(x), bs):
                j = order[i:i + bs]
                tot += self.training_step(x[j], y[j])
                steps += 1
            vl, pred = self.validation()
            acc = (pred == self.val[1]).float().mean().item()
            print("ep %2d | loss %.4f | val loss %.4f | val acc %.3f" % (ep, tot / steps, vl, acc))
        cm = confusion_matrix(self.val[1], pred, labels=list(range(10)))
        print(cm)
        print("recall:", (cm.diagonal() / cm.sum(1)).round(3))


if __name__ == "__main__":
    DigitsModule(config).fit()
