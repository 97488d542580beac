"""What augmentation leaves of an image. Cause: augmentation-too-strong.

Noise and jitter are judged in `evaluation`, where both sides' figures are compared.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.causes.evaluation import LEAST_IMAGES, first_inputs
from everyclass.diagnosis.material import Material

BLANK = 0.7
"""Of a training image in one flat value, from which it is mostly blank."""

LESS_SHOWN = 5.0
"""Times as much that an evaluation image shows besides its own flat value."""


def blanked_images(material: Material) -> Answer:
    """Training images of which one flat value covers far more than of evaluation images."""
    if not material.case.evaluation:
        raise NotApplicable("No evaluation batch is known.")
    training = first_inputs(material, material.case.batches)
    evaluation = first_inputs(material, material.case.evaluation)
    if training.ndim != 4 or evaluation.ndim != 4:
        raise NotApplicable("The inputs are no images.")
    if min(len(training), len(evaluation)) < LEAST_IMAGES:
        raise NotApplicable(f"Fewer than {LEAST_IMAGES} images are known on one side.")
    ours, theirs = _flat_share(training), _flat_share(evaluation)
    evidence: dict[str, Any] = {"training": ours, "evaluation": theirs}
    told = (
        f"one flat value covers {figure(100 * ours)} % of a training image and "
        f"{figure(100 * theirs)} % of an evaluation image (medians)"
    )
    if ours < BLANK or (1 - theirs) < LESS_SHOWN * (1 - ours) or material.learned:
        return passed(f"{told[0].upper()}{told[1:]}.", evidence)
    return accuse(
        "augmentation-too-strong",
        f"Hardly anything is left of training images: {told}.",
        remedy="Mask, erase or crop less: look at a few training images as the network gets them, "
        "until you could name their class.",
        evidence=evidence,
    )


def _flat_share(images: Tensor) -> float:
    """Median over images of the share of pixels that hold the image's most frequent value."""
    flat = images.flatten(2)[:, 0]
    values = flat.sort(dim=1).values
    shares = []
    for row in values:
        counts = row.unique_consecutive(return_counts=True)[1]
        shares.append(float(counts.max()) / len(row))
    return sorted(shares)[len(shares) // 2]


CHECKS = (Check(name="blanked-images", run=blanked_images, needs_finite=False),)
