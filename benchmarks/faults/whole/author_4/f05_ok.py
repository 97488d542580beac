# VGG-style network from scratch, blood cells
import os
import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torchvision import datasets, transforms
from torch.utils.data import DataLoader, Subset

torch.manual_seed(123)
np.random.seed(123)

cfg = [16, 16, 'M', 32, 32, 'M', 48, 48, 'M', 64, 64, 'M']
size = 32

tfm = transforms.Compose([
    transforms.Resize((size, size)),
    transforms.ToTensor(),
    transforms.Normalize((0.87, 0.75, 0.72), (0.16, 0.19, 0.08)),
])
data = datasets.ImageFolder(os.path.join(os.environ.get('DATA', 'data'), 'pbc_128'), transform=tfm)
labels = np.array(data.targets)
train_idx, test_idx = [], []
for c in range(len(data.classes)):
    idx = np.random.permutation(np.where(labels == c)[0])
    train_idx += idx[:250].tolist()
    test_idx += idx[250:310].tolist()


def to_memory(indices):
    xs, ys = zip(*[data[i] for i in indices])
    return torch.utils.data.TensorDataset(torch.stack(xs), torch.tensor(ys))


train_set, test_set = to_memory(train_idx), to_memory(test_idx)
trainloader = DataLoader(train_set, batch_size=32, shuffle=True)
testloader = DataLoader(test_set, batch_size=128, shuffle=False)


class VGG(nn.Module):
    def __init__(self, cfg, num_classes):
        super().__init__()
        self.features = self._make_layers(cfg)
        self.classifier = nn.Sequential(
            nn.Linear(64 * 2 * 2, 128), nn.ReLU(True), nn.Dropout(0.25),
            nn.Linear(128, 128), nn.ReLU(True),
            nn.Linear(128, num_classes))
        self._initialize_weights()

    def _make_layers(self, cfg):
        layers, c = [], 3
        for v in cfg:
            if v == 'M':
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(c, v, 3, padding=1), nn.ReLU(True)]
                c = v
        return nn.Sequential(*layers)

    def _initialize_weights(self):
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode='fan_out', nonlinearity='relu')
                nn.init.constant_(m.bias, 0)
            elif isinstance(m, nn.Linear):
                nn.init.kaiming_normal_(m.weight, nonlinearity='relu')
                nn.init.constant_(m.bias, 0)

    def forward(self, x):
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


net = VGG(cfg, len(data.classes))
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
scheduler = optim.lr_scheduler.MultiStepLR(optimizer, milestones=[5], gamma=0.2)


def test():
    net.eval()
    correct = np.zeros(len(data.classes))
    total = np.zeros(len(data.classes))
    with torch.no_grad():
        for x, y in testloader:
            pred = net(x).argmax(1)
            for a, b in zip(y.numpy(), pred.numpy()):
                total[a] += 1
                correct[a] += (a == b)
    return correct / total


for epoch in range(7):
    net.train()
    train_loss = 0
    for batch_idx, (x, y) in enumerate(trainloader):
        optimizer.zero_grad()
        out = net(x)
        loss = criterion(out, y)
        loss.backward()
        optimizer.step()
        train_loss += loss.item()
    scheduler.step()
    print('Epoch %d | Loss %.4f | Test acc %.2f%%' % (epoch, train_loss / (batch_idx + 1), 100 * test().mean()))

res = test()
for name, r in zip(data.classes, res):
    print('%-14s %.3f' % (name, r))
print('mean class accuracy %.4f' % res.mean())
