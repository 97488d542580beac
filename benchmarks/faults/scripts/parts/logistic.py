import torch.nn as nn


class Net(nn.Module):
    """Logistic regression on pixels."""

    def __init__(self, in_channels, num_classes, side):
        super().__init__()
        self.linear = nn.Linear(in_channels * side * side, num_classes)

    def forward(self, x):
        return self.linear(x.flatten(1))
