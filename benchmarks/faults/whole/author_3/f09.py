import os
import numpy as np
import torch
from torch import nn
from PIL import Image

# ------------------------------------------------------------------
# config
# ------------------------------------------------------------------
CFG = dict(
    data=os.path.join(os.environ.get("DATA", "data"), "cifar10"),
    classes=["airplane", "automobile", "frog", "horse", "ship"],
    n_train=350, n_test=100,
    bs=50, epochs=16, lr=0.02, momentum=0.9, seed=3,
)
torch.manual_seed(CFG["seed"])
rs = np.random.RandomState(CFG["seed"])


def load_split(split, n):
    xs, ys = [], []
    for label, name in enumerate(CFG["classes"]):
        folder = os.path.join(CFG["data"], split, name)
        names = sorted(os.listdir(folder))[:n]
        for fn in names:
            xs.append(np.array(Image.open(os.path.join(folder, fn)).convert("RGB")))
            ys.append(label)
    xs = np.stack(xs)
    xs = xs.transpose(0, 3, 1, 2)
    return torch.from_numpy(xs).float(), torch.tensor(ys)


x_train, y_train = load_split("train", CFG["n_train"])
x_test, y_test = load_split("test", CFG["n_test"])
print("train", tuple(x_train.shape), "test", tuple(x_test.shape))


class CNN(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv_layers = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.fc_layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(48 * 4 * 4, 96), nn.ReLU(),
            nn.Linear(96, num_classes),
        )

    def forward(self, x):
        return self.fc_layers(self.conv_layers(x))


def per_class(model):
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(b).argmax(1) for b in x_test.split(250)])
    return {name: float((pred[y_test == i] == i).float().mean())
            for i, name in enumerate(CFG["classes"])}


def main():
    model = CNN(len(CFG["classes"]))
    opt = torch.optim.SGD(model.parameters(), lr=CFG["lr"], momentum=CFG["momentum"])
    loss_fn = nn.CrossEntropyLoss()
    n = len(x_train)
    for epoch in range(CFG["epochs"]):
        model.train()
        order = torch.from_numpy(rs.permutation(n))
        total = 0.0
        for s in range(0, n, CFG["bs"]):
            idx = order[s:s + CFG["bs"]]
            logits = model(x_train[idx])
            loss = loss_fn(logits, y_train[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(idx)
        rec = per_class(model)
        print(f"epoch {epoch:02d} loss {total / n:.4f} test acc {np.mean(list(rec.values())):.3f}")
    print("final recall per class")
    for k, v in per_class(model).items():
        print(f"  {k:<12}{v:.2f}")


main()
