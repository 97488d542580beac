import torch
from parts import Net, images
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(0)
loader = DataLoader(images(256), batch_size=32, shuffle=True)
model, teacher = Net(), Net()
body = torch.optim.SGD(model.features.parameters(), lr=0.01)
head = torch.optim.Adam(model.head.parameters(), lr=0.01)
guess = nn.Linear(64, 64)
other = torch.optim.SGD(guess.parameters(), lr=0.01)
for pixels, labels in loader:
    for optimizer in (body, head, other):
        optimizer.zero_grad()
    outputs = model(pixels)
    with torch.no_grad():
        taught = teacher(pixels)
    loss = nn.functional.cross_entropy(outputs, labels)
    loss = loss + 0.1 * nn.functional.mse_loss(outputs, taught)
    loss.backward()
    body.step()
    head.step()
    flat = pixels.flatten(1)
    nn.functional.mse_loss(guess(flat), flat).backward()
    other.step()
    print(repr(loss.item()))
