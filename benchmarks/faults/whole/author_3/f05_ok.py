"""Garbage classification with resnet18 (no internet on the cluster, so from scratch)."""
import copy
import os

import torch
import torch.nn as nn
import torch.optim as optim
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, models, transforms

torch.manual_seed(0)
data_dir = os.path.join(os.environ.get("DATA", "data"), "trashnet")

normalize = transforms.Normalize([0.66, 0.63, 0.60], [0.21, 0.21, 0.23])

data_transforms = {
    "train": transforms.Compose([
        transforms.Resize((32, 32)),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        normalize,
    ]),
    "val": transforms.Compose([
        transforms.Resize((32, 32)),
        transforms.ToTensor(),
        normalize,
    ]),
}


class Cached(torch.utils.data.Dataset):
    """decode each jpeg only once"""

    def __init__(self, base, indices, transform):
        loader = base.loader
        self.imgs = [(loader(base.samples[i][0]).resize((64, 64)), base.samples[i][1]) for i in indices]
        self.transform = transform

    def __len__(self):
        return len(self.imgs)

    def __getitem__(self, i):
        img, target = self.imgs[i]
        return self.transform(img), target


base = datasets.ImageFolder(data_dir)
perm = torch.randperm(len(base), generator=torch.Generator().manual_seed(1)).tolist()
image_datasets = {
    "train": Cached(base, perm[400:1500], data_transforms["train"]),
    "val": Cached(base, perm[:400], data_transforms["val"]),
}
dataloaders = {
    "train": DataLoader(image_datasets["train"], batch_size=25, shuffle=True, drop_last=True),
    "val": DataLoader(image_datasets["val"], batch_size=64),
}
class_names = base.classes
print(class_names, {k: len(v) for k, v in image_datasets.items()})


def train_model(model, criterion, optimizer, scheduler, num_epochs):
    best_model_wts = copy.deepcopy(model.state_dict())
    best_acc = 0.0
    for epoch in range(num_epochs):
        print(f"Epoch {epoch}/{num_epochs - 1}")
        for phase in ["train", "val"]:
            model.train() if phase == "train" else model.eval()
            running_loss, running_corrects, seen = 0.0, 0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += torch.sum(preds == labels.data).item()
                seen += inputs.size(0)
            if phase == "train":
                scheduler.step()
            epoch_acc = running_corrects / seen
            print(f"  {phase} Loss: {running_loss / seen:.4f} Acc: {epoch_acc:.4f}", flush=True)
            if phase == "val" and epoch_acc > best_acc:
                best_acc = epoch_acc
                best_model_wts = copy.deepcopy(model.state_dict())
    print(f"Best val Acc: {best_acc:.4f}")
    model.load_state_dict(best_model_wts)
    return model


model_ft = models.resnet18(weights=None)
model_ft.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=2, padding=1, bias=False)
model_ft.fc = nn.Linear(model_ft.fc.in_features, len(class_names))

criterion = nn.CrossEntropyLoss()
optimizer_ft = optim.Adam(model_ft.parameters(), lr=5e-4)
exp_lr_scheduler = lr_scheduler.StepLR(optimizer_ft, step_size=3, gamma=0.3)

model_ft = train_model(model_ft, criterion, optimizer_ft, exp_lr_scheduler, num_epochs=4)

model_ft.eval()
ok = torch.zeros(len(class_names))
n = torch.zeros(len(class_names))
with torch.no_grad():
    for x, y in dataloaders["val"]:
        p = model_ft(x).argmax(1)
        for t, q in zip(y, p):
            n[t] += 1
            ok[t] += (t == q).item()
for c, a, b in zip(class_names, ok, n):
    print(f"{c:>10}: {a / b:.2f} ({int(b)})")
print(f"balanced accuracy {(ok / n).mean():.3f}")
