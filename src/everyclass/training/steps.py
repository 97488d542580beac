"""The loop: one generator of optimizer steps, used by training and by every trial.

Comes in: a model, an optimizer, batches, a loss. Goes out: one `StepResult` a step, its tensors
still on the device. Knows no recipe, no watch, no files; whoever drives it decides what to do
between two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from everyclass.seeding import stream_seed
from everyclass.training.augment import Augmentation, augment
from everyclass.training.batches import Batch
from everyclass.training.optim import RATE_FACTOR

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one optimizer step did. Reading a tensor's value waits for the device; the loop
    itself never does.

    Args:
        batch: what was trained on.
        loss: () float32, mean over the samples of the batch, before the step.
        logits: (B, C) float32, detached.
        targets: (B,) int64 on the device.
        learning_rate: the rate of this step.
    """

    batch: Batch
    loss: Tensor
    logits: Tensor
    targets: Tensor
    learning_rate: float


def steps(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[Batch],
    loss: Loss,
    *,
    fabric: Fabric,
    rate: Callable[[int], float],
    seed: int,
    accumulation: int = 1,
    clip_norm: float = 0.0,
    augmentation: Sequence[Augmentation] = (),
    average: AveragedModel | None = None,
) -> Iterator[StepResult]:
    """Train on each batch and yield what happened.

    Dropout and augmentation draw from streams named by the step, so a step does not depend on
    what ran before it and an interrupted training continues bit for bit.

    Args:
        model: takes uint8 images and an optional augmentation (`Classifier`), set up by `fabric`.
        optimizer: set up by `fabric`.
        batches: in order; their `step` names the random streams and the rate.
        loss: (logits, targets) -> mean over samples. Only a mean over samples makes a batch in
            `accumulation` parts equal to the whole batch.
        rate: step -> learning rate; a group of the optimizer may have a factor on it.
        seed: the run's seed.
        accumulation: forward passes the batch is cut into.
        clip_norm: largest norm of all gradients together; 0 = no clipping.
        augmentation: kinds for `augment`.
        average: updated after every step.
    """
    for batch in batches:
        model.train()
        torch.manual_seed(stream_seed(seed, "dropout", batch.step))
        generator = torch.Generator().manual_seed(stream_seed(seed, "augment", batch.step))
        learning_rate = rate(batch.step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group.get(RATE_FACTOR, 1.0)
        optimizer.zero_grad(set_to_none=True)
        images = fabric.to_device(batch.images)
        targets = fabric.to_device(batch.targets)
        change = partial(augment, kinds=augmentation, generator=generator)
        size = len(targets)
        total = torch.zeros((), device=targets.device)
        logits = []
        for part in torch.arange(size).tensor_split(min(accumulation, size)):
            low, high = int(part[0]), int(part[-1]) + 1
            outputs = model(images[low:high], change)
            part_loss = loss(outputs, targets[low:high]) * ((high - low) / size)
            fabric.backward(part_loss)
            total += part_loss.detach()
            logits.append(outputs.detach())
        if clip_norm > 0:
            fabric.clip_gradients(model, optimizer, max_norm=clip_norm, error_if_nonfinite=False)
        optimizer.step()
        if average is not None:
            average.update_parameters(model)
        yield StepResult(
            batch=batch,
            loss=total,
            logits=torch.cat(logits),
            targets=targets,
            learning_rate=learning_rate,
        )
