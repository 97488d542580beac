"""Training against evaluation. Causes: batchnorm-mismatch, train-eval-mismatch,
augmentation-too-strong where training images are noise beside evaluation images or differ in
brightness by more than all that these show, and labels-out-of-range where only evaluation shows
it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.case import CapturedBatch
from everyclass.diagnosis.causes.inputs import channel_figures
from everyclass.diagnosis.material import (
    LEARNED_SHARE,
    MOST_ROWS,
    Material,
    as_rows,
    class_ids,
    first_rows,
)
from everyclass.diagnosis.trace import Pass, PassError, run_pass
from everyclass.stats.confusion import (
    MATCHED_MORE,
    accuracy,
    best_matching,
    confusion_matrix,
    right_in_another_order,
)

LEAST_AGREEMENT = 0.7
MOST_LOST = 0.5
"""Share of what was learned (the loss below that of the best constant answer) that evaluation mode
may lose: the statistics of a rate that is still high lag behind, and cost a little."""

BATCHES_UNTIL_SETTLED = 100
"""Batches that BatchNorm's statistics have seen before they are judged: at momentum 0.1 what was
there at the start counts 3e-5 then."""

SMOOTH, ROUGHER = 0.4, 0.5
"""Correlation of neighbouring pixels that evaluation images have at least, and the share of it that
training images fall short of, from which they are called noise."""

MOST_JITTER, MORE_JITTER = 3.0, 5.0
"""Of all the pixels' standard deviation, and times what it is between evaluation images, from which
the variation of brightness between training images is too strong."""

LATE_STEPS = 0.5
"""Share of the run from which decisions count."""

LEAST_IMAGES = 16
LEAST_SIDE = 8
"""Pixels of images that have an inner half to speak of."""

MEAN_DIFFERENCE = 0.5
SD_RATIO = 2.0
SEPARATION = 0.95
"""Chance that an image of one side has the larger mean (or spread) than one of the other, beyond
which the two sides are called different; other classes in the batch move it less."""


def train_against_eval(material: Material) -> Answer:
    """The same batch with the batch's own statistics and with the running ones."""
    norms = [m for m in material.model.modules() if isinstance(m, _BatchNorm)]
    kept = [m for m in norms if m.track_running_stats and m.running_mean is not None]
    if not kept:
        raise NotApplicable("The model has no BatchNorm with running statistics.")
    seen = max(_batches_seen(one) for one in kept)
    # After so many steps statistics that saw fewer batches were reset, or were left behind.
    if max(seen, material.case.steps or 0) < BATCHES_UNTIL_SETTLED:
        raise NotApplicable(
            f"BatchNorm has seen {seen} batches; its running statistics are judged from "
            f"{BATCHES_UNTIL_SETTLED} on."
        )
    own, running = _pass(material, "batchnorm"), material.evaluation
    if own.scores is None or running.scores is None or own.loss is None or running.loss is None:
        raise NotApplicable("No scores and loss were found to compare.")
    first, second = _decisions(own.scores), _decisions(running.scores)
    agreement = float((first == second).float().mean())
    before, after = float(own.loss), float(running.loss)
    evidence: dict[str, Any] = {
        "agreement": agreement,
        "loss_with_batch_statistics": before,
        "loss_with_running_statistics": after,
        "batches_seen": seen,
    }
    anchor = material.constant_loss
    learned = anchor is not None and before < LEARNED_SHARE * anchor
    lost = (after - before) / (anchor - before) if anchor is not None and learned else 0.0
    evidence["share_lost"] = lost
    if agreement >= LEAST_AGREEMENT or lost < MOST_LOST:
        state = "" if learned else " (nothing learned yet that could be lost)"
        return passed(
            f"Training and evaluation mode agree on {figure(100 * agreement)} % of the batch"
            f"{state}; the loss is {figure(before)} and {figure(after)}.",
            evidence,
        )
    return accuse(
        "batchnorm-mismatch",
        f"With the batch's own statistics the loss is {figure(before)}, with BatchNorm's running "
        f"ones ({seen:,} batches) {figure(after)}; they agree on {figure(100 * agreement)} % of "
        "the batch.",
        remedy="Larger and mixed batches, a larger BatchNorm momentum, or GroupNorm; and make sure "
        "that nothing resets the statistics and only training batches pass in training mode.",
        evidence=evidence,
    )


def evaluation_mode(material: Material) -> Answer:
    """Evaluation batches that went through in training mode."""
    modes = [one.model_training for one in material.case.evaluation]
    known = [one for one in modes if one is not None]
    if not known:
        raise NotApplicable("No evaluation forward was seen.")
    affected = sorted({type(m).__name__ for m in material.model.modules() if _acts_by_mode(m)})
    wrong = sum(known)
    evidence = {"evaluation_batches": len(known), "in_training_mode": wrong, "layers": affected}
    if not wrong or not any("BatchNorm" in one for one in affected):
        return passed(f"{len(known) - wrong} of {len(known)} ran in evaluation mode.", evidence)
    return accuse(
        "batchnorm-mismatch",
        f"{wrong} of {len(known)} evaluation batches ran in training mode: {', '.join(affected)} "
        "took them for training, and their statistics entered the model.",
        remedy="Call model.eval() before evaluating and model.train() after.",
        evidence=evidence,
    )


def validation_preprocessing(material: Material) -> Answer:
    """Evaluation images that reach the first layer otherwise than training images."""
    if not material.case.evaluation:
        raise NotApplicable("No evaluation batch is known.")
    training = _middle(first_inputs(material, material.case.batches))
    evaluation = _middle(first_inputs(material, material.case.evaluation))
    layer = material.first_layer
    if min(len(training), len(evaluation)) < LEAST_IMAGES:
        raise NotApplicable(f"Fewer than {LEAST_IMAGES} images are known on one side.")
    if training.shape[1] != evaluation.shape[1]:
        raise NotApplicable("Training and evaluation inputs have different channels.")
    ours, theirs = (
        channel_figures(training, layer.module),
        channel_figures(evaluation, layer.module),
    )
    evidence: dict[str, Any] = {
        "training": {"mean": list(ours.mean), "sd": list(ours.sd)},
        "evaluation": {"mean": list(theirs.mean), "sd": list(theirs.sd)},
    }
    worst = _worst_difference(training, evaluation)
    evidence |= worst
    facts = (
        f"training images have mean {_listed(ours.mean)} and standard deviation {_listed(ours.sd)} "
        f"at the first layer, evaluation images {_listed(theirs.mean)} and {_listed(theirs.sd)}"
    )
    jitter = _jitter(training, evaluation)
    evidence["jitter"] = jitter
    if jitter[0] > max(MOST_JITTER * jitter[2], MORE_JITTER * jitter[1]) and not material.learned:
        return accuse(
            "augmentation-too-strong",
            f"The mean of a training image varies by {figure(jitter[0])} (standard deviation "
            f"between images), of an evaluation image by {figure(jitter[1])}, where pixels vary by "
            f"{figure(jitter[2])} in all: what is added to each image drowns what it shows.",
            remedy="Weaken the brightness jitter, or give it in the units that the images have at "
            "that point (0..1 or standardised, not 0..255).",
            evidence=evidence,
        )
    far = worst["mean_difference"] > MEAN_DIFFERENCE or worst["sd_ratio"] > SD_RATIO
    if not far or worst["separation"] < SEPARATION:
        return passed(f"Both sides are alike: {facts}.", evidence)
    near, near_there = neighbours(training), neighbours(evaluation)
    evidence["neighbours"] = {"training": near, "evaluation": near_there}
    if near_there >= SMOOTH and near < ROUGHER * near_there:
        return accuse(
            "augmentation-too-strong",
            "Training images are hardly more than noise: neighbouring pixels correlate with "
            f"{figure(near)}, in evaluation images with {figure(near_there)}; {facts}.",
            remedy="Look at a few training images as the network gets them, and weaken the "
            "augmentation (noise in the images' own units) until you could name their class.",
            evidence=evidence,
        )
    return accuse(
        "train-eval-mismatch",
        f"They are prepared differently: {facts}.",
        remedy="Use one normalisation for both; only augmentation may differ.",
        evidence=evidence,
    )


def _jitter(training: Tensor, evaluation: Tensor) -> tuple[float, float, float]:
    """Standard deviation between training images of their means, between evaluation images, and
    of the pixels of evaluation images; of the channel in which the first is largest."""
    ours, theirs = _by_image(training)[0].std(dim=0), _by_image(evaluation)[0].std(dim=0)
    pixels = _pooled(evaluation)[1]
    worst = int((ours / pixels.clamp(min=1e-12)).argmax())
    return float(ours[worst]), float(theirs[worst]), float(pixels[worst])


def neighbours(images: Tensor) -> float:
    """Mean correlation of horizontally neighbouring pixels within an image and channel; NaN for
    inputs that are no images."""
    if images.ndim != 4 or images.shape[3] < 4:
        return math.nan
    rows = images.double().flatten(0, 1)
    left, right = rows[:, :, :-1].flatten(1), rows[:, :, 1:].flatten(1)
    left = left - left.mean(dim=1, keepdim=True)
    right = right - right.mean(dim=1, keepdim=True)
    sizes = left.norm(dim=1) * right.norm(dim=1)
    known = sizes > 1e-12
    return float(((left * right).sum(dim=1)[known] / sizes[known]).mean())


def class_order(material: Material) -> Answer:
    """Decisions on evaluation images that are right once each is read as another class."""
    n = max(2, material.case.n_classes or 2)
    matrix = _late_decisions(material.case.evaluation, n)
    trained = _late_decisions(material.case.batches, n)
    images, order = int(matrix.sum()), best_matching(matrix)
    if not images or not trained.sum():
        raise NotApplicable("No decisions on evaluation and training images were captured.")
    right, matched = accuracy(matrix), float(matrix[order, range(n)].sum()) / images
    evidence: dict[str, Any] = {
        "images": images,
        "right": right,
        "right_in_training": accuracy(trained),
        "right_in_another_order": matched,
        "order": order.tolist(),
    }
    if not order_differs(matrix, trained):
        return passed(
            f"{figure(100 * right)} % of the decisions are right as they stand.", evidence
        )
    shift = {int(k - i) % n for i, k in enumerate(order) if matrix[:, i].sum()}
    told = f"{shift.pop()} further on" if len(shift) == 1 else "in another order"
    return accuse(
        "labels-out-of-range",
        f"On evaluation images {figure(100 * right)} % of {images:,} decisions are right, in "
        f"training {figure(100 * accuracy(trained))} %; read as the class {told} each, "
        f"{figure(100 * matched)} % of the former would be: training and evaluation number the "
        "classes differently.",
        remedy="Make both from one table of class ids (class_to_idx), with the same offset.",
        evidence=evidence,
    )


def order_differs(evaluation: NDArray[np.int64], training: NDArray[np.int64]) -> bool:
    """Whether decisions on evaluation images are right once read in another order, and those on
    training images as they stand.

    Args:
        evaluation, training: (C, C) confusion of either.
    """
    other = right_in_another_order(evaluation) is not None
    return other and accuracy(training) >= accuracy(evaluation) + MATCHED_MORE


def _late_decisions(batches: Sequence[CapturedBatch], n_classes: int) -> NDArray[np.int64]:
    """Confusion of the captured answers of the later half of the run."""
    found = np.zeros((n_classes, n_classes), dtype=np.int64)
    last = max((one.step for one in batches), default=0)
    for batch in batches:
        ids = None if batch.targets is None else class_ids(batch.targets, ignore=-100)
        if ids is None or batch.outputs is None or batch.step < LATE_STEPS * last:
            continue
        rows = _decisions(batch.outputs).cpu()
        if len(rows) == len(ids):
            known = (ids >= 0) & (ids < n_classes)
            found += confusion_matrix(ids[known].numpy(), rows[known].numpy(), n_classes=n_classes)
    return found


def _worst_difference(training: Tensor, evaluation: Tensor) -> dict[str, float]:
    """The largest difference over channels, in means and in spread, and how well single images
    tell the sides apart by either.
    """
    ours, theirs = _by_image(training), _by_image(evaluation)
    pooled_ours, pooled_theirs = _pooled(training), _pooled(evaluation)
    scale = torch.maximum(pooled_ours[1], pooled_theirs[1]).clamp(min=1e-12)
    ratio = (pooled_ours[1].clamp(min=1e-12) / pooled_theirs[1].clamp(min=1e-12)).log().abs().exp()
    separation = max(
        separation_of(left[:, c], right[:, c])
        for left, right in zip(ours, theirs)
        for c in range(left.shape[1])
    )
    return {
        "mean_difference": float(((pooled_ours[0] - pooled_theirs[0]).abs() / scale).max()),
        "sd_ratio": float(ratio.max()),
        "separation": separation,
    }


def separation_of(left: Tensor, right: Tensor) -> float:
    """Chance that a value of one side exceeds one of the other, whichever is larger; 0.5 to 1.

    Example:
        >>> separation_of(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
        1.0
    """
    more = (left[:, None] > right[None, :]).float() + 0.5 * (
        left[:, None] == right[None, :]
    ).float()
    share = float(more.mean())
    return max(share, 1 - share)


def first_inputs(material: Material, batches: Sequence[CapturedBatch]) -> Tensor:
    """What the first layer gets of the first few batches, in evaluation mode, on the CPU."""
    found: list[Tensor] = []
    for batch in batches[:4]:
        try:
            seen = run_pass(
                material.model,
                replace(first_rows(material.on_device(batch), MOST_ROWS), outputs=None),
                loss_function=None,
                mode="eval",
            )
        except PassError as error:
            raise NotApplicable(f"The model could not be run on a batch: {error}") from error
        layer = next((one for one in seen.layers if one.inputs is not None), None)
        if layer is None or layer.inputs is None:
            raise NotApplicable("No layer with weights takes floating inputs.")
        inputs = layer.inputs.float().cpu()
        # Batches of other image sizes are compared by their pixels, not by their shape.
        found.append(inputs if inputs.ndim < 4 else _same_size(inputs, found))
    if not found or len({one.shape[1:] for one in found}) > 1:
        raise NotApplicable("The batches' inputs have different shapes.")
    return torch.cat(found)


def _middle(inputs: Tensor) -> Tensor:
    """The inner half of images: what shifts and rotates them in training fills in at the edges."""
    if inputs.ndim != 4 or min(inputs.shape[2:]) < LEAST_SIDE:
        return inputs
    height, width = inputs.shape[2:]
    return inputs[:, :, height // 4 : height - height // 4, width // 4 : width - width // 4]


def _same_size(inputs: Tensor, found: Sequence[Tensor]) -> Tensor:
    if not found or found[0].shape[1:] == inputs.shape[1:]:
        return inputs
    return nn.functional.interpolate(inputs, size=found[0].shape[2:], mode="nearest")


def _by_image(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """(images, channels) mean and standard deviation."""
    columns = inputs.flatten(2) if inputs.ndim >= 4 else inputs.flatten(1).unsqueeze(1)
    return columns.mean(dim=2), columns.std(dim=2, unbiased=False)


def _pooled(inputs: Tensor) -> tuple[Tensor, Tensor]:
    columns = inputs.movedim(1, 0).flatten(1) if inputs.ndim >= 4 else inputs.reshape(1, -1)
    return columns.mean(dim=1), columns.std(dim=1, unbiased=False)


def _pass(material: Material, mode: str) -> Pass:
    try:
        return run_pass(
            material.model,
            material.small_batch,
            loss_function=material.case.loss_function,
            mode=mode,
        )
    except PassError as error:
        raise NotApplicable(f"The model could not be run on the batch: {error}") from error


def _decisions(scores: Tensor) -> Tensor:
    rows = as_rows(scores.detach())
    return rows.argmax(dim=1) if rows.shape[1] > 1 else (rows[:, 0] > 0).long()


def _batches_seen(norm: _BatchNorm) -> int:
    return 0 if norm.num_batches_tracked is None else int(norm.num_batches_tracked)


def _acts_by_mode(module: nn.Module) -> bool:
    dropout = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    return dropout or isinstance(module, _BatchNorm)


def _listed(values: Sequence[float]) -> str:
    if len(values) > 4:
        return f"{figure(min(values))} to {figure(max(values))}"
    return " / ".join(figure(value) for value in values)


CHECKS = (
    Check(name="train-against-eval", run=train_against_eval),
    Check(name="evaluation-mode", run=evaluation_mode, needs_finite=False),
    Check(name="validation-preprocessing", run=validation_preprocessing),
    Check(name="class-order", run=class_order, needs_finite=False),
)
