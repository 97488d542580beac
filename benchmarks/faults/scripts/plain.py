"""Train an image classifier."""

import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from parts.digits import load_images
from parts.tutorial_cnn import Net
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--root", default="data")
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--lr", type=float, default=0.001)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

np.random.seed(args.seed)
torch.manual_seed(args.seed)

images, labels, classes = load_images(args.root)
order = np.random.permutation(len(images))
images, labels = images[order], labels[order]
n_train = int(0.8 * len(images))

X = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
y = torch.from_numpy(labels).long()
X = (X - 0.5) / 0.5

train_set = TensorDataset(X[:n_train], y[:n_train])
val_set = TensorDataset(X[n_train:], y[n_train:])
train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
val_loader = DataLoader(val_set, batch_size=128)

model = Net(X.shape[1], len(classes), X.shape[2])
criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(model.parameters(), lr=args.lr)

for epoch in range(args.epochs):
    model.train()
    train_confusion = np.zeros((len(classes), len(classes)), dtype=int)
    running_loss = 0.0
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        predicted = outputs.argmax(dim=1)
        np.add.at(train_confusion, (targets.numpy(), predicted.numpy()), 1)

    model.eval()
    val_confusion = np.zeros((len(classes), len(classes)), dtype=int)
    val_loss = 0.0
    with torch.no_grad():
        for inputs, targets in val_loader:
            outputs = model(inputs)
            val_loss += criterion(outputs, targets).item()
            predicted = outputs.argmax(dim=1)
            np.add.at(val_confusion, (targets.numpy(), predicted.numpy()), 1)

    print(
        f"epoch {epoch + 1}: loss {running_loss / len(train_loader):.4f}, "
        f"train accuracy {np.trace(train_confusion) / train_confusion.sum():.3f}, "
        f"val loss {val_loss / len(val_loader):.4f}, "
        f"val accuracy {np.trace(val_confusion) / val_confusion.sum():.3f}"
    )

print("train confusion:", train_confusion.tolist())
print("val confusion:", val_confusion.tolist())
