from dataclasses import dataclass

import torch
from torch import nn, Tensor
from torch.utils.data import DataLoader, TensorDataset, random_split
from sklearn.datasets import load_digits


@dataclass
class HParams:
    batch_size: int = 32
    epochs: int = 14
    lr: float = 0.001
    weight_decay: float = 0.0
    width: int = 24
    hidden: int = 128
    seed: int = 2024


def get_loaders(hp: HParams):
    data = load_digits()
    x = torch.from_numpy(data.images).float().unsqueeze(1).div(16).sub(0.305).div(0.376)
    y = torch.from_numpy(data.target).long()
    ds = TensorDataset(x, y)
    g = torch.Generator().manual_seed(hp.seed)
    train, val = random_split(ds, [1437, 360], generator=g)
    return (
        DataLoader(train, batch_size=hp.batch_size, shuffle=True, drop_last=True),
        DataLoader(val, batch_size=180),
    )


class ConvNet(nn.Module):
    def __init__(self, hp: HParams, n_classes: int = 10):
        super().__init__()
        w = hp.width
        self.net = nn.Sequential(
            nn.Conv2d(1, w, 3, padding=1), nn.ReLU(),
            nn.Conv2d(w, w, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(w, 2 * w, 3, padding=1), nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * w * 16, hp.hidden), nn.ReLU(),
            nn.Linear(hp.hidden, n_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


@torch.inference_mode()
def evaluate(model: nn.Module, loader: DataLoader):
    model.eval()
    logits, ys = [], []
    for x, y in loader:
        logits.append(model(x))
        ys.append(y)
    logits, ys = torch.cat(logits), torch.cat(ys)
    pred = logits.argmax(-1)
    loss = nn.functional.cross_entropy(logits, ys).item()
    recalls = [(pred[ys == c] == c).float().mean().item() for c in range(10)]
    return loss, (pred == ys).float().mean().item(), recalls


def main():
    hp = HParams()
    torch.manual_seed(hp.seed)
    train_loader, val_loader = get_loaders(hp)
    model = ConvNet(hp)
    print(sum(p.numel() for p in model.parameters()), "parameters")
    optim = torch.optim.AdamW(model.parameters(), lr=hp.lr, weight_decay=hp.weight_decay)
    criterion = nn.CrossEntropyLoss()

    for epoch in range(hp.epochs):
        model.train()
        total, count = 0.0, 0
        for x, y in train_loader:
            optim.zero_grad(set_to_none=True)
            loss = criterion(model(x), y)
            loss.backward()
            optim.step()
            total += loss.item() * len(x)
            count += len(x)
        val_loss, val_acc, recalls = evaluate(model, val_loader)
        print(f"{epoch:3d} | train {total / count:8.4f} | val {val_loss:8.4f} | acc {val_acc:.4f}")

    print("recalls:", " ".join(f"{r:.2f}" for r in recalls))


if __name__ == "__main__":
    main()
