"""CIFAR subset, network described by a list (like the VGG cfg), homework 2 part c."""
import os
from collections import defaultdict

import torch
import torch.nn as nn
from torch.optim.lr_scheduler import MultiStepLR
from torch.utils.data import DataLoader, Subset
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

torch.manual_seed(31)
cifar = os.path.join(os.environ.get("DATA", "data"), "cifar10")

ARCH = [
    ("conv", 3, 16, 1),
    ("conv", 16, 32, 2),
    ("conv", 32, 48, 2),
    ("pool",),
    ("fc", 48 * 4 * 4, 64),
    ("fc", 64, 10),
]


def build(arch):
    modules = []
    for spec in arch:
        kind = spec[0]
        if kind == "conv":
            _, cin, cout, stride = spec
            modules.append(nn.Conv2d(cin, cout, 3, stride=stride, padding=1))
            modules.append(nn.ReLU())
        elif kind == "pool":
            modules.append(nn.MaxPool2d(2))
            modules.append(nn.Flatten())
        elif kind == "fc":
            modules.append(nn.Linear(spec[1], spec[2]))
            modules.append(nn.ReLU())
        else:
            raise ValueError(kind)
    return nn.Sequential(*modules[:-1])  # no activation on the scores


tf = T.Compose([T.ToTensor(), T.Normalize((0.491, 0.482, 0.447), (0.247, 0.243, 0.262))])


def subset(split, per_class):
    ds = ImageFolder(os.path.join(cifar, split), transform=tf)
    chosen, counter = [], defaultdict(int)
    for i, t in enumerate(ds.targets):
        if counter[t] < per_class:
            counter[t] += 1
            chosen.append(i)
    # read once
    data = [ds[i] for i in chosen]
    return data, ds.classes


train_data, names = subset("train", 220)
test_data, _ = subset("test", 60)
train_loader = DataLoader(train_data, batch_size=32, shuffle=True)
test_loader = DataLoader(test_data, batch_size=200)

net = build(ARCH)
print(net)
opt = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, nesterov=True)
sched = MultiStepLR(opt, milestones=[8, 10], gamma=0.2)
ce = nn.CrossEntropyLoss()

for epoch in range(11):
    net.train()
    seen = good = 0
    cum = 0.0
    for img, lab in train_loader:
        opt.zero_grad(set_to_none=True)
        pred = net(img)
        loss = ce(pred, lab)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        opt.step()
        cum += loss.item() * len(lab)
        good += (pred.argmax(-1) == lab).sum().item()
        seen += len(lab)
    sched.step()

    net.eval()
    table = torch.zeros(10, 10, dtype=torch.long)
    with torch.no_grad():
        for img, lab in test_loader:
            for t, p in zip(lab, net(img).argmax(-1)):
                table[t, p] += 1
    test_acc = table.diag().sum().item() / table.sum().item()
    print("epoch {:2d}  train loss {:.3f}  train acc {:.3f}  test acc {:.3f}".format(
        epoch, cum / seen, good / seen, test_acc), flush=True)

print("class accuracies:")
for i, n in enumerate(names):
    print("   {:12s} {:.2f}".format(n, table[i, i].item() / table[i].sum().item()))
