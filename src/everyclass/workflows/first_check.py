"""The exact checks of a training that is about to begin, on its first batch.

Comes in: the classifier, its optimizer and loss, the first training batch and some validation
images. Goes out: a `CheckReport`. The training does not change by it: `check` puts everything back,
and the augmentation of the batch is drawn from the stream that its step draws from as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from everyclass.diagnosis.check import CheckReport, check
from everyclass.models.classifier import Classifier
from everyclass.seeding import stream_seed
from everyclass.training.augment import Augmentation, augment
from everyclass.training.batches import Batch
from everyclass.training.steps import Loss

MOST_IMAGES, LEAST_IMAGES = 64, 16
MOST_PIXELS = 64 * 64 * 64
"""Of the images that are checked together: enough to judge by, and seconds on a CPU."""


def checked_images(side: int) -> int:
    """Images of a batch that are checked, at this side in pixels."""
    return max(LEAST_IMAGES, min(MOST_IMAGES, MOST_PIXELS // side**2))


def first_check(
    classifier: Classifier,
    optimizer: Optimizer,
    loss: Loss,
    batch: Batch,
    *,
    validation: tuple[Tensor, Tensor] | None,
    augmentation: Sequence[Augmentation],
    seed: int,
    classes: Sequence[str],
    class_counts: Sequence[int],
) -> CheckReport:
    """Check the network behind the preprocessing, with inputs as its first layer gets them.

    Args:
        classifier: with its first weights, on any device.
        optimizer: the plain one, not Fabric's.
        loss: (logits, targets) -> mean.
        batch: the first one; its first `checked_images` are taken.
        validation: (B, 3, S, S) uint8 images and their (B,) class ids; None without any.
        augmentation: kinds that training applies.
        seed: of the run.
        classes: names in output order.
        class_counts: (C,) training images of each class.
    """
    device, most = classifier.mean.device, checked_images(batch.images.shape[-1])
    generator = torch.Generator().manual_seed(stream_seed(seed, "augment", batch.step))

    def prepared(images: Tensor, kinds: Sequence[Augmentation]) -> Tensor:
        with torch.no_grad():
            inputs = classifier.prepare(images[:most].to(device))
            inputs = augment(inputs, kinds=kinds, generator=generator)
        return inputs.contiguous(memory_format=classifier.memory_format)

    return check(
        classifier.network,
        (prepared(batch.images, augmentation), batch.targets[:most].to(device)),
        loss,
        optimizer,
        evaluation_batch=None
        if validation is None
        else (prepared(validation[0], ()), validation[1][:most].to(device)),
        classes=classes,
        class_counts=class_counts,
        initial=True,
    )
