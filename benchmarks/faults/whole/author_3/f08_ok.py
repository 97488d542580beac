import os
import random
from argparse import Namespace

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, classification_report
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from torch.utils.data import DataLoader, Dataset

args = Namespace(
    root=os.path.join(os.environ.get("DATA", "data"), "trashnet"),
    size=40, batch=32, epochs=9, lr=2e-3, wd=0.02, seed=17, mixup=0.1,
)
random.seed(args.seed)
np.random.seed(args.seed)
torch.manual_seed(args.seed)

categories = ["cardboard", "glass", "metal", "paper", "plastic"]


def collect(root):
    image_paths, targets = [], []
    for i, cat in enumerate(categories):
        for name in os.listdir(os.path.join(root, cat)):
            image_paths.append(os.path.join(root, cat, name))
            targets.append(i)
    return image_paths, targets


image_paths, targets = collect(args.root)
pairs = list(zip(image_paths, targets))
random.shuffle(pairs)
image_paths, targets = zip(*pairs[:2000])

split = np.random.rand(len(image_paths)) < 0.8
train_list = [(p, t) for p, t, s in zip(image_paths, targets, split) if s]
val_list = [(p, t) for p, t, s in zip(image_paths, targets, split) if not s]
print(len(train_list), len(val_list))


class TrashSet(Dataset):
    mean = np.array([0.66, 0.63, 0.60], dtype=np.float32)
    std = np.array([0.21, 0.21, 0.23], dtype=np.float32)

    def __init__(self, samples, size, train):
        self.train = train
        self.y = [t for _, t in samples]
        self.x = []
        for p, _ in samples:
            img = Image.open(p).convert("RGB").resize((size, size), Image.BICUBIC)
            arr = (np.asarray(img, dtype=np.float32) / 255 - self.mean) / self.std
            self.x.append(torch.from_numpy(arr.transpose(2, 0, 1).copy()))

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        x = self.x[i]
        if self.train and random.random() < 0.5:
            x = x.flip(-1)
        return x, self.y[i]


train_dl = DataLoader(TrashSet(train_list, args.size, True), args.batch, shuffle=True, drop_last=True)
val_dl = DataLoader(TrashSet(val_list, args.size, False), 100)

model = timm.create_model("resnet10t", pretrained=False, num_classes=len(categories))
mixup_fn = Mixup(mixup_alpha=args.mixup, label_smoothing=0.05, num_classes=len(categories))
criterion = SoftTargetCrossEntropy()
optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.wd)
scheduler = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, max_lr=args.lr, total_steps=args.epochs * len(train_dl))


@torch.no_grad()
def predict():
    model.eval()
    ps, ts, losses = [], [], []
    for x, y in val_dl:
        o = model(x)
        losses.append(F.cross_entropy(o, y).item())
        ps += o.argmax(1).tolist()
        ts += y.tolist()
    return ts, ps, float(np.mean(losses))


for epoch in range(args.epochs):
    model.train()
    tot = 0
    for x, y in train_dl:
        x, y = mixup_fn(x, y)
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        tot += loss.item()
    ts, ps, vl = predict()
    print(f"ep{epoch} train {tot / len(train_dl):.3f} val {vl:.3f} "
          f"bal.acc {balanced_accuracy_score(ts, ps):.3f}", flush=True)

ts, ps, _ = predict()
print(classification_report(ts, ps, target_names=categories, zero_division=0))
