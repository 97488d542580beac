"""The one place where imbalance is corrected, as parts of a training.

Comes in: the names a recipe chose and the training labels. Goes out: the order of each epoch, the
loss, and the prior that the logits of the trained model will imply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.imbalance.deferral import first_late_epoch
from everyclass.imbalance.focal import focal_loss
from everyclass.imbalance.losses import logit_adjusted_cross_entropy, weighted_cross_entropy
from everyclass.imbalance.margins import ldam_loss, ldam_margins
from everyclass.imbalance.prior import check_corrections, log_prior, stream_prior
from everyclass.imbalance.repeats import (
    repeat_factor_order,
    repeat_factor_prior,
    repeat_factors,
)
from everyclass.imbalance.sampling import epoch_order, progressive_order, sampled_prior
from everyclass.imbalance.smoothing import label_aware_cross_entropy, label_aware_smoothing
from everyclass.imbalance.temperature import class_temperature_cross_entropy, class_temperatures
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
FOCAL_GAMMA = 2.0
CLASS_BALANCED_FOCAL_GAMMA = 1.0

_SAMPLERS: Mapping[Imbalance, str] = MappingProxyType(
    {
        "balanced-sampling": "class-balanced sampler",
        "late-balanced-sampling": "class-balanced sampler",
        "sqrt-sampling": "square-root sampler",
        "progressive-sampling": "progressive sampler",
        "repeat-factor-sampling": "repeat-factor sampler",
    }
)
_WEIGHTS: Mapping[Imbalance, str] = MappingProxyType(
    {
        "weights-inverse": "class weights in the loss",
        "weights-balanced": "class weights in the loss",
        "weights-sqrt": "class weights in the loss",
        "weights-effective": "class weights in the loss",
        "weights-deferred": "deferred class weights in the loss",
        "class-balanced-focal": "weights of a class-balanced focal loss",
        "ldam-drw": "deferred weights of LDAM",
    }
)
_LOSSES: tuple[Imbalance, ...] = (
    "logit-adjustment",
    "focal",
    "class-balanced-focal",
    "ldam-drw",
    "label-aware-smoothing",
    "class-temperature",
)
HeadMethod = Literal["crt", "lws", "tau-norm", "offsets"]
"""What is done to the last layer after the training."""

_HEADS: Mapping[HeadMethod, str] = MappingProxyType(
    {
        "crt": "retrained last layer",
        "lws": "learned scaling of the logits",
        "tau-norm": "tau-normalised last layer",
        "offsets": "set of offsets found after training",
    }
)
_DEFERRED: tuple[Imbalance, ...] = ("weights-deferred", "ldam-drw")
_MOVING: tuple[Imbalance, ...] = ("weights-deferred", "progressive-sampling")
"""What comes in so late, at so low a rate, that the logits stop on the way to its prior."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LateLoss:
    """What the loss becomes in the last epochs.

    Args:
        first_epoch: of them.
        loss: (logits, targets) -> mean over samples.
        weights: (C,) its class weights, None without.
    """

    first_epoch: int
    loss: Loss
    weights: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """How imbalance enters a training.

    Args:
        epoch_order: epoch -> (N,) positions among the training images.
        loss: (logits, targets) -> mean over samples.
        logits_prior: (C,) float64, the prior that the trained logits imply.
        natural_prior: (C,) float64, class frequencies of the training images.
        weights: (C,) the loss weights, None without.
        late: the loss of the last epochs, where it is another one.
        prior_is_exact: whether `logits_prior` follows from how it is trained; else it is about
            that, and validation images tell.
        is_cross_entropy: whether the loss is a cross-entropy, of shifted logits perhaps.
        head: what is done to the last layer after the training; `logits_prior` is from before.
    """

    epoch_order: Callable[[int], Rows]
    loss: Loss
    logits_prior: npt.NDArray[np.float64]
    natural_prior: npt.NDArray[np.float64]
    weights: tuple[float, ...] | None
    late: LateLoss | None = None
    prior_is_exact: bool = True
    is_cross_entropy: bool = True
    head: HeadMethod | None = None

    @property
    def log_shift_to_natural(self) -> npt.NDArray[np.float64]:
        """(C,) what to add to the logits to get those of the natural prior."""
        return np.log(self.natural_prior) - np.log(self.logits_prior)

    def loss_at(self, epoch: int) -> Loss:
        """The loss of an epoch."""
        late = self.late
        return self.loss if late is None or epoch < late.first_epoch else late.loss

    def weights_at(self, epoch: int) -> tuple[float, ...] | None:
        """The loss weights of an epoch."""
        late = self.late
        return self.weights if late is None or epoch < late.first_epoch else late.weights


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
        names: none, or one; more are refused where they correct twice. `focal` and
            `label-aware-smoothing` correct nothing and stand beside a sampler or weights.
        labels: (N,) int64, classes of the training images.
        classes: names of the C classes.
        epochs: of the training; late-balanced-sampling turns over in the last 40 %, deferred
            weights come in for the last 20 %.
        device: where logits will be.
    Raises:
        InputError: a class without training images, two corrections (with the arithmetic), or two
            names for one part.
    """
    counts = torch.from_numpy(np.bincount(labels, minlength=len(classes)))
    refuse_empty_classes(counts, classes)
    _refuse_two_of_a_kind(names, label_smoothing)
    weights = _weights(names, counts, classes)
    check_corrections(_corrections(names, counts, weights), counts=counts, classes=classes)
    deferred = any(name in _DEFERRED for name in names)
    make = _loss_maker(names, counts, label_smoothing, device)
    own = None if deferred else weights
    late = None
    if deferred:
        late = LateLoss(
            first_epoch=first_late_epoch(epochs), loss=make(weights), weights=_numbers(weights)
        )
    tau = 1.0 if "logit-adjustment" in names else 0.0
    stream = _stream(names, counts)
    plain = all(name not in _LOSSES or name == "logit-adjustment" for name in names)
    prior = stream if weights is None else _times(stream, weights)
    return Correction(
        epoch_order=_order(names, labels, epochs=epochs, seed=seed),
        loss=make(own),
        logits_prior=_exact(stream_prior(counts, tau=tau) if tau else prior),
        natural_prior=_exact(counts.double() / counts.sum()),
        weights=_numbers(own),
        late=late,
        prior_is_exact=plain and not any(name in (*_MOVING, "remix") for name in names),
        is_cross_entropy=plain,
        head=next((name for name in _HEADS if name in names), None),
    )


def _refuse_two_of_a_kind(names: Sequence[Imbalance], label_smoothing: float) -> None:
    own_weights = [name for name in _WEIGHTS if name not in _LOSSES]
    for kinds, what in (
        (tuple(_SAMPLERS), "how often images are drawn"),
        (_LOSSES, "the form of the loss"),
        (tuple(own_weights), "the weights of the loss"),
        (tuple(_HEADS), "what becomes of the last layer"),
    ):
        chosen = [name for name in dict.fromkeys(names) if name in kinds]
        if len(chosen) > 1:
            raise InputError(
                f"{chosen[0]} and {chosen[1]} both say {what}.", remedy="Keep one of the two."
            )
    if "label-aware-smoothing" in names and label_smoothing:
        raise InputError(
            f"label-aware-smoothing smooths the labels of each class, and label_smoothing "
            f"{label_smoothing:g} would smooth them all.",
            remedy="Set label_smoothing to 0.",
        )


def _corrections(
    names: Sequence[Imbalance], counts: Tensor, weights: Tensor | None
) -> list[tuple[str, Tensor]]:
    """What each name that corrects is called, and the factors it gives the classes."""
    images = counts.double()
    found = list[tuple[str, Tensor]]()
    for name in names:
        if name == "repeat-factor-sampling":
            found.append((_SAMPLERS[name], repeat_factors(counts)))
        elif name in _SAMPLERS:
            found.append((_SAMPLERS[name], images**-0.5 if name == "sqrt-sampling" else 1 / images))
    for name in names:
        if name in _WEIGHTS:
            assert weights is not None
            found.append((_WEIGHTS[name], weights))
    if "logit-adjustment" in names:
        found.append(("logit adjustment of strength 1", 1 / images))
    nothing = torch.full_like(images, torch.nan)  # moves no mass that could be multiplied
    if "class-temperature" in names:
        found.append(("temperatures of the classes", nothing))
    if "remix" in names:
        found.append(("labels of mixed images that go to the smaller class", nothing))
    if "crt" in names:  # whatever was learned before, the new layer is balanced
        found.append((_HEADS["crt"], nothing))
    for name, words in _HEADS.items():
        if name in names and name != "crt":
            found.append((words, 1 / images))
    return found


def _order(
    names: Sequence[Imbalance], labels: Rows, *, epochs: int, seed: int
) -> Callable[[int], Rows]:
    """Epoch -> N positions: an epoch costs the same by every sampling."""
    late = max(1, round(LATE_FRACTION * epochs))
    turn = epochs - late if "late-balanced-sampling" in names else 0

    def order(epoch: int) -> Rows:
        if "progressive-sampling" in names:
            return progressive_order(labels, epochs=epochs, seed=seed, epoch=epoch)
        if "repeat-factor-sampling" in names:
            return repeat_factor_order(labels, seed=seed, epoch=epoch, draws=len(labels))
        return epoch_order(
            labels, power=_power(names) if epoch >= turn else 1.0, seed=seed, epoch=epoch
        )

    return order


def _power(names: Sequence[Imbalance]) -> float:
    """Of the sampling, as it is at the end."""
    if "sqrt-sampling" in names:
        return 0.5
    return 0.0 if any(name in _SAMPLERS for name in names) else 1.0


def _stream(names: Sequence[Imbalance], counts: Tensor) -> Tensor:
    """(C,) class frequencies of the stream, as it is at the end."""
    if "repeat-factor-sampling" in names:
        return repeat_factor_prior(counts)
    return sampled_prior(counts, power=_power(names))


def _times(prior: Tensor, weights: Tensor) -> Tensor:
    mass = prior.double() * weights.double()
    return mass / mass.sum()


def _weights(names: Sequence[Imbalance], counts: Tensor, classes: Sequence[str]) -> Tensor | None:
    def effective() -> Tensor:
        return effective_number_weights(counts, beta=EFFECTIVE_BETA, classes=classes)

    makers: dict[Imbalance, Callable[[], Tensor]] = {
        "weights-inverse": lambda: inverse_frequency_weights(counts, classes=classes),
        "weights-balanced": lambda: balanced_weights(counts, classes=classes),
        "weights-sqrt": lambda: square_root_weights(counts, classes=classes),
        "weights-effective": effective,
        "weights-deferred": lambda: balanced_weights(counts, classes=classes),
        "class-balanced-focal": effective,
        "ldam-drw": lambda: balanced_weights(counts, classes=classes),
    }
    chosen = [makers[name]() for name in names if name in makers]
    return chosen[0] if chosen else None


def _loss_maker(
    names: Sequence[Imbalance], counts: Tensor, label_smoothing: float, device: torch.device
) -> Callable[[Tensor | None], Loss]:
    """Weights, or none -> the loss with them."""

    def make(weights: Tensor | None) -> Loss:
        # Mean 1 over the images, whatever the weights sum to: the learning rate then means what
        # it means without weights. (Weights that sum to C have mean 0.2 over images at ratio 50,
        # and would train at a fifth of the rate; the library's weighted mean divides this out.)
        own = None if weights is None else normalise(weights, counts).to(device)
        if "focal" in names or "class-balanced-focal" in names:
            gamma = FOCAL_GAMMA if "focal" in names else CLASS_BALANCED_FOCAL_GAMMA
            return partial(focal_loss, gamma=gamma, weights=own, label_smoothing=label_smoothing)
        if "ldam-drw" in names:
            margins = ldam_margins(counts).to(device)
            return partial(ldam_loss, margins=margins, weights=own, label_smoothing=label_smoothing)
        if "label-aware-smoothing" in names:
            smoothing = label_aware_smoothing(counts).to(device)
            return partial(label_aware_cross_entropy, smoothing=smoothing, weights=own)
        if "class-temperature" in names:
            return partial(
                class_temperature_cross_entropy,
                temperatures=class_temperatures(counts).to(device),
                label_smoothing=label_smoothing,
            )
        if own is not None:
            return partial(weighted_cross_entropy, weights=own, label_smoothing=label_smoothing)
        if "logit-adjustment" in names:
            return partial(
                logit_adjusted_cross_entropy,
                log_prior=log_prior(counts).to(device),
                label_smoothing=label_smoothing,
            )
        return partial(functional.cross_entropy, label_smoothing=label_smoothing)

    return make


def _numbers(weights: Tensor | None) -> tuple[float, ...] | None:
    return None if weights is None else tuple(float(value) for value in weights)


def _exact(prior: Tensor) -> npt.NDArray[np.float64]:
    shares = prior.double().numpy()
    return np.asarray(shares / shares.sum(), dtype=np.float64)
