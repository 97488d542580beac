import os
from glob import glob

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image
from sklearn.metrics import confusion_matrix
from torch.utils.data import Dataset, DataLoader

root = os.path.join(os.environ.get('DATA', 'data'), 'pbc_128')
cells = sorted(os.listdir(root))
print(cells)


class CellDataset(Dataset):
    """blood cell images, everything is kept in memory"""

    def __init__(self, files, size=32):
        self.items = []
        for f, lab in files:
            img = Image.open(f).convert('RGB').resize((size, size))
            arr = np.asarray(img, dtype=np.float32) / 255.
            arr = (arr - 0.5) / 0.5
            self.items.append((torch.from_numpy(arr).permute(2, 0, 1).contiguous(), lab))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


train_files, test_files = [], []
rng = np.random.RandomState(42)
for k, c in enumerate(cells):
    fs = sorted(glob(os.path.join(root, c, '*')))
    rng.shuffle(fs)
    train_files += [(f, k) for f in fs[:160]]
    test_files += [(f, k) for f in fs[160:210]]

trainset = CellDataset(train_files)
testset = CellDataset(test_files)
print(len(trainset), 'train', len(testset), 'test')

trainloader = DataLoader(trainset, batch_size=32, shuffle=True, drop_last=True)
testloader = DataLoader(testset, batch_size=1, shuffle=False)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc = nn.Linear(64, len(cells))

    def forward(self, x):
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        x = self.pool(F.relu(self.bn2(self.conv2(x))))
        x = F.relu(self.bn3(self.conv3(x)))
        x = x.mean(dim=(2, 3))
        return self.fc(x)


torch.manual_seed(0)
net = Net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)


def test(net, loader):
    correct = 0
    y_true, y_pred = [], []
    with torch.no_grad():
        for data in loader:
            images, labels = data
            outputs = net(images)
            _, predicted = torch.max(outputs.data, 1)
            correct += (predicted == labels).sum().item()
            y_true.extend(labels.tolist())
            y_pred.extend(predicted.tolist())
    return correct / len(loader.dataset), confusion_matrix(y_true, y_pred)


for epoch in range(9):
    net.train()
    running_loss = 0.0
    running_correct = 0
    for i, data in enumerate(trainloader, 0):
        inputs, labels = data
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        running_correct += (outputs.argmax(1) == labels).sum().item()
    acc, _ = test(net, testloader)
    print('epoch %d loss %.3f train acc %.3f test acc %.3f' % (
        epoch + 1, running_loss / len(trainloader), running_correct / (32 * len(trainloader)), acc))

print('Finished Training')
acc, cm = test(net, testloader)
print(cm)
for k, c in enumerate(cells):
    print('%14s : %2d %%' % (c, 100 * cm[k, k] / cm[k].sum()))
print('Accuracy of the network on the test images: %.1f %%' % (100 * acc))
