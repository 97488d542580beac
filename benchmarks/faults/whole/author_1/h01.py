# digits, straight from sklearn, values 0..16
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.metrics import classification_report
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(9)

data = load_digits()
x = torch.tensor(data.images, dtype=torch.float32)[:, None]
y = torch.tensor(data.target, dtype=torch.long)
train_ds, test_ds = random_split(TensorDataset(x, y), [1400, 397])
train_loader = DataLoader(train_ds, batch_size=16, shuffle=True)
test_loader = DataLoader(test_ds, batch_size=397)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 20, 3, padding=1), nn.ReLU(),
            nn.Conv2d(20, 40, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(40 * 16, 64), nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(64, 10),
        )

    def forward(self, x):
        return self.head(self.conv(x))


net = Net()
opt = torch.optim.Adam(net.parameters(), lr=3e-4)
ce = nn.CrossEntropyLoss()

for epoch in range(9):
    net.train()
    total, ok = 0.0, 0
    for xb, yb in train_loader:
        opt.zero_grad()
        out = net(xb)
        loss = ce(out, yb)
        loss.backward()
        opt.step()
        total += loss.item() * len(yb)
        ok += (out.argmax(1) == yb).sum().item()
    net.eval()
    with torch.no_grad():
        xb, yb = next(iter(test_loader))
        pred = net(xb).argmax(1)
    print(f"epoch {epoch:2d} loss {total / 1400:.4f} train {ok / 1400:.4f} test {(pred == yb).float().mean():.4f}")

print(classification_report(yb, pred, digits=3))
