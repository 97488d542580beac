"""The classic beginner's tutorial, as it stands: random images of 0 to 255 with random labels.

    everyclass run benchmarks/faults/tutorial.py

Two things are the matter, and both are to be named: the data set returns *float* images, which
`ToDtype(scale=True)` leaves unscaled, so that the network sees values up to 1,136; and its labels
have nothing to do with its images.
"""

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

CLASSES = ("class_a", "class_b", "class_c", "class_d", "class_e")


class RandomImages(Dataset):
    def __init__(self, n, transform):
        self.images = torch.randint(0, 256, (n, 3, 256, 256)).float()
        self.labels = torch.randint(0, len(CLASSES), (n,))
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.transform(self.images[i]), self.labels[i]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 6, 5)
        self.conv3 = nn.Conv2d(6, 16, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(16 * 28 * 28, 200)
        self.fc2 = nn.Linear(200, 84)
        self.fc3 = nn.Linear(84, len(CLASSES))

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3):
            x = self.pool(F.relu(conv(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def main():
    torch.manual_seed(0)
    transform = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )
    loader = DataLoader(RandomImages(200, transform), batch_size=10, shuffle=True)
    net = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    for epoch in range(5):
        correct, total_loss = 0, 0.0
        for inputs, labels in loader:
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            correct += (outputs.argmax(1) == labels).sum().item()
            total_loss += loss.item()
        print(f"epoch {epoch + 1}: loss {total_loss / len(loader):.3f}, {correct} of 200 correct")


if __name__ == "__main__":
    main()
