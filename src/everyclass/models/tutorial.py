"""The network of the beginner's tutorial that this project answers.

Three 5x5 convolutions (6, 6, 16 channels), each with ReLU and 2x2 max-pooling, then fully
connected layers of 200 and 84 units. The size of the flattened features is computed, so that any
input size and channel count works: 256 px gives 16 x 28 x 28.
"""

from __future__ import annotations

from torch import Tensor, nn

from everyclass.errors import InputError

KERNEL = 5
SMALLEST_SIDE = 36  # 36 -> 32/2=16 -> 12/2=6 -> 2/2=1: the last pooling needs one pixel


def features_side(side: int) -> int:
    """Side of the last feature map.

    Example:
        >>> features_side(256)
        28
    """
    for _ in range(3):
        side = (side - (KERNEL - 1)) // 2
    return side


class TutorialCNN(nn.Module):
    """The three-layer CNN, without normalisation layers and with PyTorch's initialisation.

    Args:
        in_channels: channels of the input.
        side: input height and width, pixels, at least 36.
        n_classes: outputs.
    Raises:
        InputError: the images are too small for three poolings.
    """

    def __init__(self, *, in_channels: int, side: int, n_classes: int) -> None:
        super().__init__()
        if side < SMALLEST_SIDE:
            raise InputError(
                f"The tutorial's network needs images of at least {SMALLEST_SIDE} px; "
                f"{side} px leaves nothing after its third pooling.",
                remedy="Use a larger --image-size or another --model.",
            )
        self.features = nn.Sequential(
            *self._block(in_channels, 6), *self._block(6, 6), *self._block(6, 16)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * features_side(side) ** 2, 200),
            nn.ReLU(),
            nn.Linear(200, 84),
            nn.ReLU(),
            nn.Linear(84, n_classes),
        )

    @staticmethod
    def _block(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(in_channels, out_channels, KERNEL), nn.ReLU(), nn.MaxPool2d(2)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, n_classes) logits of (B, in_channels, side, side) inputs."""
        logits: Tensor = self.classifier(self.features(inputs))
        return logits
