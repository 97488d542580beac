import os

import numpy as np
import torch
import torch.nn as nn
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

root = os.path.join(os.environ.get("DATA", "data"), "cifar10")
# number of training pictures I could label per class
labelled = {"automobile": 700, "dog": 400, "horse": 350, "frog": 500, "ship": 250}
names = list(labelled)
torch.manual_seed(21)

norm = transforms.Normalize((0.5,) * 3, (0.25,) * 3)
train_tf = transforms.Compose([
    transforms.RandomResizedCrop(32, scale=(0.5, 1.0)),
    transforms.RandomHorizontalFlip(),
    transforms.RandomRotation(15),
    transforms.ColorJitter(0.4, 0.4, 0.4, 0.1),
    transforms.RandomGrayscale(0.1),
    transforms.ToTensor(),
    norm,
    transforms.RandomErasing(0.3),
])
test_tf = transforms.Compose([transforms.ToTensor(), norm])


class Pics(Dataset):
    def __init__(self, split, limit, tf):
        self.tf, self.data = tf, []
        for lab, n in enumerate(names):
            d = os.path.join(root, split, n)
            for f in sorted(os.listdir(d))[:limit(n)]:
                self.data.append((Image.open(os.path.join(d, f)).convert("RGB"), lab))

    def __len__(self):
        return len(self.data)

    def __getitem__(self, k):
        im, lab = self.data[k]
        return self.tf(im), lab


train_set = Pics("train", lambda n: labelled[n], train_tf)
test_set = Pics("test", lambda n: 100, test_tf)
train_dl = DataLoader(train_set, batch_size=32, shuffle=True, drop_last=True)
test_dl = DataLoader(test_set, batch_size=100)

counts = np.array([labelled[n] for n in names], dtype=np.float32)
w = torch.tensor(counts.sum() / (len(names) * counts))
print("class weights", dict(zip(names, w.tolist())))



def unit(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))


model = nn.Sequential(unit(3, 24), unit(24, 48), unit(48, 96), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                      nn.Dropout(0.5), nn.Linear(96 * 4, len(names)))
criterion = nn.CrossEntropyLoss(weight=w)
opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
n_epochs = 10
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, n_epochs)

for ep in range(n_epochs):
    model.train()
    losses = []
    for x, y in train_dl:
        loss = criterion(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    sched.step()
    model.eval()
    cm = np.zeros((len(names), len(names)), int)
    with torch.no_grad():
        for x, y in test_dl:
            np.add.at(cm, (y.numpy(), model(x).argmax(1).numpy()), 1)
    rec = cm.diagonal() / cm.sum(1)
    print(f"epoch {ep + 1} loss {np.mean(losses):.3f} recalls {np.round(rec, 2)} mean {rec.mean():.3f}", flush=True)
print(dict(zip(names, rec)))
