"""Image classification in the manner of the official MNIST example."""

import argparse

import torch
import torch.nn.functional as F
import torch.optim as optim
from parts.bn_cnn import Net
from parts.digits import load_images
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset, random_split


class ImageDataset(Dataset):
    def __init__(self, images, labels):
        self.images = images
        self.labels = labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = torch.from_numpy(self.images[index]).permute(2, 0, 1).float() / 255.0
        return (image - 0.5) / 0.25, int(self.labels[index])


def train(args, model, device, train_loader, optimizer, epoch, num_classes):
    model.train()
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.long)
    for batch_idx, (data, target) in enumerate(train_loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = F.log_softmax(model(data), dim=1)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        for t, p in zip(target.tolist(), output.argmax(dim=1).tolist()):
            confusion[t, p] += 1
        if batch_idx % args.log_interval == 0:
            print(
                f"Train Epoch: {epoch} [{batch_idx * len(data)}/{len(train_loader.dataset)}]"
                f"\tLoss: {loss.item():.6f}"
            )
    return confusion


def test(model, device, test_loader, num_classes):
    model.eval()
    test_loss = 0
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.long)
    with torch.no_grad():
        for data, target in test_loader:
            data, target = data.to(device), target.to(device)
            output = F.log_softmax(model(data), dim=1)
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            pred = output.argmax(dim=1)
            for t, p in zip(target.tolist(), pred.tolist()):
                confusion[t, p] += 1
    n = len(test_loader.dataset)
    correct = confusion.diagonal().sum().item()
    print(f"Test set: Average loss: {test_loss / n:.4f}, Accuracy: {correct}/{n}")
    return confusion


def main():
    parser = argparse.ArgumentParser(description="Image classification")
    parser.add_argument("--root", type=str, default="data")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--gamma", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log-interval", type=int, default=20)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    device = torch.device("cpu")

    images, labels, classes = load_images(args.root)
    dataset = ImageDataset(images, labels)
    n_test = len(dataset) // 5
    train_dataset, test_dataset = random_split(dataset, [len(dataset) - n_test, n_test])
    train_loader = DataLoader(train_dataset, batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(test_dataset, batch_size=200)

    model = Net(images.shape[3], len(classes), images.shape[1]).to(device)
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)

    for epoch in range(1, args.epochs + 1):
        train_confusion = train(args, model, device, train_loader, optimizer, epoch, len(classes))
        test_confusion = test(model, device, test_loader, len(classes))
        scheduler.step()

    print("train confusion:", train_confusion.tolist())
    print("val confusion:", test_confusion.tolist())


if __name__ == "__main__":
    main()
