import torch.nn as nn


class Net(nn.Module):
    def __init__(self, in_channels, num_classes, side):
        super().__init__()
        layers = []
        for width in (12, 12, "pool", 24, 24, "pool", 48, 48, "pool"):
            if width == "pool":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                in_channels = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(192, 96),
            nn.ReLU(inplace=True),
            nn.Linear(96, num_classes),
        )

    def forward(self, x):
        return self.classifier(self.pool(self.features(x)))
