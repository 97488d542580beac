"""Small networks and batches that several tests of the checks use."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 16


def batch(
    n: int = 32, *, n_classes: int = 4, channels: int = 3, side: int = SIDE, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Images of about zero mean and unit variance that show their class, and int64 targets."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % n_classes
    targets = targets[torch.randperm(n, generator=generator)]
    patterns = torch.randn(n_classes, channels, 4, 4, generator=torch.Generator().manual_seed(77))
    shown = functional.interpolate(patterns[targets], size=(side, side), mode="bilinear")
    noise = torch.randn(n, channels, side, side, generator=generator)
    return shown + 0.5 * noise, targets


def pixels(n: int = 32, *, n_classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """uint8 images and targets."""
    inputs, targets = batch(n, n_classes=n_classes, seed=seed)
    return (inputs * 50 + 120).clamp(0, 255).to(torch.uint8), targets


def cnn(n_outputs: int = 4, *, channels: int = 3, seed: int = 0) -> nn.Sequential:
    """Two convolutions without normalisation, in-place rectifiers, two linear layers."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 16, 32),
        nn.ReLU(inplace=True),
        nn.Linear(32, n_outputs),
    )


def bn_cnn(n_outputs: int = 4, *, momentum: float = 0.1, seed: int = 0) -> nn.Sequential:
    """The same with BatchNorm after each convolution."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8, momentum=momentum),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16, momentum=momentum),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, n_outputs),
    )


def mlp(n_inputs: int, n_outputs: int = 4, *, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(n_inputs, 32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.ReLU(),
        nn.Linear(32, n_outputs),
    )


def adam(model: nn.Module, lr: float = 1e-3) -> torch.optim.Adam:
    return torch.optim.Adam(model.parameters(), lr=lr)


def sgd(model: nn.Module, lr: float = 0.05) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor, steps: int
) -> None:
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
