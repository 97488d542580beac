# Minimal ViT on 8x8 digits, 2x2 patches
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedShuffleSplit

torch.manual_seed(1)


class Block(nn.Module):
    def __init__(self, d, heads, mlp=2, drop=0.0):
        super().__init__()
        self.n1 = nn.LayerNorm(d)
        self.attn = nn.MultiheadAttention(d, heads, batch_first=True, dropout=drop)
        self.n2 = nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, d * mlp), nn.GELU(), nn.Linear(d * mlp, d))

    def forward(self, x):
        h = self.n1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.n2(x))


class ViT(nn.Module):
    def __init__(self, img=8, patch=2, d=48, depth=3, heads=4, classes=10):
        super().__init__()
        self.embed = nn.Conv2d(1, d, patch, patch)
        n = (img // patch) ** 2
        self.cls = nn.Parameter(torch.zeros(1, 1, d))
        self.pos = nn.Parameter(torch.randn(1, n + 1, d) * 0.02)
        self.blocks = nn.ModuleList([Block(d, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, classes)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.size(0), -1, -1), x], dim=1) + self.pos
        for b in self.blocks:
            x = b(x)
        return self.head(self.norm(x[:, 0]))


def batches(X, y, bs, shuffle=True):
    order = torch.randperm(len(X)) if shuffle else torch.arange(len(X))
    for i in range(0, len(X), bs):
        j = order[i:i + bs]
        yield X[j], y[j]


d = load_digits()
X = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1)
X = (X - X.mean()) / X.std()
y = torch.tensor(d.target)
tr, te = next(StratifiedShuffleSplit(1, test_size=0.2, random_state=0).split(X, y))
Xtr, ytr, Xte, yte = X[tr], y[tr], X[te], y[te]

model = ViT()
# recipe from the ViT paper: beta2 0.999, wd 0.3, linear warmup then cosine
EPOCHS, BS, LR = 22, 64, 2e-3
optimizer = torch.optim.Adam(model.parameters(), lr=LR, betas=(0.9, 0.999), weight_decay=0.3)
steps = EPOCHS * ((len(Xtr) + BS - 1) // BS)
warm = 40
sched = torch.optim.lr_scheduler.SequentialLR(
    optimizer,
    [torch.optim.lr_scheduler.LinearLR(optimizer, 0.05, 1.0, warm),
     torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - warm)], milestones=[warm])
loss_fn = nn.CrossEntropyLoss(label_smoothing=0.05)

for epoch in range(EPOCHS):
    model.train()
    tot = 0.0
    for xb, yb in batches(Xtr, ytr, BS):
        loss = loss_fn(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        sched.step()
        tot += loss.item() * len(xb)
    model.eval()
    with torch.no_grad():
        acc = (model(Xte).argmax(1) == yte).float().mean().item()
    print(f"{epoch:3d}  train {tot / len(Xtr):.4f}  test acc {acc:.4f}")

with torch.no_grad():
    pred = model(Xte).argmax(1)
for k in range(10):
    m = yte == k
    print("digit", k, "recall", round((pred[m] == k).float().mean().item(), 3))
