import copy
import io

import torch
from parts import Net, images
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(0)
loader = DataLoader(images(256), batch_size=32, shuffle=True)
model = nn.DataParallel(Net())
averaged = torch.optim.swa_utils.AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
loss_of = nn.CrossEntropyLoss()
for i, (pixels, labels) in enumerate(loader):
    optimizer.zero_grad()
    loss = loss_of(model(pixels), labels)
    loss.backward()
    optimizer.step()
    averaged.update_parameters(model)
    print(repr(loss.item()))
    if i == 3:
        file = io.BytesIO()
        torch.save(model, file)
        twin = copy.deepcopy(model)
        print(len(file.getvalue()), len(model._forward_hooks) >= len(twin._forward_hooks))
        print("copy", repr(loss_of(twin(pixels), labels).item()))
    with torch.no_grad():
        print("average", repr(loss_of(averaged(pixels), labels).item()))
