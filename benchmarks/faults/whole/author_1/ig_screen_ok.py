import argparse
import os
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from PIL import Image

parser = argparse.ArgumentParser(description="screening for unusual leukocytes")
parser.add_argument("--data", default=os.path.join(os.environ.get("DATA", "data"), "pbc_128"))
parser.add_argument("--size", type=int, default=32)
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--lr", type=float, default=5e-4)
parser.add_argument("--seed", type=int, default=1)
args = parser.parse_args()
torch.manual_seed(args.seed)

# what came out of the clinic for training / a fixed test set
TRAIN_COUNTS = {"neutrophil": 1500, "ig": 35, "monocyte": 35, "eosinophil": 35}
TEST_PER_CLASS = 80
NAMES = list(TRAIN_COUNTS)


class Smears(Dataset):
    def __init__(self, root, train, transform):
        self.transform = transform
        self.items = []
        for label, name in enumerate(NAMES):
            files = sorted(os.listdir(os.path.join(root, name)))
            if train:
                files = files[TEST_PER_CLASS:TEST_PER_CLASS + TRAIN_COUNTS[name]]
            else:
                files = files[:TEST_PER_CLASS]
            for f in files:
                img = Image.open(os.path.join(root, name, f)).convert("RGB")
                self.items.append((img.resize((args.size, args.size), Image.BILINEAR), label))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        img, label = self.items[i]
        return self.transform(img), label


tf_train = transforms.Compose([
    transforms.RandomHorizontalFlip(),
    transforms.RandomVerticalFlip(),
    transforms.ToTensor(),
    transforms.Normalize((0.75, 0.65, 0.70), (0.18, 0.22, 0.12)),
])
tf_test = transforms.Compose([
    transforms.ToTensor(),
    transforms.Normalize((0.75, 0.65, 0.70), (0.18, 0.22, 0.12)),
])
train_ds = Smears(args.data, True, tf_train)
test_ds = Smears(args.data, False, tf_test)
train_loader = DataLoader(train_ds, args.batch_size, shuffle=True)
test_loader = DataLoader(test_ds, 80)


class Net(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(48 * (args.size // 8) ** 2, 64), nn.ReLU(), nn.Linear(64, k))

    def forward(self, x):
        return self.head(self.body(x))


model = Net(len(NAMES))
freq = torch.tensor([TRAIN_COUNTS[n] for n in NAMES], dtype=torch.float)
criterion = nn.CrossEntropyLoss(weight=freq.sum() / (len(NAMES) * freq))
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)


def test():
    model.eval()
    conf = torch.zeros(len(NAMES), len(NAMES), dtype=torch.long)
    with torch.no_grad():
        for x, y in test_loader:
            for t, p in zip(y, model(x).argmax(1)):
                conf[t, p] += 1
    return conf


for epoch in range(1, args.epochs + 1):
    model.train()
    total = 0.0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    conf = test()
    print(f"[{epoch}/{args.epochs}] loss {total / len(train_loader):.4f} test acc {conf.diag().sum() / conf.sum():.3f}")

recall = conf.diag().float() / conf.sum(1)
print(conf)
for n, r in zip(NAMES, recall):
    print(f"  {n}: {r:.3f}")
print(f"balanced accuracy {recall.mean():.3f}")
