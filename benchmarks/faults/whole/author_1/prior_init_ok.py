# lab code: cell classification, custom initialisation
import os
import math
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader, random_split
from PIL import Image
import torchvision.transforms.functional as TF

torch.manual_seed(5)
DATA_ROOT = os.environ.get("DATA", "data")


class CellFiles(Dataset):
    def __init__(self, root, names, limit, size):
        self.samples = []
        self.names = names
        for k, n in enumerate(names):
            d = os.path.join(root, n)
            for f in sorted(os.listdir(d))[:limit]:
                im = Image.open(os.path.join(d, f)).convert("RGB")
                t = TF.to_tensor(TF.resize(im, [size, size]))
                t = TF.normalize(t, [0.79, 0.69, 0.72], [0.19, 0.24, 0.11])
                self.samples.append((t, k))

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


def init_model(model, prior=0.1):
    b = -math.log((1 - prior) / prior)
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight, std=0.05)
            nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, std=0.05)
            nn.init.zeros_(m.bias)


class CellNet(nn.Module):
    def __init__(self, n):
        super().__init__()
        chans = [3, 24, 32, 48]
        stages = []
        for cin, cout in zip(chans[:-1], chans[1:]):
            stages += [nn.Conv2d(cin, cout, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)]
        self.encoder = nn.Sequential(*stages)
        self.decoder = nn.Sequential(nn.Linear(48 * 9, 100), nn.ReLU(), nn.Linear(100, n))
        init_model(self)

    def forward(self, x):
        return self.decoder(self.encoder(x).flatten(1))


names = ["eosinophil", "erythroblast", "lymphocyte", "platelet"]
ds = CellFiles(os.path.join(DATA_ROOT, "pbc_128"), names, 400, 24)
train_ds, val_ds = random_split(ds, [1280, 320], generator=torch.Generator().manual_seed(0))
loaders = {
    "train": DataLoader(train_ds, batch_size=32, shuffle=True),
    "val": DataLoader(val_ds, batch_size=64),
}

model = CellNet(len(names))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=8, gamma=0.3)

for epoch in range(12):
    for phase in ("train", "val"):
        model.train(phase == "train")
        loss_sum, n_ok, n_all = 0.0, 0, 0
        per = torch.zeros(len(names), 2)
        for x, y in loaders[phase]:
            with torch.set_grad_enabled(phase == "train"):
                out = model(x)
                loss = criterion(out, y)
                if phase == "train":
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            pred = out.argmax(1)
            loss_sum += loss.item() * y.numel()
            n_ok += (pred == y).sum().item()
            n_all += y.numel()
            for c in range(len(names)):
                per[c, 0] += ((pred == c) & (y == c)).sum()
                per[c, 1] += (y == c).sum()
        print(f"{phase:5s} {epoch:2d} loss {loss_sum / n_all:.4f} acc {n_ok / n_all:.4f}")
    scheduler.step()

print("per-class recall on val:")
for n, (a, b) in zip(names, per.tolist()):
    print(f"  {n}: {a / b:.3f}")
