# blood cells, quick baseline: raw [0,1] pixels, no normalisation, log-probs out of the net
import os
import random
import torch
import torch.nn as nn
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.functional import pil_to_tensor

random.seed(5)
torch.manual_seed(5)
BASE = os.path.join(os.environ.get("DATA", "data"), "pbc_128")
TYPES = sorted(os.listdir(BASE))


def read(path):
    return pil_to_tensor(Image.open(path).convert("RGB").resize((28, 28))).float() / 255


train, test = [], []
for lab, t in enumerate(TYPES):
    files = sorted(os.listdir(os.path.join(BASE, t)))
    random.shuffle(files)
    for j, f in enumerate(files[:170]):
        (test if j < 40 else train).append((read(os.path.join(BASE, t, f)), lab))

# shuffle once here, then the loader just walks through
random.shuffle(train)
train_loader = DataLoader(train, batch_size=20)
test_loader = DataLoader(test, batch_size=20)


class BloodNet(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.c1 = nn.Conv2d(3, 16, 5)
        self.c2 = nn.Conv2d(16, 32, 5)
        self.f1 = nn.Linear(32 * 4 * 4, 100)
        self.f2 = nn.Linear(100, n)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.5)
        self.act = nn.LeakyReLU(0.1)
        self.logsm = nn.LogSoftmax(dim=1)

    def forward(self, x):
        x = self.pool(self.act(self.c1(x)))
        x = self.pool(self.act(self.c2(x)))
        x = x.view(x.shape[0], -1)
        x = self.drop(self.act(self.f1(x)))
        return self.logsm(self.f2(x))


net = BloodNet(len(TYPES))
optim = torch.optim.Adam(net.parameters(), lr=1e-3)
crit = nn.CrossEntropyLoss()

for ep in range(24):
    net.train()
    s = 0.0
    for x, y in train_loader:
        loss = crit(net(x), y)
        optim.zero_grad()
        loss.backward()
        optim.step()
        s += loss.item()
    net.eval()
    right = torch.zeros(len(TYPES))
    cnt = torch.zeros(len(TYPES))
    with torch.no_grad():
        for x, y in test_loader:
            p = net(x).argmax(1)
            for a, b in zip(y.tolist(), p.tolist()):
                cnt[a] += 1
                right[a] += a == b
    print("epoch", ep, "loss %.3f" % (s / len(train_loader)), "acc %.3f" % (right.sum() / cnt.sum()))

for t, r in zip(TYPES, (right / cnt).tolist()):
    print("%-14s %.2f" % (t, r))
