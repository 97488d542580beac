"""Train a classifier with torchvision transforms and a small Trainer."""

import argparse

import numpy as np
import torch
import torch.nn as nn
from parts.bn_cnn import Net
from parts.digits import load_images
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class Images(Dataset):
    def __init__(self, images, labels, transform=None):
        self.images = [Image.fromarray(image.squeeze()) for image in images]
        self.labels = labels
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, idx):
        image = self.images[idx].convert("RGB")
        label = int(self.labels[idx])
        if self.transform:
            image = self.transform(image)
        return image, label


train_transform = transforms.Compose(
    [
        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),
        transforms.ToTensor(),
        transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ]
)
val_transform = transforms.Compose(
    [
        transforms.ToTensor(),
        transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ]
)


class Trainer:
    def __init__(self, model, optimizer, criterion, classes, device):
        self.model = model.to(device)
        self.optimizer = optimizer
        self.criterion = criterion
        self.classes = classes
        self.device = device

    def run_epoch(self, loader, training):
        self.model.train(training)
        total_loss, confusion = 0.0, np.zeros((len(self.classes), len(self.classes)), dtype=int)
        with torch.set_grad_enabled(training):
            for images, labels in loader:
                images, labels = images.to(self.device), labels.to(self.device)
                logits = self.model(images)
                loss = self.criterion(logits, labels)
                if training:
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()
                total_loss += loss.item() * len(labels)
                for label, prediction in zip(labels.tolist(), logits.argmax(1).tolist()):
                    confusion[label, prediction] += 1
        return total_loss / len(loader.dataset), confusion

    def fit(self, train_loader, val_loader, epochs):
        for epoch in range(epochs):
            train_loss, self.train_confusion = self.run_epoch(train_loader, training=True)
            val_loss, self.val_confusion = self.run_epoch(val_loader, training=False)
            accuracy = np.trace(self.val_confusion) / self.val_confusion.sum()
            print(
                f"Epoch {epoch + 1}/{epochs} - loss: {train_loss:.4f} "
                f"- val_loss: {val_loss:.4f} - val_accuracy: {accuracy:.4f}"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default="data")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)

    images, labels, classes = load_images(args.root)
    indices = rng.permutation(len(images))
    split = int(len(images) * 0.8)
    train_idx, val_idx = indices[:split], indices[split:]
    train_set = Images(images[train_idx], labels[train_idx], train_transform)
    val_set = Images(images[val_idx], labels[val_idx], val_transform)
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=64, shuffle=False)

    model = Net(3, len(classes), images.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    criterion = nn.CrossEntropyLoss()
    trainer = Trainer(model, optimizer, criterion, classes, torch.device("cpu"))
    trainer.fit(train_loader, val_loader, args.epochs)
    print("train confusion:", trainer.train_confusion.tolist())
    print("val confusion:", trainer.val_confusion.tolist())
