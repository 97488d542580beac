"""From logits to calibrated probabilities and to decisions. Comes in: arrays. Knows no network.

The order of temperature and priors follows from what each is for. Let f be the logits, g the prior
that they imply (`imbalance.prior.stream_prior`) and p the natural prior, that of the data set.

1. z = f + log p - log g are logits for naturally distributed images (Bayes).
2. The temperature T is fitted on naturally distributed validation images, to softmax(z / T): that
   is the calibrated posterior at the natural prior. T divides the prior terms too. For a plainly
   trained model, g = p, this is ordinary temperature scaling, and T changes no natural decision.
3. A deployment prior h reweights a *calibrated* posterior by h/p (Bayes again, with nothing left
   to calibrate), so its terms stay outside T:

   probabilities(h) = softmax(z / T + log h - log p).

At h = p this is 2 again. Were h inside T, T = 2 would make the square root of every change of
prior; with it outside, doubling the odds of two classes in the prior doubles their odds in
every answer, whatever T is.

Decisions: `natural` is the most probable class at the natural prior, argmax z: fewest errors.
`balanced` is argmax(f - tau log p), for the highest mean recall, with the tau that a sweep on
validation kept (`imbalance.prior.sweep_tau`; 0 when training has corrected already).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from everyclass.errors import InputError
from everyclass.stats.calibration import log_softmax

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Turns logits into probabilities and decisions (module docstring); part of `model.json`.

    Attributes:
        logits_prior: (C,) the prior that the logits imply, each > 0, sums to 1.
        natural_prior: (C,) the frequencies in the train split, each > 0, sums to 1.
        temperature: > 0; 1 when none was fitted.
        tau: strength of the shift in the balanced decision.

    Example:
        >>> decision = Decision(logits_prior=(0.5, 0.5), natural_prior=(0.9, 0.1))
        >>> decision.probabilities([[0.0, 0.0]])
        array([[0.9, 0.1]])
        >>> decision.probabilities([[0.0, 0.0]], prior=(0.2, 0.8))
        array([[0.2, 0.8]])
    """

    logits_prior: tuple[float, ...]
    natural_prior: tuple[float, ...]
    temperature: float = 1.0
    tau: float = 0.0

    def __post_init__(self) -> None:
        for name in ("logits_prior", "natural_prior"):
            prior = getattr(self, name)
            _check_prior(prior, len(self.natural_prior), name)
            if min(prior) <= 0:
                raise InputError(f"{name} holds a 0: every class needs a frequency above 0.")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"the temperature is {self.temperature}; it must be above 0.")
        if not math.isfinite(self.tau):
            raise InputError(f"tau is {self.tau}; it must be finite.")

    def natural_logits(self, logits: ArrayLike) -> Floats:
        """z of the module docstring: what a temperature is fitted on. (N, C) float64."""
        return self._checked(logits) + np.log(self.natural_prior) - np.log(self.logits_prior)

    def probabilities(self, logits: ArrayLike, *, prior: Sequence[float] | None = None) -> Floats:
        """Calibrated probabilities under a deployment prior.

        Args:
            logits: (N, C) float, as the model gives them.
            prior: (C,) frequencies to expect, summing to 1; 0 excludes a class. The natural prior
                when left out.
        Returns:
            (N, C) float64, rows sum to 1.
        Raises:
            InputError: a prior of another length, negative, or not summing to 1.
        """
        return self.probabilities_of(self.natural_logits(logits) / self.temperature, prior)

    def even_probabilities(self, logits: ArrayLike) -> Floats:
        """(N, C) calibrated probabilities where all classes are equally frequent.

        What prediction sets score images by: a set is to serve each class alike.
        """
        n_classes = len(self.natural_prior)
        return self.probabilities(logits, prior=[1 / n_classes] * n_classes)

    def probabilities_of(self, calibrated: Floats, prior: Sequence[float] | None) -> Floats:
        """softmax(calibrated + log prior - log natural prior): step 3 alone."""
        if prior is None:
            return np.exp(log_softmax(calibrated))
        _check_prior(prior, len(self.natural_prior), "prior")
        with np.errstate(divide="ignore"):  # log 0 = -inf is the point: an excluded class
            shift = np.log(np.asarray(prior, dtype=np.float64)) - np.log(self.natural_prior)
        return np.exp(log_softmax(calibrated + shift))

    def natural(self, logits: ArrayLike) -> NDArray[np.int64]:
        """(N,) the most probable class at the natural prior: fewest errors on such images."""
        decided: NDArray[np.int64] = self.natural_logits(logits).argmax(axis=1)
        return decided

    def balanced(self, logits: ArrayLike) -> NDArray[np.int64]:
        """(N,) the decision for the highest mean recall over the classes."""
        shifted = self._checked(logits) - self.tau * np.log(self.natural_prior)
        decided: NDArray[np.int64] = shifted.argmax(axis=1)
        return decided

    def to_dict(self) -> dict[str, Any]:
        """The JSON object; repr precision, so that reading it back gives equal floats."""
        return {
            "logits_prior": list(self.logits_prior),
            "natural_prior": list(self.natural_prior),
            "temperature": self.temperature,
            "tau": self.tau,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decision:
        """The value of a JSON object.

        Raises:
            InputError: a field is missing, unknown, no number, or out of range.
        """
        known = {"logits_prior", "natural_prior", "temperature", "tau"}
        odd = known.symmetric_difference(values)
        if odd:
            raise InputError(f"a decision has the fields {sorted(known)}; off: {sorted(odd)}.")
        try:
            return cls(
                logits_prior=tuple(float(share) for share in values["logits_prior"]),
                natural_prior=tuple(float(share) for share in values["natural_prior"]),
                temperature=float(values["temperature"]),
                tau=float(values["tau"]),
            )
        except (TypeError, ValueError) as error:
            raise InputError(f"a decision holds something that is no number: {error}.") from error

    def _checked(self, logits: ArrayLike) -> Floats:
        values = np.asarray(logits, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.natural_prior):
            raise InputError(
                f"logits have shape {values.shape}; (N, {len(self.natural_prior)}) is expected."
            )
        return values


def _check_prior(prior: Sequence[float], n_classes: int, name: str) -> None:
    if len(prior) != n_classes or n_classes == 0:
        raise InputError(
            f"{name} has {len(prior)} numbers for {n_classes} classes; one for each is expected."
        )
    total = math.fsum(prior)
    # Frequencies pass through float32 on their way here.
    if not (abs(total - 1) < 1e-4 and min(prior) >= 0):
        raise InputError(f"{name} must be frequencies that sum to 1; it sums to {total:.6g}.")
