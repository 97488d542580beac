import torch
from parts import Net, images
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(0)
loader = DataLoader(images(256), batch_size=32, shuffle=True)
model = Net(dropout=0.0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
model = torch.compile(model, backend="eager", fullgraph=True)
loss_of = nn.CrossEntropyLoss()
for pixels, labels in loader:
    optimizer.zero_grad()
    loss = loss_of(model(pixels), labels)
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
torch._dynamo.reset()
