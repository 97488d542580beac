"""Blood smears with an uneven number of pictures; sqrt-inverse class weights, label smoothing."""
import os
import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, DataLoader
from torchvision import transforms
from PIL import Image

torch.manual_seed(0)
ROOT = os.path.join(os.environ.get("DATA", "data"), "pbc_128")
COUNTS = {"basophil": 150, "eosinophil": 450, "erythroblast": 180, "lymphocyte": 140, "neutrophil": 500, "platelet": 320}
NAMES = sorted(COUNTS)


class Smear(Dataset):
    def __init__(self, train):
        aug = [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()] if train else []
        self.tf = transforms.Compose(aug + [transforms.ToTensor()])
        self.x, self.y = [], []
        for k, name in enumerate(NAMES):
            files = sorted(os.listdir(f"{ROOT}/{name}"))
            files = files[:COUNTS[name]] if train else files[-60:]
            for f in files:
                self.x.append(Image.open(f"{ROOT}/{name}/{f}").convert("RGB").resize((32, 32)))
                self.y.append(k)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.tf(self.x[i]), self.y[i]


class Block(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv = nn.Conv2d(i, o, 3, padding=1)
        self.norm = nn.GroupNorm(8, o)
        self.act = nn.SiLU()

    def forward(self, x):
        return nn.functional.max_pool2d(self.act(self.norm(self.conv(x))), 2)


model = nn.Sequential(Block(3, 16), Block(16, 32), Block(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, len(NAMES)))
train_loader = DataLoader(Smear(True), batch_size=32, shuffle=True)
val_loader = DataLoader(Smear(False), batch_size=60, shuffle=False)

n = torch.tensor([COUNTS[c] for c in NAMES], dtype=torch.float32)
w = n.rsqrt()
w = w / w.mean()
print("weights", dict(zip(NAMES, w.numpy().round(2))))
criterion = nn.CrossEntropyLoss(weight=w, label_smoothing=0.1)

EPOCHS = 10
steps = EPOCHS * len(train_loader)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
warm = steps // 3
scheduler = torch.optim.lr_scheduler.LambdaLR(
    optimizer, lambda s: (s + 1) / warm if s < warm else 0.5 * (1 + np.cos(np.pi * (s - warm) / (steps - warm)))
)

for epoch in range(EPOCHS):
    model.train()
    losses = []
    for x, y in train_loader:
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    model.eval()
    hit = np.zeros(len(NAMES))
    with torch.no_grad():
        for x, y in val_loader:
            p = model(x).argmax(1)
            for c in range(len(NAMES)):
                hit[c] += ((p == c) & (y == c)).sum().item()
    print(f"{epoch:2d} lr {scheduler.get_last_lr()[0]:.2e} loss {np.mean(losses):.4f} mean recall {(hit / 60).mean():.3f}")

for name, r in zip(NAMES, hit / 60):
    print(f"{name:14s}{r:.3f}")
