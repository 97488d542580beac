# Homework 3: convolutional network on the 8x8 digits
import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import TensorDataset, DataLoader

np.random.seed(123)
torch.manual_seed(123)

digits = load_digits()
X = digits.images.astype("float32") / 16.0
y = digits.target.astype("int64")
X = (X - X.mean()) / X.std()
X = X[:, None, :, :]

X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
train_ds = TensorDataset(torch.tensor(X_train), torch.tensor(y_train))
test_ds = TensorDataset(torch.tensor(X_test), torch.tensor(y_test))
train_loader = DataLoader(train_ds, batch_size=64, shuffle=True)
test_loader = DataLoader(test_ds, batch_size=256, shuffle=False)


class DigitNet(nn.Module):
    """conv-conv-pool, conv-conv-pool, two fully connected layers"""

    def __init__(self):
        super(DigitNet, self).__init__()
        self.block1 = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.block2 = nn.Sequential(
            nn.Conv2d(32, 64, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.fc1 = nn.Linear(64 * 2 * 2, 64)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(64, 10)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        x = self.block1(x)
        x = self.block2(x)
        x = x.view(x.size(0), -1)
        x = self.relu(self.fc1(x))
        x = self.fc2(x)
        return self.softmax(x)


model = DigitNet()
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

num_epochs = 14
history = {"loss": [], "acc": []}
for epoch in range(num_epochs):
    model.train()
    running_loss = 0.0
    correct = 0
    total = 0
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item() * inputs.size(0)
        _, predicted = torch.max(outputs, 1)
        total += targets.size(0)
        correct += (predicted == targets).sum().item()
    history["loss"].append(running_loss / total)
    history["acc"].append(correct / total)
    print("Epoch [%d/%d] loss: %.4f  accuracy: %.2f%%" % (epoch + 1, num_epochs, history["loss"][-1], 100 * history["acc"][-1]))

model.eval()
class_correct = [0] * 10
class_total = [0] * 10
with torch.no_grad():
    for inputs, targets in test_loader:
        _, predicted = torch.max(model(inputs), 1)
        for t, p in zip(targets, predicted):
            class_total[t] += 1
            class_correct[t] += int(t == p)

for i in range(10):
    print("Accuracy of digit %d : %.1f %%" % (i, 100.0 * class_correct[i] / class_total[i]))
print("Test accuracy: %.2f %%" % (100.0 * sum(class_correct) / sum(class_total)))
