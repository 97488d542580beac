import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from torch.utils.data import TensorDataset, DataLoader, random_split

# Reading the image row by row with an LSTM, like a sequence
input_size = 8
seq_len = 8
hidden_size = 64
num_layers = 1
num_classes = 10
batch_size = 48
num_epochs = 18
learning_rate = 3e-3

torch.manual_seed(42)
X, y = load_digits(return_X_y=True)
X = torch.from_numpy(X.reshape(-1, 1, 8, 8)).float() / 16
y = torch.from_numpy(y).long()
dataset = TensorDataset(X, y)
n_test = 360
train_set, test_set = random_split(dataset, [len(dataset) - n_test, n_test])
train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)
test_loader = DataLoader(test_set, batch_size=batch_size, shuffle=False)


class RowLSTM(nn.Module):
    def __init__(self, input_size, hidden_size, num_layers, num_classes):
        super(RowLSTM, self).__init__()
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers)
        self.fc = nn.Linear(hidden_size, num_classes)

    def forward(self, images):
        # LSTM wants (seq, batch, features)
        x = images.view(seq_len, -1, input_size)
        h0 = torch.zeros(self.num_layers, x.size(1), self.hidden_size)
        c0 = torch.zeros(self.num_layers, x.size(1), self.hidden_size)
        out, _ = self.lstm(x, (h0, c0))
        return self.fc(out[-1])


model = RowLSTM(input_size, hidden_size, num_layers, num_classes)
criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(model.parameters(), lr=learning_rate)

total_step = len(train_loader)
for epoch in range(num_epochs):
    model.train()
    for i, (images, labels) in enumerate(train_loader):
        outputs = model(images)
        loss = criterion(outputs, labels)

        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

        if (i + 1) % 15 == 0:
            print('Epoch [{}/{}], Step [{}/{}], Loss: {:.4f}'.format(
                epoch + 1, num_epochs, i + 1, total_step, loss.item()))

model.eval()
all_pred, all_true = [], []
with torch.no_grad():
    for images, labels in test_loader:
        outputs = model(images)
        _, predicted = torch.max(outputs.data, 1)
        all_pred.extend(predicted.numpy())
        all_true.extend(labels.numpy())

cm = confusion_matrix(all_true, all_pred, labels=list(range(10)))
print(cm)
print('Per-digit recall:', np.round(cm.diagonal() / cm.sum(1), 2))
print('Test accuracy: {:.2f} %'.format(100 * cm.diagonal().sum() / cm.sum()))
