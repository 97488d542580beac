"""Trash sorting at low resolution: a difficult task, strong augmentation, small step size."""
import os
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T
from torchvision.datasets.folder import default_loader

CONFIG = {"size": 32, "epochs": 12, "batch": 32, "lr": 1e-3, "per_class": 250, "val": 50}
ROOT = os.path.join(os.environ.get("DATA", "data"), "trashnet")
CLASSES = ["cardboard", "glass", "metal", "paper"]

train_tf = T.Compose([
    T.RandomResizedCrop(CONFIG["size"], scale=(0.5, 1.0)),
    T.RandomHorizontalFlip(),
    T.RandomVerticalFlip(),
    T.ColorJitter(0.2, 0.2, 0.2),
    T.ToTensor(),
    T.Normalize([0.5] * 3, [0.25] * 3),
    T.RandomErasing(p=0.25, scale=(0.02, 0.1)),
])
val_tf = T.Compose([T.Resize((CONFIG["size"], CONFIG["size"])), T.ToTensor(), T.Normalize([0.5] * 3, [0.25] * 3)])


class Trash(Dataset):
    def __init__(self, split):
        self.tf = train_tf if split == "train" else val_tf
        self.imgs = []
        for k, c in enumerate(CLASSES):
            fs = sorted(os.listdir(os.path.join(ROOT, c)))
            part = fs[:CONFIG["val"]] if split == "val" else fs[CONFIG["val"]:CONFIG["val"] + CONFIG["per_class"]]
            for f in part:
                self.imgs.append((default_loader(os.path.join(ROOT, c, f)).resize((48, 48)), k))

    def __len__(self):
        return len(self.imgs)

    def __getitem__(self, i):
        im, k = self.imgs[i]
        return self.tf(im), k


def block(i, o):
    return [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True), nn.MaxPool2d(2)]


class Sorter(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(*block(3, 24), *block(24, 48), *block(48, 96))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(96, len(CLASSES))

    def forward(self, x):
        return self.fc(self.pool(self.features(x)).flatten(1))


def main():
    torch.manual_seed(4)
    train_dl = DataLoader(Trash("train"), CONFIG["batch"], shuffle=True, drop_last=True)
    val_dl = DataLoader(Trash("val"), 50)
    model = Sorter()
    opt = torch.optim.Adam(model.parameters(), lr=CONFIG["lr"])
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, CONFIG["epochs"])
    crit = nn.CrossEntropyLoss()
    for ep in range(CONFIG["epochs"]):
        model.train()
        s = 0.0
        for x, y in train_dl:
            opt.zero_grad()
            loss = crit(model(x), y)
            loss.backward()
            opt.step()
            s += loss.item()
        sched.step()
        model.eval()
        ok = torch.zeros(len(CLASSES))
        n = torch.zeros(len(CLASSES))
        with torch.no_grad():
            for x, y in val_dl:
                p = model(x).argmax(1)
                ok += torch.bincount(y[p == y], minlength=len(CLASSES))
                n += torch.bincount(y, minlength=len(CLASSES))
        print(f"epoch {ep + 1:2d} loss {s / len(train_dl):.3f} val acc {ok.sum() / n.sum():.3f}")
    print({c: round(r, 2) for c, r in zip(CLASSES, (ok / n).tolist())})


if __name__ == "__main__":
    main()
