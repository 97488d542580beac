import torch.nn as nn


class Net(nn.Module):
    def __init__(self, in_channels, num_classes, side, hidden=(128, 64)):
        super().__init__()
        layers = [nn.Flatten()]
        features = in_channels * side * side
        for width in hidden:
            layers += [nn.Linear(features, width), nn.ReLU()]
            features = width
        layers.append(nn.Linear(features, num_classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)
