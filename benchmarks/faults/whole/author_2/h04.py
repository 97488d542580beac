"""CIFAR subset: cat, dog and deer next to easy classes. Strong augmentation, dropout, long warm-up."""
import os
import random
import torch
import torch.nn as nn
from PIL import Image
from torch.utils.data import Dataset, DataLoader
from torchvision import transforms as T

DATA = os.path.join(os.environ.get("DATA", "data"), "cifar10")
CLASSES = ["automobile", "cat", "deer", "dog", "frog", "ship"]
random.seed(13)
torch.manual_seed(13)


class Folder(Dataset):
    def __init__(self, split, per_class, tf):
        self.items, self.tf = [], tf
        for k, c in enumerate(CLASSES):
            d = os.path.join(DATA, split, c)
            names = random.sample(sorted(os.listdir(d)), per_class)
            for n in names:
                with Image.open(os.path.join(d, n)) as im:
                    self.items.append((im.convert("RGB"), k))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        im, k = self.items[i]
        return self.tf(im), k


norm = T.Normalize([0.49, 0.48, 0.45], [0.25, 0.24, 0.26])
train_tf = T.Compose([T.RandomCrop(32, padding=6), T.RandomHorizontalFlip(), T.ColorJitter(0.3, 0.3, 0.3),
                      T.ToTensor(), norm, T.RandomErasing(p=0.5, scale=(0.05, 0.2))])
test_tf = T.Compose([T.ToTensor(), norm])


def layer(i, o):
    return [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True), nn.MaxPool2d(2)]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(*layer(3, 24), *layer(24, 48), *layer(48, 96))
        self.d = nn.Dropout(0.5)
        self.l = nn.Linear(96 * 16, len(CLASSES))

    def forward(self, x):
        return self.l(self.d(self.f(x).flatten(1)))


def main(epochs=8, bs=40, lr=1.5e-3):
    tr = DataLoader(Folder("train", 320, train_tf), batch_size=bs, shuffle=True, drop_last=True)
    te = DataLoader(Folder("test", 100, test_tf), batch_size=200)
    net = Net()
    opt = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.05)
    total = epochs * len(tr)
    warm = int(0.4 * total)
    sched = torch.optim.lr_scheduler.LambdaLR(
        opt, lambda s: (s + 1) / warm if s < warm else max(0.05, (total - s) / (total - warm)))
    ce = nn.CrossEntropyLoss(label_smoothing=0.1)
    for ep in range(epochs):
        net.train()
        tot = 0.0
        for x, y in tr:
            loss = ce(net(x), y)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            sched.step()
            tot += loss.item()
        net.eval()
        hit, cnt = torch.zeros(6), torch.zeros(6)
        with torch.no_grad():
            for x, y in te:
                p = net(x).argmax(1)
                cnt += torch.bincount(y, minlength=6)
                hit += torch.bincount(y[p == y], minlength=6)
        print(f"epoch {ep:2d} lr {sched.get_last_lr()[0]:.5f} loss {tot / len(tr):.3f} acc {(hit.sum() / cnt.sum()).item():.3f}")
    for c, r in zip(CLASSES, (hit / cnt).tolist()):
        print(f"{c:12s}{r:.2f}")


if __name__ == "__main__":
    main()
