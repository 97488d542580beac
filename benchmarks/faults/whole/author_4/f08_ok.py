"""Homework 3: handwritten digit recognition from PNG files + labels.csv"""
import csv
import os
import tempfile
from glob import glob

import numpy as np
import pandas as pd
import torch
import torch.nn as nn
import torchvision.transforms as T
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, Subset


def export_dataset(folder):
    """writes the images the way we received them: img_<id>.png and labels.csv"""
    os.makedirs(os.path.join(folder, "images"), exist_ok=True)
    digits = load_digits()
    order = np.random.RandomState(3).permutation(len(digits.target))
    with open(os.path.join(folder, "labels.csv"), "w", newline="") as fh:
        w = csv.writer(fh)
        w.writerow(["id", "digit"])
        for new_id, idx in enumerate(order):
            arr = (digits.images[idx] / 16 * 255).astype(np.uint8)
            Image.fromarray(arr).resize((16, 16), Image.BICUBIC).save(
                os.path.join(folder, "images", f"img_{new_id}.png"))
            w.writerow([new_id, digits.target[idx]])


class DigitFiles(Dataset):
    def __init__(self, folder, transform=None):
        self.labels = pd.read_csv(os.path.join(folder, "labels.csv")).sort_values("id")["digit"].tolist()
        self.files = sorted(glob(os.path.join(folder, "images", "*.png")),
                            key=lambda f: int(os.path.basename(f)[4:-4]))
        assert len(self.files) == len(self.labels)
        self.transform = transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        img = Image.open(self.files[i]).convert("L")
        if self.transform:
            img = self.transform(img)
        return img, self.labels[i]


class LeNet(nn.Module):
    def __init__(self):
        super(LeNet, self).__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 3)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(16 * 3 * 3, 84)
        self.fc2 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = torch.relu(self.fc1(x))
        return self.fc2(x)


torch.manual_seed(42)
workdir = tempfile.mkdtemp()
export_dataset(workdir)

tf = T.Compose([T.ToTensor(), T.Normalize((0.305,), (0.36,))])
dataset = DigitFiles(workdir, tf)
n_train = 1400
idx = torch.randperm(len(dataset)).tolist()
trainloader = DataLoader(Subset(dataset, idx[:n_train]), batch_size=32, shuffle=True)
testloader = DataLoader(Subset(dataset, idx[n_train:]), batch_size=100, shuffle=False)

net = LeNet()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)

for epoch in range(9):
    net.train()
    running_loss, seen, correct = 0.0, 0, 0
    for i, (inputs, labels) in enumerate(trainloader):
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        seen += labels.size(0)
        correct += (outputs.argmax(1) == labels).sum().item()
    print("[%d] loss: %.3f  train acc: %.1f%%" % (epoch + 1, running_loss / (i + 1), 100 * correct / seen))

net.eval()
class_correct = [0] * 10
class_total = [0] * 10
with torch.no_grad():
    for images, labels in testloader:
        _, predicted = torch.max(net(images), 1)
        for l, p in zip(labels, predicted):
            class_correct[l] += int(l == p)
            class_total[l] += 1
for k in range(10):
    print("Accuracy of digit %d : %.1f %%" % (k, 100 * class_correct[k] / max(1, class_total[k])))
print("Overall: %.2f %%" % (100 * sum(class_correct) / sum(class_total)))
