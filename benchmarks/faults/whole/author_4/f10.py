# Row-by-row GRU for digits, same idea as the sequential MNIST tutorial
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from sklearn.datasets import load_digits
from sklearn.metrics import recall_score
from sklearn.model_selection import StratifiedShuffleSplit


class RowGRU(nn.Module):
    """Each image row is one time step, seq-first like nn.GRU expects by default."""

    def __init__(self, n_in=8, n_hidden=64, n_layers=2, n_out=10):
        super().__init__()
        self.n_in = n_in
        self.inp = nn.Linear(n_in, n_hidden)
        self.rnn = nn.GRU(n_hidden, n_hidden, num_layers=n_layers, dropout=0.1)
        self.head = nn.Sequential(nn.LayerNorm(n_hidden), nn.Linear(n_hidden, n_out))

    def forward(self, img):
        b, rows, cols = img.shape
        seq = img.view(rows, b, cols)
        seq = torch.tanh(self.inp(seq))
        out, _ = self.rnn(seq)
        return self.head(out[-1])


class Trainer:
    def __init__(self, model, lr=3e-3, clip=1.0):
        self.model = model
        self.opt = torch.optim.Adam(model.parameters(), lr=lr)
        self.sched = torch.optim.lr_scheduler.StepLR(self.opt, step_size=10, gamma=0.3)
        self.clip = clip

    def batches(self, X, y, bs, shuffle):
        order = np.random.permutation(len(X)) if shuffle else np.arange(len(X))
        for s in range(0, len(X), bs):
            j = order[s:s + bs]
            yield X[j], y[j]

    def fit(self, X, y, Xv, yv, epochs, bs=50):
        for ep in range(epochs):
            self.model.train()
            losses = []
            for xb, yb in self.batches(X, y, bs, True):
                self.opt.zero_grad()
                loss = F.cross_entropy(self.model(xb), yb)
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
                self.opt.step()
                losses.append(loss.item())
            self.sched.step()
            pv = self.predict(Xv)
            print(f"epoch {ep:2d} loss {np.mean(losses):.3f} val_acc {(pv == yv.numpy()).mean():.3f}")

    @torch.no_grad()
    def predict(self, X, bs=50):
        self.model.eval()
        return torch.cat([self.model(X[s:s + bs]).argmax(-1) for s in range(0, len(X), bs)]).numpy()


def load():
    bunch = load_digits()
    X = torch.as_tensor(bunch.images / 8.0 - 1.0, dtype=torch.float32)
    y = torch.as_tensor(bunch.target)
    split = StratifiedShuffleSplit(1, test_size=297, random_state=7)
    a, b = next(split.split(bunch.images.reshape(len(X), -1), bunch.target))
    return X[a], y[a], X[b], y[b]


if __name__ == "__main__":
    np.random.seed(7)
    torch.manual_seed(7)
    Xtr, ytr, Xte, yte = load()
    print(Xtr.shape, Xte.shape)
    trainer = Trainer(RowGRU())
    trainer.fit(Xtr, ytr, Xte, yte, epochs=14)
    pred = trainer.predict(Xte)
    rec = recall_score(yte.numpy(), pred, average=None, zero_division=0)
    for d, r in enumerate(rec):
        print(f"digit {d}: recall {r:.3f}")
    print("mean recall %.3f" % rec.mean())
