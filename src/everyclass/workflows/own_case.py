"""Our own training as a `Case`: what checks and trials start from.

Comes in: a job as it stands, and the same job with the weights it began with. Goes out: a `Case`.
Nothing is captured while a training runs: the batch, the rate and the draws of every step follow
from its number, so all of it is made again when it is asked for, and a healthy run pays nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

from everyclass.diagnosis.case import CapturedBatch, Case, LossSpec
from everyclass.imbalance.weights import normalise
from everyclass.settings import Precision, Settings
from everyclass.training.augment import TrainingForward
from everyclass.training.batches import Rows, steps_per_epoch, to_images, training_batches
from everyclass.training.optim import RATE_FACTOR
from everyclass.training.steps import Loss
from everyclass.workflows.job import Job, rate_course

MOST_BYTES = 64 * 2**20
"""Of the images that trials get."""

EVALUATION_IMAGES = 256

RATE_STEPS = 1500
"""Steps whose rates are told: no trial is longer."""

_DTYPES: Mapping[Precision, torch.dtype | None] = MappingProxyType(
    {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
)


def own_case(
    job: Job, first_weights: dict[str, Tensor], optimizer: Optimizer, *, first_step: int, step: int
) -> Case:
    """The training from `first_step` on, as it stands at `step`.

    Args:
        job: its classifier has the weights of now.
        first_weights: state dict of the classifier at `first_step`, on the CPU.
        optimizer: the plain one, as it is now.
        first_step: at which the training began, or from which it was repaired.
        step: optimizer steps done.
    """
    settings = job.settings
    codes = job.table.split_codes()
    train_rows = np.flatnonzero(codes == 0).astype(np.int64)
    per_epoch = steps_per_epoch(len(train_rows), settings.batch_size)
    batches = _batches(job, train_rows, first_step=first_step, per_epoch=per_epoch)
    epoch = min(step // per_epoch, settings.epochs - 1)
    weights = _loss_weights(job, epoch)
    counts = tuple(int(one) for one in job.table.counts("train"))
    return Case(
        model=TrainingForward(
            job.classifier, settings.augmentation, dtype=_DTYPES[settings.precision]
        ),
        optimizers=(_at_peak(optimizer, settings.learning_rate),),
        loss_function=_plain_loss(job, weights, epoch),
        loss=LossSpec(
            name="cross_entropy", weight=weights, label_smoothing=settings.label_smoothing
        )
        if job.correction.is_cross_entropy
        else LossSpec(name="by_hand"),
        n_classes=len(job.table.classes),
        batches=batches,
        evaluation=_evaluation(job, np.flatnonzero(codes == 1).astype(np.int64)),
        label_counts=tuple(
            tuple(torch.bincount(one.targets, minlength=len(counts)).tolist())
            for one in batches
            if one.targets is not None
        ),
        class_counts=counts,
        forwards=step - first_step,
        steps=step - first_step,
        gradients_cleared=True,
        rates=_rates(settings, first_step=first_step, n_steps=per_epoch * settings.epochs),
        initial_state={f"classifier.{name}": value for name, value in first_weights.items()},
        # No `epoch_batches`: images are raw here, so that pixels tell which come again.
    )


def _at_peak(optimizer: Optimizer, rate: float) -> Optimizer:
    """The same optimizer with the rate that the recipe asks for: where the schedule stands is told
    by `rates`, and at its end every rate would look like nothing."""
    twin = copy.copy(optimizer)
    twin.param_groups = [
        {**group, "lr": rate * group.get(RATE_FACTOR, 1.0)} for group in optimizer.param_groups
    ]
    return twin


def _batches(
    job: Job, train_rows: Rows, *, first_step: int, per_epoch: int
) -> tuple[CapturedBatch, ...]:
    """An epoch of raw images from `first_step` on, or as much as fits."""
    settings = job.settings
    size = settings.batch_size * 3 * settings.image_size**2
    most = max(1, min(per_epoch, MOST_BYTES // size))
    read = training_batches(
        job.store.gather,
        job.table.labels(),
        lambda epoch: train_rows[job.correction.epoch_order(epoch)],
        n_images=len(train_rows),
        batch_size=settings.batch_size,
        first_step=first_step,
        n_steps=min(first_step + most, per_epoch * settings.epochs),
    )
    return tuple(
        CapturedBatch(
            # Some layers' backward passes cannot take few channels in the channels-last format on
            # a CPU (torch 2.14.1 writes past its memory in a 1x1 convolution of stride 2).
            args=(one.images.contiguous(),),
            targets=one.targets,
            step=one.step - first_step,
            model_training=True,
        )
        for one in islice(read, most)
    )


def _evaluation(job: Job, val_rows: Rows) -> tuple[CapturedBatch, ...]:
    rows = val_rows[:: max(1, len(val_rows) // EVALUATION_IMAGES)][:EVALUATION_IMAGES]
    if not len(rows):
        return ()
    labels = torch.from_numpy(job.table.labels()[rows])
    images = to_images(job.store.gather(rows)).contiguous()
    return (CapturedBatch(args=(images,), targets=labels, training=False, model_training=False),)


def _rates(settings: Settings, *, first_step: int, n_steps: int) -> tuple[tuple[int, float], ...]:
    """The course that the recipe sets, steps that were not reached yet included."""
    steps = range(first_step, min(n_steps, first_step + RATE_STEPS))
    rates = list(map(rate_course(settings, n_steps=n_steps), steps))
    return tuple((k, rate) for k, rate in enumerate(rates) if k == 0 or rate != rates[k - 1])


def _loss_weights(job: Job, epoch: int) -> Tensor | None:
    """(C,) class weights with mean 1 over the images, as the loss applies them in this epoch."""
    weights = job.correction.weights_at(epoch)
    if weights is None:
        return None
    counts = torch.from_numpy(job.table.counts("train"))
    return normalise(torch.tensor(weights), counts).to(job.classifier.mean.device)


def _plain_loss(job: Job, weights: Tensor | None, epoch: int) -> Loss:
    """Our loss in the words of torch's, where it is the same number: trials can take weights and
    smoothing out of that. Smoothed and weighted at once it is not, and stays as it is."""
    smoothing = job.settings.label_smoothing
    if weights is None or smoothing or not job.correction.is_cross_entropy:
        return job.correction.loss_at(epoch)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(logits, targets, weight=weights, reduction="none").mean()

    return loss
