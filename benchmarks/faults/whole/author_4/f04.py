import os, time
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
import torchmetrics

DATA = os.environ.get("DATA", "data")
KEEP = ["airplane", "automobile", "frog", "horse", "ship"]
MEAN = torch.tensor([0.49, 0.48, 0.45]).view(1, 3, 1, 1)
STD = torch.tensor([0.23, 0.23, 0.25]).view(1, 3, 1, 1)


class Cached(Dataset):
    """uint8 images in memory, limited number per class"""

    def __init__(self, split, limit, size=32):
        src = ImageFolder(os.path.join(DATA, "cifar10", split))
        count = {c: 0 for c in KEEP}
        resize = v2.Compose([v2.PILToTensor(), v2.Resize((size, size), antialias=True)])
        self.x, self.y = [], []
        for path, t in src.samples:
            name = src.classes[t]
            if name in count and count[name] < limit:
                count[name] += 1
                self.x.append(resize(src.loader(path)))
                self.y.append(KEEP.index(name))

    def __getitem__(self, i):
        return self.x[i], self.y[i]

    def __len__(self):
        return len(self.y)


class Net(nn.Module):
    def __init__(self, n=5):
        super().__init__()
        self.c1 = nn.Conv2d(3, 32, 3, padding=1)
        self.c2 = nn.Conv2d(32, 48, 3, padding=1)
        self.c3 = nn.Conv2d(48, 64, 3, padding=1)
        self.fc1 = nn.Linear(64 * 16, 96)
        self.fc2 = nn.Linear(96, n)

    def forward(self, x):
        x = F.max_pool2d(F.leaky_relu(self.c1(x), 0.1), 2)
        x = F.max_pool2d(F.leaky_relu(self.c2(x), 0.1), 2)
        x = F.max_pool2d(F.leaky_relu(self.c3(x), 0.1), 2)
        x = F.dropout(F.leaky_relu(self.fc1(x.flatten(1)), 0.1), 0.3, self.training)
        return self.fc2(x)


class Learner:
    def __init__(self, epochs=6):
        self.train_loader = DataLoader(Cached("train", 600), batch_size=64, shuffle=True)
        self.val_loader = DataLoader(Cached("test", 100), batch_size=125)
        self.model = Net()
        self.epochs = epochs
        self.opt = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        self.sched = torch.optim.lr_scheduler.CosineAnnealingLR(self.opt, epochs)
        self.acc = torchmetrics.Accuracy(task="multiclass", num_classes=5)
        self.recall = torchmetrics.Recall(task="multiclass", num_classes=5, average="none")
        self.flip = v2.RandomHorizontalFlip()

    def train_one(self):
        self.model.train()
        self.acc.reset()
        for x, y in self.train_loader:
            x = self.flip(x).float()
            x = (x / 255 - MEAN) / STD
            out = self.model(x)
            loss = F.cross_entropy(out, y)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            self.acc.update(out.detach(), y)
        return loss.item(), self.acc.compute().item()

    @torch.inference_mode()
    def validate(self):
        self.model.eval()
        self.acc.reset()
        self.recall.reset()
        for x, y in self.val_loader:
            x = x.float() / 255
            out = self.model(x)
            self.acc.update(out, y)
            self.recall.update(out, y)
        return self.acc.compute().item(), self.recall.compute()

    def fit(self):
        for ep in range(self.epochs):
            t0 = time.time()
            l, a = self.train_one()
            va, rec = self.validate()
            self.sched.step()
            print(f"{ep:3d} loss={l:.3f} train={a:.3f} val={va:.3f} ({time.time() - t0:.1f}s)")
        print({k: round(r.item(), 3) for k, r in zip(KEEP, rec)})
        print("final val acc", round(va, 4))


if __name__ == "__main__":
    torch.manual_seed(5)
    Learner().fit()
