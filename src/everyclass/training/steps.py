"""The loop: one generator of optimizer steps, used by training and by every trial.

Comes in: a model, an optimizer, batches, a loss. Goes out: one `StepResult` a step, its tensors
still on the device. Knows no recipe, no watch, no files; whoever drives it decides what to do
between two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from everyclass.imbalance.mixing import Mixed
from everyclass.seeding import stream_seed
from everyclass.training.augment import Augmentation, augment
from everyclass.training.batches import Batch
from everyclass.training.optim import RATE_FACTOR

Loss = Callable[[Tensor, Tensor], Tensor]
Mix = Callable[[Tensor, Tensor, torch.Generator], Mixed]
"""(prepared inputs, targets) -> mixed inputs, and targets as rows that sum to 1."""

MIXED_SHARE = 0.5
"""Of the batches, where batches are mixed. The others show one class an image: by them a training
is watched, and its accuracy on training images counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one optimizer step did. Reading a tensor's value waits for the device; the loop
    itself never does.

    Args:
        batch: what was trained on.
        loss: () float32, mean over the samples of the batch, before the step.
        logits: (B, C) float32, detached.
        targets: (B,) int64 on the device; of a mixed batch those before mixing.
        mixed: whether images and targets were mixed.
        learning_rate: the rate of this step.
    """

    batch: Batch
    loss: Tensor
    logits: Tensor
    targets: Tensor
    learning_rate: float
    mixed: bool = False


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
    mix: Mix | None = None,
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
        mix: what is done, after augmentation, to `MIXED_SHARE` of the batches; each of the parts
            that `accumulation` makes is mixed by itself.
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
        mixer = torch.Generator().manual_seed(stream_seed(seed, "mix", batch.step))
        mixes = mix is not None and float(torch.rand((), generator=mixer)) < MIXED_SHARE
        size = len(targets)
        total = torch.zeros((), device=targets.device)
        logits = []
        for part in torch.arange(size).tensor_split(min(accumulation, size)):
            low, high = int(part[0]), int(part[-1]) + 1
            change = _Change(augmentation, generator, mix if mixes else None, mixer)
            change.targets = targets[low:high]
            outputs = model(images[low:high], change)
            part_loss = loss(outputs, change.targets) * ((high - low) / size)
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
            mixed=mixes,
        )


class _Change:
    """What happens to prepared inputs inside the model, and to their targets with them.

    Attributes:
        targets: of the inputs; rows once they were mixed.
    """

    targets: Tensor

    def __init__(
        self,
        kinds: Sequence[Augmentation],
        generator: torch.Generator,
        mix: Mix | None,
        mixer: torch.Generator,
    ) -> None:
        self._kinds, self._generator, self._mix, self._mixer = kinds, generator, mix, mixer

    def __call__(self, inputs: Tensor) -> Tensor:
        inputs = augment(inputs, self._kinds, self._generator)
        if self._mix is None:
            return inputs
        mixed = self._mix(inputs, self.targets, self._mixer)
        self.targets = mixed.targets
        return mixed.images
