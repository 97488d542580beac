"""Small hybrid transformer for blood cells. Long linear warm-up, then cosine. Strong augmentation."""
import math
import os

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

CONF = dict(size=32, per_class=280, test_per_class=50, batch=48, epochs=16, peak_lr=1.2e-3, warm=0.35, wd=0.02)
torch.manual_seed(6)

resize = v2.Compose([v2.PILToTensor(), v2.Resize((CONF["size"], CONF["size"]), antialias=True)])
augment = v2.Compose([
    v2.RandomHorizontalFlip(),
    v2.RandomVerticalFlip(),
    v2.RandomAffine(degrees=45, translate=(0.1, 0.1), scale=(0.85, 1.15), fill=210),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize([0.85, 0.74, 0.72], [0.17, 0.2, 0.1]),
    v2.RandomErasing(p=0.3, scale=(0.02, 0.12)),
])
plain = v2.Compose([
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize([0.85, 0.74, 0.72], [0.17, 0.2, 0.1]),
])


class Pick(Dataset):
    def __init__(self, images, labels, tf):
        self.images, self.labels, self.tf = images, labels, tf

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.tf(self.images[i]), self.labels[i]


class Hybrid(nn.Module):
    def __init__(self, k, d=64, depth=3):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1), nn.GELU(),
            nn.Conv2d(32, d, 3, 2, 1), nn.GELU(),
            nn.Conv2d(d, d, 2, 2),
        )
        self.pos = nn.Parameter(torch.zeros(1, 16, d))
        layer = nn.TransformerEncoderLayer(d, 4, 2 * d, dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
        self.enc = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(d), enable_nested_tensor=False)
        self.head = nn.Linear(d, k)

    def forward(self, x):
        t = self.stem(x).flatten(2).transpose(1, 2) + self.pos
        return self.head(self.enc(t).mean(1))


def load():
    folder = ImageFolder(os.path.join(os.environ.get("DATA", "data"), "pbc_128"))
    left = {}
    tr, te = ([], []), ([], [])
    for i in torch.randperm(len(folder)).tolist():
        path, c = folder.samples[i]
        n = left.get(c, 0)
        if n >= CONF["per_class"] + CONF["test_per_class"]:
            continue
        left[c] = n + 1
        dst = te if n < CONF["test_per_class"] else tr
        dst[0].append(resize(folder.loader(path)))
        dst[1].append(c)
    return Pick(*tr, augment), Pick(*te, plain), folder.classes


def main():
    train_ds, test_ds, classes = load()
    train_dl = DataLoader(train_ds, CONF["batch"], shuffle=True, drop_last=True)
    test_dl = DataLoader(test_ds, 200)
    model = Hybrid(len(classes))
    opt = torch.optim.AdamW(model.parameters(), lr=CONF["peak_lr"], weight_decay=CONF["wd"])
    total = CONF["epochs"] * len(train_dl)
    warm = int(CONF["warm"] * total)

    def factor(step):
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))

    sched = torch.optim.lr_scheduler.LambdaLR(opt, factor)
    for ep in range(CONF["epochs"]):
        model.train()
        s = 0.0
        for x, y in train_dl:
            loss = nn.functional.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            sched.step()
            s += loss.item()
        print(f"epoch {ep} lr {sched.get_last_lr()[0]:.2e} loss {s / len(train_dl):.4f}")
    model.eval()
    hits, total_c = torch.zeros(len(classes)), torch.zeros(len(classes))
    with torch.no_grad():
        for x, y in test_dl:
            p = model(x).argmax(1)
            for a, b in zip(y, p):
                total_c[a] += 1
                hits[a] += a == b
    for c, r in zip(classes, hits / total_c):
        print(f"{c:15s}{r:.3f}")
    print(f"mean recall {(hits / total_c).mean():.4f}")


if __name__ == "__main__":
    main()
