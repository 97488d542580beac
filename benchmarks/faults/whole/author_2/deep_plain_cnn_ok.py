import os
import torch
import torch.nn as nn
import torch.nn.init as init
import torchvision.transforms as tt
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchmetrics import Accuracy, MeanMetric

DATA_DIR = os.path.join(os.environ.get("DATA", "data"), "pbc_128")
torch.manual_seed(99)


def conv3x3(i, o, pool=False):
    layers = [nn.Conv2d(i, o, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return layers


class PlainNet(nn.Module):
    """conv stack in the style of VGG-11, narrow"""

    def __init__(self, num_classes=8):
        super().__init__()
        self.features = nn.Sequential(
            *conv3x3(3, 24, pool=True),
            *conv3x3(24, 32), *conv3x3(32, 32, pool=True),
            *conv3x3(32, 48), *conv3x3(48, 48, pool=True),
            *conv3x3(48, 64), *conv3x3(64, 64),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(64 * 16, 128), nn.ReLU(), nn.Linear(128, num_classes))
        self._init_weights()

    def _init_weights(self):
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                init.kaiming_normal_(m.weight, nonlinearity="relu")
                init.zeros_(m.bias)
            elif isinstance(m, nn.Linear):
                init.normal_(m.weight, mean=0.0, std=0.01)
                init.zeros_(m.bias)

    def forward(self, xb):
        return self.classifier(self.features(xb))


def load(n_train, n_val):
    ds = ImageFolder(DATA_DIR, tt.Compose([tt.Resize((32, 32)), tt.ToTensor(), tt.Normalize([.5] * 3, [.25] * 3)]))
    seen, train, val = {}, [], []
    for i in torch.randperm(len(ds)).tolist():
        c = ds.targets[i]
        k = seen.get(c, 0)
        if k >= n_train + n_val:
            continue
        (val if k < n_val else train).append(ds[i])
        seen[c] = k + 1
    return train, val, ds.classes


@torch.no_grad()
def validate(model, dl, n):
    model.eval()
    micro = Accuracy(task="multiclass", num_classes=n, average="micro")
    per = Accuracy(task="multiclass", num_classes=n, average=None)
    for xb, yb in dl:
        p = model(xb).argmax(dim=1)
        micro.update(p, yb)
        per.update(p, yb)
    return micro.compute().item(), per.compute()


def fit(epochs, max_lr, model, train_dl, val_dl, n):
    opt = torch.optim.SGD(model.parameters(), max_lr, momentum=0.9, weight_decay=1e-4)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr, epochs=epochs, steps_per_epoch=len(train_dl))
    for epoch in range(epochs):
        model.train()
        avg = MeanMetric()
        for xb, yb in train_dl:
            loss = nn.functional.cross_entropy(model(xb), yb)
            loss.backward()
            nn.utils.clip_grad_value_(model.parameters(), 0.5)
            opt.step()
            opt.zero_grad()
            sched.step()
            avg.update(loss.detach())
        acc, _ = validate(model, val_dl, n)
        print("Epoch [{}], train_loss: {:.4f}, val_acc: {:.4f}".format(epoch, avg.compute().item(), acc))


if __name__ == "__main__":
    train, val, classes = load(220, 50)
    train_dl = DataLoader(train, 32, shuffle=True)
    val_dl = DataLoader(val, 100)
    model = PlainNet(len(classes))
    fit(9, 0.03, model, train_dl, val_dl, len(classes))
    acc, per = validate(model, val_dl, len(classes))
    print("final", round(acc, 4))
    for c, a in zip(classes, per.tolist()):
        print("   ", c, round(a, 3))
