import torch
from fastai.optimizer import Optimizer, average_grad, average_sqr_grad, weight_decay
from parts import Net, images
from torch import nn
from torch.utils.data import DataLoader


class Image(torch.Tensor):
    """A tensor that has a name of its own and nothing else."""


def main():
    torch.manual_seed(0)
    loader = DataLoader(images(320), batch_size=32, shuffle=True)
    model = Net()
    rules = [weight_decay, average_grad, average_sqr_grad]
    optimizer = Optimizer(model.parameters(), rules, lr=0.05, mom=0.9, sqr_mom=0.99, wd=0.1)
    for one in model.parameters():
        optimizer.state[one]["do_wd"] = one.ndim > 1
    loss_of = nn.CrossEntropyLoss()
    for step, (pixels, labels) in enumerate(loader):
        loss = loss_of(model(pixels.as_subclass(Image)), labels.as_subclass(Image))
        loss.backward()
        optimizer.hypers[0]["lr"] = 0.05 / (step + 1)
        optimizer.step()
        model.zero_grad()
        print(repr(loss.item()))


if __name__ == "__main__":
    main()
