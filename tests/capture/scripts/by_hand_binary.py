import torch
from parts import Net, images
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
pixels, labels = images(256).tensors
loader = DataLoader(TensorDataset(pixels, (labels > 1).float()), batch_size=32, shuffle=True)
model = Net(1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for batch, targets in loader:
    p = torch.sigmoid(model(batch))[:, 0].clamp(1e-6, 1 - 1e-6)
    loss = -(targets * p.log() * (1 - p) + (1 - targets) * (1 - p).log() * p).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
with torch.no_grad():
    for batch, targets in loader:
        print(((model(batch)[:, 0] > 0) == (targets > 0.5)).float().mean().item())
