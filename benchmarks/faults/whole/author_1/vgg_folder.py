import os
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(3)

data_dir = os.path.join(os.environ.get("DATA", "data"), "pbc_128")
wanted = ["basophil", "erythroblast", "lymphocyte", "neutrophil", "platelet"]

tfm = transforms.Compose([
    transforms.Resize(32),
    transforms.ToTensor(),
    transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
])
full = datasets.ImageFolder(data_dir, transform=tfm)
remap = {full.class_to_idx[c]: i for i, c in enumerate(wanted)}
full.target_transform = lambda t: remap[t]

# first 320 pictures of every class for training, next 80 for testing
train_idx, test_idx = [], []
for c in wanted:
    ids = [i for i, t in enumerate(full.targets) if t == full.class_to_idx[c]]
    train_idx += ids[:320]
    test_idx += ids[320:400]


def preload(indices):
    return [full[i] for i in indices]


train_data = preload(train_idx)
test_data = preload(test_idx)
train_loader = DataLoader(train_data, batch_size=40, num_workers=0)
test_loader = DataLoader(test_data, batch_size=100, num_workers=0)
print(len(train_data), "train /", len(test_data), "test images")


class SmallVGG(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        cfg = [16, 16, "M", 32, 32, "M", 64, "M"]
        layers, in_ch = [], 3
        for v in cfg:
            if v == "M":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(in_ch, v, 3, padding=1), nn.ReLU(inplace=True)]
                in_ch = v
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(64 * 4 * 4, 128), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(128, num_classes)
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


model = SmallVGG(len(wanted)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


def train(epoch):
    model.train()
    correct = 0
    total_loss = 0
    for data, target in train_loader:
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.cross_entropy(output, target)
        loss.backward()
        optimizer.step()
        total_loss += loss.item() * data.size(0)
        correct += output.argmax(1).eq(target).sum().item()
    print(f"Train Epoch {epoch}: loss {total_loss / len(train_data):.4f} acc {correct / len(train_data):.3f}")


def test():
    model.eval()
    per_class = {c: [0, 0] for c in wanted}
    loss = 0
    with torch.no_grad():
        for data, target in test_loader:
            data, target = data.to(device), target.to(device)
            output = model(data)
            loss += F.cross_entropy(output, target, reduction="sum").item()
            for t, p in zip(target.tolist(), output.argmax(1).tolist()):
                per_class[wanted[t]][1] += 1
                per_class[wanted[t]][0] += int(t == p)
    acc = sum(v[0] for v in per_class.values()) / len(test_data)
    print(f"   test loss {loss / len(test_data):.4f} acc {acc:.3f}")
    return per_class


for epoch in range(1, 11):
    train(epoch)
    result = test()
for name, (hit, n) in result.items():
    print(f"{name:15s}{hit / n:.2f}")
