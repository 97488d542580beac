"""
Stage 1: supervised pre-training on the source slides.
Stage 2: linear probe on a small target set, backbone fixed.
"""
import os
import tempfile
from collections import OrderedDict

import torch
import torch.nn as nn
import torchvision
from torchvision import transforms as T
from torch.utils.data import DataLoader, TensorDataset

ROOT = os.path.join(os.environ.get("DATA", "data"), "pbc_128")
CKPT = os.path.join(tempfile.mkdtemp(), "stage1.pth")
RES = 32


def basic(cin, cout, stride):
    return nn.Sequential(OrderedDict([
        ("conv1", nn.Conv2d(cin, cout, 3, stride, 1, bias=False)),
        ("bn1", nn.BatchNorm2d(cout)),
        ("act1", nn.ReLU()),
        ("conv2", nn.Conv2d(cout, cout, 3, 1, 1, bias=False)),
        ("bn2", nn.BatchNorm2d(cout)),
        ("act2", nn.ReLU()),
    ]))


class Backbone(nn.Module):
    def __init__(self, w=20):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, w, 3, 1, 1, bias=False), nn.BatchNorm2d(w), nn.ReLU(), nn.MaxPool2d(2))
        self.layer1 = basic(w, w, 1)
        self.layer2 = basic(w, 2 * w, 2)
        self.layer3 = basic(2 * w, 3 * w, 2)
        self.layer4 = basic(3 * w, 4 * w, 1)
        self.dim = 4 * w

    def forward(self, x):
        x = self.stem(x)
        for l in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = l(x)
        return x.mean((2, 3))


class Classifier(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.backbone = Backbone()
        self.head = nn.Linear(self.backbone.dim, n)

    def forward(self, x):
        return self.head(self.backbone(x))


def read_images(per_class, skip):
    tf = T.Compose([T.Resize(RES), T.ToTensor(), T.Normalize([.8, .7, .75], [.2, .22, .12])])
    folder = torchvision.datasets.ImageFolder(ROOT)
    seen, x, y = [0] * len(folder.classes), [], []
    for path, c in folder.samples:
        k = seen[c]
        seen[c] += 1
        if skip <= k < skip + per_class:
            x.append(tf(folder.loader(path)))
            y.append(c)
    return TensorDataset(torch.stack(x), torch.tensor(y)), folder.classes


def accuracy_per_class(model, ds, n):
    model.eval()
    ok, tot = torch.zeros(n), torch.zeros(n)
    with torch.no_grad():
        for x, y in DataLoader(ds, 256):
            hit = (model(x).argmax(1) == y).float()
            ok.index_add_(0, y, hit)
            tot.index_add_(0, y, torch.ones_like(hit))
    return ok / tot


def pretrain():
    ds, classes = read_images(260, 0)
    model = nn.DataParallel(Classifier(len(classes)))
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    loader = DataLoader(ds, 64, shuffle=True, drop_last=True)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 0.05, total_steps=6 * len(loader))
    for ep in range(6):
        model.train()
        s = 0
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            s += loss.item()
        print("stage1 epoch", ep, "loss %.3f" % (s / len(loader)))
    torch.save({"epoch": ep, "state_dict": model.state_dict()}, CKPT)


def probe():
    train_ds, classes = read_images(60, 300)
    test_ds, _ = read_images(60, 400)
    model = Classifier(len(classes))
    state = torch.load(CKPT, map_location="cpu")["state_dict"]
    state = {k.replace("module.", "", 1): v for k, v in state.items()}
    state = {k: v for k, v in state.items() if "head" not in k}   # new head for the new task
    model.load_state_dict(state, strict=False)
    for p in model.backbone.parameters():
        p.requires_grad = False
    opt = torch.optim.Adam(model.head.parameters(), lr=3e-3)
    loader = DataLoader(train_ds, 32, shuffle=True)
    for ep in range(14):
        model.eval()      # keep the backbone's BN as it is
        s = 0
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            s += loss.item()
        if ep % 4 == 0:
            print("probe epoch", ep, "loss %.3f" % (s / len(loader)))
    rec = accuracy_per_class(model, test_ds, len(classes))
    for c, r in zip(classes, rec):
        print(f"{c:15s}{r:.3f}")
    print("mean per-class accuracy", round(rec.mean().item(), 4))


if __name__ == "__main__":
    torch.manual_seed(11)
    pretrain()
    probe()
