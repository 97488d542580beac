import numpy as np
import torch
from torch import nn, optim
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.metrics import recall_score
from torch.utils.data import Dataset, DataLoader
from torchvision import transforms

BATCH = 64
EPOCHS = 16
torch.manual_seed(77)

raw = load_digits()
imgs = (raw.images * 15.9).astype(np.uint8)
tr_x, va_x, tr_y, va_y = train_test_split(imgs, raw.target, test_size=0.2, random_state=77, stratify=raw.target)

train_tf = transforms.Compose([
    transforms.Resize(24),
    transforms.RandomAffine(degrees=10, translate=(0.08, 0.08), scale=(0.9, 1.1), shear=5),
    transforms.ToTensor(),
    transforms.RandomErasing(p=0.2, scale=(0.02, 0.1)),
    transforms.Normalize([0.3], [0.35]),
])
val_tf = transforms.Compose([
    transforms.Resize(24),
    transforms.ToTensor(),
    transforms.Normalize([0.3], [0.35]),
])


class DigitImages(Dataset):
    def __init__(self, x, y, tf):
        self.x = [Image.fromarray(a) for a in x]
        self.y = y
        self.tf = tf

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.tf(self.x[i]), int(self.y[i])


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Sequential(
            nn.Conv2d(1, 12, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
            nn.Conv2d(12, 24, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
            nn.Flatten(), nn.Linear(24 * 36, 84), nn.Tanh(), nn.Linear(84, 10))

    def forward(self, x):
        return self.c(x)


train_dl = DataLoader(DigitImages(tr_x, tr_y, train_tf), BATCH, shuffle=True)
val_dl = DataLoader(DigitImages(va_x, va_y, val_tf), 180)

model = LeNet()
crit = nn.CrossEntropyLoss()
opt = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
sch = optim.lr_scheduler.MultiStepLR(opt, [10, 14], 0.3)

for e in range(EPOCHS):
    model.train()
    loss_sum = hits = 0
    for x, y in train_dl:
        out = model(x)
        loss = crit(out, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        loss_sum += loss.item() * y.numel()
        hits += (out.argmax(1) == y).sum().item()
    sch.step()
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(x).argmax(1) for x, _ in val_dl]).numpy()
    print("epoch %2d  loss %.3f  train acc %.3f  val acc %.3f" % (
        e, loss_sum / len(tr_y), hits / len(tr_y), (pred == va_y).mean()))

print("recalls", recall_score(va_y, pred, average=None).round(2))
