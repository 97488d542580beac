"""Two-phase training: warm up the classifier first, then train everything."""
import os
import torch
from torch import nn
from torch.utils.data import TensorDataset, DataLoader
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.metrics import classification_report

torch.manual_seed(11)


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stage1 = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
        self.stage2 = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(32, 48, 3, padding=1), nn.ReLU(),
                                    nn.Conv2d(48, 48, 3, padding=1), nn.ReLU())
        self.stage3 = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(48, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return self.stage3(self.stage2(self.stage1(x))).flatten(1)


class Classifier(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.backbone = Backbone()
        self.head = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.head(self.backbone(x))


class Trainer:
    def __init__(self, model, train_loader, val_loader, lr=1e-3, warmup_epochs=2, epochs=16):
        self.model = model
        self.train_loader, self.val_loader = train_loader, val_loader
        self.warmup_epochs, self.epochs = warmup_epochs, epochs
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def freeze(self):
        for p in self.model.backbone.parameters():
            p.requires_grad = False

    def unfreeze(self):
        for stage in self.model.backbone.children():
            stage.requires_grad_(True)

    def fit(self):
        self.freeze()
        for epoch in range(self.epochs):
            if epoch == self.warmup_epochs:
                self.unfreeze()
                print("backbone unfrozen")
            self.model.train()
            total = 0
            for x, y in self.train_loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                total += loss.item()
            acc = self.evaluate()[0]
            print(f"epoch {epoch:02d} loss {total / len(self.train_loader):.4f} val_acc {acc:.4f}")

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        ys, ps = [], []
        for x, y in self.val_loader:
            ps.append(self.model(x).argmax(1))
            ys.append(y)
        ys, ps = torch.cat(ys), torch.cat(ps)
        return (ys == ps).float().mean().item(), ys, ps


def main():
    digits = load_digits()
    X = (digits.images / 16.0 - 0.3) / 0.37
    Xtr, Xva, ytr, yva = train_test_split(X, digits.target, test_size=0.25, stratify=digits.target, random_state=0)
    to_ds = lambda a, b: TensorDataset(torch.tensor(a, dtype=torch.float32).unsqueeze(1), torch.tensor(b))
    trainer = Trainer(Classifier(), DataLoader(to_ds(Xtr, ytr), batch_size=32, shuffle=True),
                      DataLoader(to_ds(Xva, yva), batch_size=256))
    trainer.fit()
    _, ys, ps = trainer.evaluate()
    print(classification_report(ys, ps, zero_division=0))


if __name__ == "__main__":
    main()
