import torch
from parts import Net, images
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(0)
loader = DataLoader(images(256), batch_size=32, shuffle=True)
model = Net()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**110)
loss_of = nn.CrossEntropyLoss()
for pixels, labels in loader:
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(model(pixels), labels)
    scaler.scale(loss).backward()
    if len(labels) == 32 and scaler.get_scale() > 2.0**109:
        model.head.weight.grad[0, 0] = float("inf")
    scaler.step(optimizer)
    scaler.update()
    print(repr(loss.item()), scaler.get_scale())
