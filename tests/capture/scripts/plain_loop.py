import torch
from parts import Net, images
from torch import nn
from torch.utils.data import DataLoader


def main():
    torch.manual_seed(0)
    loader = DataLoader(images(320), batch_size=32, shuffle=True)
    held_out = DataLoader(images(96, seed=1), batch_size=32)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.1)
    for epoch in range(2):
        model.train()
        for pixels, labels in loader:
            optimizer.zero_grad()
            loss = loss_of(model(pixels), labels)
            loss.backward()
            optimizer.step()
            print(repr(loss.item()))
        schedule.step()
        model.eval()
        right = 0
        with torch.no_grad():
            for pixels, labels in held_out:
                right += (model(pixels).argmax(1) == labels).sum().item()
        print("accuracy", epoch, right / 96, torch.rand(1).item())


if __name__ == "__main__":
    main()
