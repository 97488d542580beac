"""The loop: one generator of optimizer steps, used by training and by every trial.

Comes in: a model, an optimizer, batches, a loss. Goes out: one `StepResult` a step, its tensors
still on the device. Knows no recipe, no watch, no files; whoever drives it decides what to do
between two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from everyclass.imbalance.mixing import Mixed
from everyclass.seeding import stream_seed
from everyclass.training.augment import Augmentation, augment
from everyclass.training.averaging import MovingAverage
from everyclass.training.batch_statistics import WholeBatchNorms
from everyclass.training.batches import Batch
from everyclass.training.fabric import Fabric
from everyclass.training.optim import RATE_FACTOR
from everyclass.training.processes import ALONE, Processes, Share, parts_of

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

    Where several processes share the batch, loss and logits are those of the whole batch on the
    first one; on the others they are of their own share.

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
    average: MovingAverage | None = None,
    processes: Processes = ALONE,
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
        processes: that share each batch, `model` then averaging their gradients. The step is that
            of one process, to rounding, but for dropout: each process draws its own.
    """
    norms = WholeBatchNorms(model) if processes.several else None
    own_stream = (processes.rank,) if processes.rank else ()
    for batch in batches:
        model.train()
        torch.manual_seed(stream_seed(seed, "dropout", batch.step, *own_stream))
        generator = torch.Generator().manual_seed(stream_seed(seed, "augment", batch.step))
        learning_rate = rate(batch.step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group.get(RATE_FACTOR, 1.0)
        optimizer.zero_grad(set_to_none=True)
        images = fabric.to_device(batch.images)
        targets = fabric.to_device(batch.targets)
        mixer = torch.Generator().manual_seed(stream_seed(seed, "mix", batch.step))
        mixes = mix is not None and float(torch.rand((), generator=mixer)) < MIXED_SHARE
        size, read = len(targets), 0
        parts = parts_of(size, accumulation)
        total = torch.zeros((), device=targets.device)
        logits = []
        for low, high in parts:
            share = processes.share(high - low)
            change = _Change(augmentation, generator, mix if mixes else None, mixer)
            if batch.places is None:
                own = images[low:high]
                change.begin(targets[low:high], takes=share if processes.several else None)
            else:
                own = images[read : read + share.n]
                change.begin(targets[low:high][share.places], among=(share.places, high - low))
                read += share.n
            whole = nullcontext() if norms is None else norms.over_all(counted=share.counted)
            with whole, fabric.no_backward_sync(model, enabled=high < size):
                outputs = model(own, change)
                part_loss = loss(outputs, change.targets) * (share.n_counted / size)
                # The gradients of all processes are averaged; theirs are to be added.
                fabric.backward(part_loss * processes.size)
            total += part_loss.detach()
            logits.append(outputs.detach()[: share.n_counted])
        if clip_norm > 0:
            fabric.clip_gradients(model, optimizer, max_norm=clip_norm, error_if_nonfinite=False)
        optimizer.step()
        if average is not None:
            average.update(model)
        together = torch.cat(logits)
        if processes.several:
            together, total = processes.whole_step(together, total, parts)
        yield StepResult(
            batch=batch,
            loss=total,
            logits=together,
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
        self._among: tuple[slice, int] | None = None
        self._takes: Share | None = None

    def begin(
        self,
        targets: Tensor,
        *,
        among: tuple[slice, int] | None = None,
        takes: Share | None = None,
    ) -> None:
        """Say what the inputs are.

        Args:
            targets: of the inputs to come.
            among: their places in a larger pass, and its size.
            takes: what is left of them in the end; all when left out. Only in whole can images be
                mixed: their partners may be another process's.
        """
        self.targets, self._among, self._takes = targets, among, takes

    def __call__(self, inputs: Tensor) -> Tensor:
        inputs = augment(inputs, self._kinds, self._generator, among=self._among)
        if self._mix is not None:
            mixed = self._mix(inputs, self.targets, self._mixer)
            inputs, self.targets = mixed.images, mixed.targets
        if self._takes is not None:
            inputs, self.targets = inputs[self._takes.places], self.targets[self._takes.places]
        return inputs
