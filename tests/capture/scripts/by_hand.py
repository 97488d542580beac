import torch
from parts import Net, images
from torch.utils.data import DataLoader

torch.manual_seed(0)
loader = DataLoader(images(256), batch_size=32, shuffle=True)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for pixels, labels in loader:
    optimizer.zero_grad()
    log_probs = torch.log_softmax(model(pixels), dim=1)
    loss = -log_probs.gather(1, labels[:, None]).mean()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
