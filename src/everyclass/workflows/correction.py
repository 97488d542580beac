"""The one place where imbalance is corrected, as parts of a training.

Comes in: the names a recipe chose and the training labels. Goes out: the order of each epoch, the
loss, and the prior that the logits of the trained model will imply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from everyclass.imbalance.losses import logit_adjusted_cross_entropy, weighted_cross_entropy
from everyclass.imbalance.prior import check_single_correction, log_prior, stream_prior
from everyclass.imbalance.sampling import SAMPLING_POWERS, Sampling, epoch_order
from everyclass.imbalance.weights import (
    balanced_weights,
    effective_number_weights,
    inverse_frequency_weights,
    normalise,
    refuse_empty_classes,
    square_root_weights,
)
from everyclass.settings import Imbalance
from everyclass.training.batches import Rows
from everyclass.training.steps import Loss

LATE_FRACTION = 0.4  # the share of epochs, at the end, in which late-balanced-sampling balances
EFFECTIVE_BETA = 0.999

_SAMPLINGS: dict[Imbalance, Sampling] = {
    "balanced-sampling": "class-balanced",
    "late-balanced-sampling": "class-balanced",
    "sqrt-sampling": "square-root",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """How imbalance enters a training.

    Args:
        epoch_order: epoch -> (N,) positions among the training images.
        loss: (logits, targets) -> mean over samples.
        logits_prior: (C,) float64, the prior that the trained logits imply.
        natural_prior: (C,) float64, class frequencies of the training images.
        weights: (C,) the loss weights, None without.
    """

    epoch_order: Callable[[int], Rows]
    loss: Loss
    logits_prior: npt.NDArray[np.float64]
    natural_prior: npt.NDArray[np.float64]
    weights: tuple[float, ...] | None

    @property
    def log_shift_to_natural(self) -> npt.NDArray[np.float64]:
        """(C,) what to add to the logits to get those of the natural prior."""
        return np.log(self.natural_prior) - np.log(self.logits_prior)


def build_correction(
    names: Sequence[Imbalance],
    labels: Rows,
    *,
    classes: Sequence[str],
    epochs: int,
    label_smoothing: float,
    seed: int,
    device: torch.device,
) -> Correction:
    """The parts that the named correction needs.

    Args:
        names: none, or one; more are refused unless the classes are equally large.
        labels: (N,) int64, classes of the training images.
        classes: names of the C classes.
        epochs: of the training; late-balanced-sampling turns over in the last 40 %.
        device: where logits will be.
    Raises:
        InputError: a class without training images, or two corrections (with the arithmetic).
    """
    counts = torch.from_numpy(np.bincount(labels, minlength=len(classes)))
    refuse_empty_classes(counts, classes)
    weights = _weights(names, counts, classes)
    sampling: Sampling = next((_SAMPLINGS[name] for name in names if name in _SAMPLINGS), "natural")
    tau = 1.0 if "logit-adjustment" in names else 0.0
    check_single_correction(
        sampling=sampling,
        weights=weights,
        adjustment=tau,
        counts=counts,
        classes=classes,
        weights_name="class weights in the loss",
    )
    power = SAMPLING_POWERS[sampling]
    late = "late-balanced-sampling" in names
    turn = epochs - max(1, round(LATE_FRACTION * epochs)) if late else 0

    def order(epoch: int) -> Rows:
        now = power if epoch >= turn else 1.0
        return epoch_order(labels, power=now, seed=seed, epoch=epoch)

    prior = stream_prior(counts, power=power, weights=weights, tau=tau)
    return Correction(
        epoch_order=order,
        loss=_loss(counts, weights, tau, label_smoothing, device),
        logits_prior=_exact(prior),
        natural_prior=_exact(counts.double() / counts.sum()),
        weights=None if weights is None else tuple(float(value) for value in weights),
    )


def _weights(names: Sequence[Imbalance], counts: Tensor, classes: Sequence[str]) -> Tensor | None:
    makers: dict[Imbalance, Callable[[], Tensor]] = {
        "weights-inverse": lambda: inverse_frequency_weights(counts, classes=classes),
        "weights-balanced": lambda: balanced_weights(counts, classes=classes),
        "weights-sqrt": lambda: square_root_weights(counts, classes=classes),
        "weights-effective": lambda: effective_number_weights(
            counts, beta=EFFECTIVE_BETA, classes=classes
        ),
    }
    chosen = [makers[name]() for name in names if name in makers]
    return chosen[0] if chosen else None


def _loss(
    counts: Tensor,
    weights: Tensor | None,
    tau: float,
    label_smoothing: float,
    device: torch.device,
) -> Loss:
    if weights is not None:
        # Mean 1 over the images, whatever the weights sum to: the learning rate then means what
        # it means without weights. (Weights that sum to C have mean 0.2 over images at ratio 50,
        # and would train at a fifth of the rate; the library's weighted mean divides this out.)
        return partial(
            weighted_cross_entropy,
            weights=normalise(weights, counts).to(device),
            label_smoothing=label_smoothing,
        )
    if tau:
        return partial(
            logit_adjusted_cross_entropy,
            log_prior=log_prior(counts).to(device),
            tau=tau,
            label_smoothing=label_smoothing,
        )
    return partial(functional.cross_entropy, label_smoothing=label_smoothing)


def _exact(prior: Tensor) -> npt.NDArray[np.float64]:
    shares = prior.double().numpy()
    return np.asarray(shares / shares.sum(), dtype=np.float64)
