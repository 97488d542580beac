"""Blood cells with a slim torchvision ResNet."""
import os
import time
import torch
import torch.nn as nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset, random_split
from torchvision import datasets, transforms
from torchvision.models.resnet import ResNet, BasicBlock

config = {
    "data": os.path.join(os.environ.get("DATA", "data"), "pbc_128"),
    "image_size": 32,
    "batch_size": 32,
    "epochs": 8,
    "lr": 0.05,
    "step_size": 3,
    "gamma": 0.2,
}
torch.manual_seed(2024)


class WithTransform(Dataset):
    def __init__(self, base, transform):
        self.base, self.transform = base, transform

    def __len__(self):
        return len(self.base)

    def __getitem__(self, i):
        img, y = self.base[i]
        return self.transform(img), y


class Cached(Dataset):
    def __init__(self, folder, n):
        keep = torch.randperm(len(folder))[:n].tolist()
        self.data = [folder[i] for i in keep]

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self.data[i]


def build_loaders(cfg):
    s = cfg["image_size"]
    folder = datasets.ImageFolder(cfg["data"], transforms.Resize((s, s)))
    base = Cached(folder, 1800)
    n_val = 360
    tr, va = random_split(base, [len(base) - n_val, n_val])
    norm = [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    aug = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(s, padding=3, padding_mode="reflect")]
    return (DataLoader(WithTransform(tr, transforms.Compose(aug + norm)), cfg["batch_size"], shuffle=True),
            DataLoader(WithTransform(va, transforms.Compose(norm)), 128), folder.classes)


def slim_resnet(num_classes):
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=num_classes)
    net.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
    net.layer4 = nn.Identity()
    net.fc = nn.Linear(256, num_classes)
    return net


def evaluate(net, loader, n):
    net.eval()
    right, seen = torch.zeros(n), torch.zeros(n)
    with torch.no_grad():
        for x, y in loader:
            p = net(x).argmax(1)
            seen += torch.bincount(y, minlength=n)
            right += torch.bincount(y[p == y], minlength=n)
    return right / seen.clamp(min=1), (right.sum() / seen.sum()).item()


train_loader, val_loader, classes = build_loaders(config)
net = slim_resnet(len(classes))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=config["lr"], momentum=0.9, weight_decay=5e-4)
scheduler = StepLR(optimizer, step_size=config["step_size"], gamma=config["gamma"])

for epoch in range(config["epochs"]):
    t0 = time.time()
    net.train()
    running = 0.0
    for inputs, labels in train_loader:
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        running += loss.item()
    rec, acc = evaluate(net, val_loader, len(classes))
    print(f"epoch {epoch + 1} loss {running / len(train_loader):.3f} val acc {acc:.3f} ({time.time() - t0:.0f}s)")

print("per class recall:", {c: round(r, 2) for c, r in zip(classes, rec.tolist())})
