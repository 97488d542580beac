import torch
import torch.nn.functional as F
from parts import Net, images
from torch.utils.data import DataLoader

torch.manual_seed(0)
loader = DataLoader(images(256), batch_size=32, shuffle=True)
model = Net(dropout=0.0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)


@torch.compile(backend="eager")
def loss_of(pixels, labels):
    return F.cross_entropy(model(pixels), labels)


for pixels, labels in loader:
    optimizer.zero_grad()
    loss = loss_of(pixels, labels)
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
torch._dynamo.reset()
