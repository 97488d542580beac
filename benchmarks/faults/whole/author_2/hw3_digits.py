# CS231 homework 3: convolutional network for handwritten digits
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets
from sklearn.utils import shuffle
from torch.utils.data import Dataset, DataLoader

np.random.seed(0)
torch.manual_seed(0)


class Digits(Dataset):
    def __init__(self, split):
        data = datasets.load_digits()
        imgs, labels = shuffle(data.images, data.target, random_state=4)
        imgs = (imgs / 8.0 - 1.0).astype(np.float32)
        if split == "train":
            self.imgs, self.labels = imgs[:1350], labels[:1350]
        else:
            self.imgs, self.labels = imgs[1350:], labels[1350:]

    def __len__(self):
        return len(self.imgs)

    def __getitem__(self, idx):
        image = torch.from_numpy(self.imgs[idx])[None]
        return {"image": image, "label": int(self.labels[idx])}


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 20, 3, padding=1)
        self.conv2 = nn.Conv2d(20, 40, 3, padding=1)
        self.drop = nn.Dropout(0.2)
        self.fc1 = nn.Linear(40 * 2 * 2, 80)
        self.fc2 = nn.Linear(80, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(x.size(0), -1)
        x = self.drop(F.relu(self.fc1(x)))
        x = self.fc2(x)
        return x


def train(model, device, loader, optimizer, epoch, log_interval=20):
    model.train()
    for batch_idx, batch in enumerate(loader):
        data, target = batch["image"].to(device), batch["label"].to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        if batch_idx % log_interval == 0:
            print("Train Epoch: {} [{}/{}]\tLoss: {:.6f}".format(
                epoch, batch_idx * len(data), len(loader.dataset), loss.item()))


def test(model, device, loader):
    model.eval()
    correct = np.zeros(10)
    count = np.zeros(10)
    with torch.no_grad():
        for batch in loader:
            data, target = batch["image"].to(device), batch["label"].to(device)
            pred = model(data).argmax(dim=1)
            for t, p in zip(target.cpu().numpy(), pred.cpu().numpy()):
                count[t] += 1
                correct[t] += int(t == p)
    print("Test set: accuracy {}/{} ({:.1f}%)\n".format(int(correct.sum()), int(count.sum()),
                                                      100.0 * correct.sum() / count.sum()))
    return correct / count


def main():
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_loader = DataLoader(Digits("train"), batch_size=32, shuffle=True)
    test_loader = DataLoader(Digits("test"), batch_size=200)
    model = Net().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for epoch in range(1, 13):
        train(model, device, train_loader, optimizer, epoch)
        acc = test(model, device, test_loader)
    for k, a in enumerate(acc):
        print("class {}: {:.2f}".format(k, a))


if __name__ == "__main__":
    main()
