import torch
from parts import Net, images
from torch import nn
from torch.utils.data import DataLoader


def main():
    torch.manual_seed(0)
    loader = DataLoader(images(320), batch_size=32, shuffle=True)
    model = Net()
    loss_of = nn.CrossEntropyLoss()
    for pixels, labels in loader:
        loss = loss_of(model(pixels), labels)
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.05 * parameter.grad
                parameter.grad.zero_()
        print(repr(loss.item()))


if __name__ == "__main__":
    main()
