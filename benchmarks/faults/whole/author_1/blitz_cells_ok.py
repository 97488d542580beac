import os, time
import torch
import torch.nn as nn
import torchvision
import torchvision.transforms as transforms

# adapted from the pytorch 60 minute blitz, only with image folders
torch.manual_seed(0)
root = os.environ.get('DATA', 'data') + '/pbc_128'
classes = ('basophil', 'eosinophil', 'erythroblast', 'lymphocyte', 'neutrophil', 'platelet')
batch_size = 32

transform = transforms.Compose(
    [transforms.Resize((32, 32)),
     transforms.ToTensor(),
     transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])


def take(start, stop):
    out = []
    for label, name in enumerate(classes):
        folder = os.path.join(root, name)
        for fn in sorted(os.listdir(folder))[start:stop]:
            img = torchvision.datasets.folder.default_loader(os.path.join(folder, fn))
            out.append((transform(img), label))
    return out


trainset = take(0, 300)
testset = take(300, 370)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=batch_size, shuffle=True)
testloader = torch.utils.data.DataLoader(testset, batch_size=batch_size, shuffle=False)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(12, 24, 5)
        self.fc1 = nn.Linear(24 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, len(classes))

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        return self.fc3(x)


net = Net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)

t0 = time.time()
for epoch in range(10):  # loop over the dataset multiple times
    net.train()
    running_loss = 0.0
    for i, data in enumerate(trainloader, 0):
        inputs, labels = data

        # zero the parameter gradients
        optimizer.zero_grad()

        # forward + backward + optimize
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()

        running_loss += loss.item()
        if i % 20 == 19:
            print(f'[{epoch + 1}, {i + 1:5d}] loss: {running_loss / 20:.3f}')
            running_loss = 0.0

print('Finished Training, %.0f s' % (time.time() - t0))

# prepare to count predictions for each class
correct_pred = {classname: 0 for classname in classes}
total_pred = {classname: 0 for classname in classes}

net.eval()
with torch.no_grad():
    for images, labels in testloader:
        _, predictions = torch.max(net(images), 1)
        for label, prediction in zip(labels, predictions):
            if label == prediction:
                correct_pred[classes[label]] += 1
            total_pred[classes[label]] += 1

for classname, correct_count in correct_pred.items():
    print(f'Accuracy for class: {classname:12s} is {100 * correct_count / total_pred[classname]:.1f} %')
print(f'Accuracy overall: {100 * sum(correct_pred.values()) / sum(total_pred.values()):.1f} %')
