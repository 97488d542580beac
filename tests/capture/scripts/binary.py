import torch
from parts import Net, images
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(0)
loader = DataLoader(images(256), batch_size=32, shuffle=True)
model = Net(outputs=1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
loss_of = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))
for pixels, labels in loader:
    optimizer.zero_grad()
    loss = loss_of(model(pixels).squeeze(1), (labels > 1).float())
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
