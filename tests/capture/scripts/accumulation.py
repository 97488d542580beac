import torch
from parts import Net, images
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(0)
loader = DataLoader(images(256), batch_size=16, shuffle=True)
held_out = DataLoader(images(64, seed=1), batch_size=32)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss_of = nn.CrossEntropyLoss()
for i, (pixels, labels) in enumerate(loader):
    loss = loss_of(model(pixels), labels) / 4
    loss.backward()
    print(repr(loss.item()))
    if i % 4 == 3:
        optimizer.step()
        optimizer.zero_grad()
        # A validation inside, in train mode and with gradients: the forgotten two lines.
        for pixels, labels in held_out:
            print("validation", repr(loss_of(model(pixels), labels).item()))
