"""Changes of how a copied network sees evaluation images, on the weights as they are.

Comes in: a `Lab`, a `Trainee`. Goes out: the trainee with one thing changed, or `NotApplicable`
with the reason. Trains nothing, judges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import CapturedBatch
from everyclass.diagnosis.dropout import AlteredDropout
from everyclass.diagnosis.lab import Lab
from everyclass.diagnosis.nested import map_tensors, tensors_in
from everyclass.diagnosis.snapshot import borrowed, seeded
from everyclass.diagnosis.trace import SEED
from everyclass.diagnosis.trainee import Trainee

LEAST_SHIFT, LEAST_STRETCH = 0.25, 0.25
"""Of a channel's mean, in standard deviations of training's, and of the deviation, in its
logarithm, from which evaluation images count as scaled otherwise."""


def as_training_images(lab: Lab, trainee: Trainee) -> None:
    """Evaluation images with each channel's mean and deviation as training images have them."""
    own, other = _channels(lab.parts.training), _channels(lab.evaluation)
    (mean, sd), (mean_there, sd_there) = own, other
    shift = ((mean_there - mean) / sd).abs().max()
    stretch = (sd_there / sd).log().abs().max()
    if shift < LEAST_SHIFT and stretch < LEAST_STRETCH:
        raise NotApplicable("Evaluation images have about the mean and variance of training's.")

    def mapped(batch: CapturedBatch) -> CapturedBatch:
        def channel(one: Tensor) -> Tensor:
            if not _is_image(one):
                return one
            shape = (1, -1, *([1] * (one.ndim - 2)))
            values = (one - mean_there.view(shape).to(one)) / sd_there.view(shape).to(one)
            return values * sd.view(shape).to(one) + mean.view(shape).to(one)

        return replace(batch, args=map_tensors(batch.args, channel))

    trainee.alter_batch.append(mapped)


def _channels(batches: Sequence[CapturedBatch]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of the first images found, (channels,)."""
    found = [next(filter(_is_image, tensors_in(one.args)), None) for one in batches]
    images = [one for one in found if one is not None]
    if not images:
        raise NotApplicable("The model's inputs are no images of floating numbers.")
    parts = [one.detach().double().movedim(1, 0).flatten(1) for one in images]
    values = torch.cat(parts, dim=1)
    return values.mean(1).float(), values.std(1).clamp(min=1e-6).float()


def _is_image(one: Tensor) -> bool:
    return one.ndim == 4 and one.is_floating_point()


def evaluation_mode(lab: Lab, trainee: Trainee) -> None:
    """Evaluation images go through in evaluation mode."""
    if not trainee.evaluates_in_training_mode:
        raise NotApplicable("Evaluation images went through in evaluation mode.")
    if not any(isinstance(one, _BatchNorm) for one in trainee.model.modules()):
        raise NotApplicable("The network has no BatchNorm, which takes them for training.")
    trainee.evaluates_in_training_mode = False


def training_mode(lab: Lab, trainee: Trainee) -> None:
    """Evaluation images go through in training mode, nothing dropped out: what a normalisation of
    the script's own does otherwise in evaluation is not done."""
    if trainee.evaluates_in_training_mode:
        raise NotApplicable("Evaluation images went through in training mode.")
    if any(isinstance(one, _BatchNorm) for one in trainee.model.modules()):
        raise NotApplicable("The network has torch's BatchNorm, whose statistics are taken anew.")
    if not lab.evaluation or _alike_in_both_modes(trainee, lab.evaluation[0]):
        raise NotApplicable("But for dropout the network does the same in both modes.")
    trainee.evaluates_in_training_mode = True
    trainee.drops = False


def _alike_in_both_modes(trainee: Trainee, batch: CapturedBatch) -> bool:
    found = []
    with borrowed(trainee.model), torch.no_grad(), AlteredDropout(lambda _: 0.0):
        for training in (True, False):
            trainee.model.train(training)
            with seeded(SEED):
                found.append(list(tensors_in(trainee.outputs(batch))))
    return all(
        one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-5)
        for one, other in zip(*found, strict=True)
    )


def statistics_anew(_: Lab, trainee: Trainee) -> None:
    """BatchNorm's running statistics from the captured training batches, all counting equally."""
    norms = [
        one
        for one in trainee.model.modules()
        if isinstance(one, _BatchNorm) and one.track_running_stats
    ]
    if not norms:
        raise NotApplicable("The network has no BatchNorm with running statistics.")
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    trainee.model.train()
    with torch.no_grad():
        for batch in trainee.batches:
            trainee.outputs(batch)
