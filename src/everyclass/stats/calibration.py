"""Are the probabilities right? Calibration error, and the temperature that mends most of it.

Comes in: arrays of logits or probabilities with the labels; a function takes one of the two and
never guesses which. Goes out: numbers. Temperature and calibration error speak about the
distribution that the images came from: use naturally distributed validation images, never balanced
ones, or the probabilities will be right for a world that does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from everyclass.calibrations import ReliabilityBin
from everyclass.errors import InputError
from everyclass.stats.intervals import wilson_interval

Floats = NDArray[np.float64]

TEMPERATURE_RANGE = (0.05, 20.0)
"""Limits of a fitted temperature. Beyond them the logits are no logits, and a fit hides that."""


def log_softmax(logits: ArrayLike) -> Floats:
    """log of the softmax over the last axis, stable for logits of any size; float64.

    -inf marks an impossible class and stays -inf, as long as one class of the row is finite.
    """
    values = np.asarray(logits, dtype=np.float64)
    shifted: Floats = values - values.max(axis=-1, keepdims=True)
    log_sums: Floats = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted - log_sums


def softmax(logits: ArrayLike) -> Floats:
    """Softmax over the last axis; float64, each row sums to 1."""
    probs: Floats = np.exp(log_softmax(logits))
    return probs


def negative_log_likelihood(logits: ArrayLike, targets: ArrayLike) -> float:
    """Mean of -log softmax(logits)[target], in nats.

    Args:
        logits: (N, C), N > 0.
        targets: (N,) integers in [0, C).
    """
    values, rows = _logits_and_targets(logits, targets)
    return float(-log_softmax(values)[np.arange(rows.size), rows].mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Confidence against accuracy, bin by bin: the reliability diagram as numbers.

    Attributes:
        edges: (bins + 1,) from 0 to 1; a bin holds confidences in (low, high].
        counts: (bins,) images.
        confidence: (bins,) mean confidence; NaN where the bin is empty.
        accuracy: (bins,) share of right answers; NaN where the bin is empty.
        accuracy_ci95: (bins, 2) its 95 % Wilson interval; (0, 1) where the bin is empty.
    """

    edges: Floats
    counts: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats
    accuracy_ci95: Floats

    @property
    def expected_error(self) -> float:
        """Mean over the images of the gap |accuracy - confidence| of their bin, in [0, 1]."""
        filled = self.counts > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float(gaps @ self.counts[filled] / self.counts.sum())

    def to_bins(self) -> tuple[ReliabilityBin, ...]:
        """The bins that hold images, as `evaluation.json` has them."""
        return tuple(
            ReliabilityBin(
                low=float(self.edges[k]),
                high=float(self.edges[k + 1]),
                n=int(self.counts[k]),
                confidence=min(float(self.confidence[k]), 1.0),  # see `reliability`
                accuracy=float(self.accuracy[k]),
                accuracy_ci95=(float(self.accuracy_ci95[k, 0]), float(self.accuracy_ci95[k, 1])),
            )
            for k in np.flatnonzero(self.counts).tolist()
        )


def reliability(confidence: ArrayLike, correct: ArrayLike, *, bins: int = 15) -> Reliability:
    """Sort images into equal-width bins of confidence and compare each with its accuracy.

    Args:
        confidence: (N,) in [0, 1], the probability given to the answer, N > 0.
        correct: (N,) booleans, whether the answer was right.
        bins: number of bins, > 0.
    Raises:
        InputError: nothing to judge, lengths differ, or a confidence outside [0, 1].
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if sure.ndim != 1 or sure.shape != right.shape or sure.size == 0 or bins < 1:
        raise InputError(
            f"calibration needs (N,) confidences and (N,) outcomes with N > 0 and a bin; shapes "
            f"are {sure.shape} and {right.shape}, bins {bins}."
        )
    # Softmax in half precision can exceed 1 by a rounding; anything beyond that is not one.
    if not np.all((sure >= 0) & (sure <= 1 + 1e-3)):
        raise InputError(
            f"confidences reach from {sure.min():.4g} to {sure.max():.4g}, not 0 to 1."
        )
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)

    def bin_means(values: Floats) -> Floats:
        sums = np.bincount(index, weights=values, minlength=bins)
        means = np.full(bins, np.nan)
        np.divide(sums, counts, out=means, where=counts > 0)
        return means

    hits = np.bincount(index, weights=right, minlength=bins)
    return Reliability(
        edges=edges,
        counts=counts,
        confidence=bin_means(sure),
        accuracy=bin_means(right),
        accuracy_ci95=wilson_interval(hits, counts),
    )


def decision_reliability(
    probs: ArrayLike, targets: ArrayLike, *, predictions: ArrayLike | None = None, bins: int = 15
) -> Reliability:
    """The reliability diagram of a decision: the probability of the class decided for, and truth.

    Args, Raises: as `expected_calibration_error`, which is its `expected_error`.
    """
    values, rows = probs_and_targets(probs, targets)
    chosen = values.argmax(axis=1) if predictions is None else np.asarray(predictions)
    if chosen.shape != rows.shape:
        raise InputError(
            f"{chosen.size} predictions for {rows.size} images; one for each is expected."
        )
    confidence = values[np.arange(rows.size), chosen]
    return reliability(confidence, chosen == rows, bins=bins)


def expected_calibration_error(
    probs: ArrayLike, targets: ArrayLike, *, predictions: ArrayLike | None = None, bins: int = 15
) -> float:
    """ECE of a decision: how far its confidence is from its accuracy, in [0, 1].

    Confidence is the probability of the class that was *decided for*. A balanced decision often
    takes a class that is not the most probable one; its honest confidence is then low, and right.

    Args:
        probs: (N, C), rows sum to 1.
        targets: (N,) integers in [0, C).
        predictions: (N,) the decisions; the most probable class when left out.
        bins: equal-width bins of confidence.
    Raises:
        InputError: shapes do not match, or rows do not sum to 1 (logits were passed).
    Source: Guo et al. 2017, arXiv:1706.04599, equation 3.
    """
    return decision_reliability(probs, targets, predictions=predictions, bins=bins).expected_error


def classwise_calibration_error(probs: ArrayLike, targets: ArrayLike, *, bins: int = 15) -> Floats:
    """(C,) ECE of "is it class c?" for each class: the error that a class's own probability has.

    ECE looks at the decided class alone, so at the head. A rare class whose probability is never
    right does not show in it; here it has a number of its own.

    Source: Kull et al. 2019, arXiv:1910.12656 (classwise-ECE is the mean of these).
    """
    values, rows = probs_and_targets(probs, targets)
    return np.array(
        [
            reliability(values[:, c], rows == c, bins=bins).expected_error
            for c in range(values.shape[1])
        ]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperatureFit:
    """A fitted temperature with what it gained.

    Attributes:
        temperature: logits are divided by it; 1 changes nothing.
        nll_before, nll_after: mean negative log-likelihood in nats at 1 and at `temperature`; None
            without images.
        n: images used.
        sentence: how it came about.
    """

    temperature: float
    nll_before: float | None
    nll_after: float | None
    n: int
    sentence: str


def fit_temperature(
    logits: ArrayLike, targets: ArrayLike, *, shift: ArrayLike | None = None
) -> TemperatureFit:
    """The temperature T that minimises the negative log-likelihood of softmax(logits / T + shift).

    In b = 1/T the objective is convex (log-sum-exp of a linear function, minus a linear one), with
    derivative mean(E_p[f] - f_y) and second derivative mean(Var_p[f]): one root, found by Newton
    steps that fall back to bisection inside the bracket.

    One imaginary image whose label is spread evenly over the classes is counted in. When every
    validation image is right, the likelihood alone would send T to 0 and claim certainty; with it,
    n images can support a certainty of about 1 - 1/n and no more. Its pull vanishes as 1/n. (The
    same thought as the targets (n + 1)/(n + 2) in Platt 1999.)

    Images whose classes are differently frequent than the logits assume (a balanced validation
    split of a data set that is not) say something about T all the same: log of their class
    frequencies over the assumed ones, as `shift`, puts them right by Bayes, and stays outside T.

    The decisions stay as they are: dividing by T > 0 keeps the order of the classes. T stays within
    TEMPERATURE_RANGE, and is 1 when there is nothing to fit on or when the fit would not lower the
    likelihood's own loss.

    Args:
        logits: (N, C) float, finite, N >= 0; of validation images, each once, and without `shift`
            naturally distributed ones, with their prior already in the logits.
        targets: (N,) integers in [0, C).
        shift: (C,) what to add to logits / T for these images, -inf for a class without any; none
            when left out.
    Raises:
        InputError: shapes do not match, or logits are not finite.
    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    if np.size(targets) == 0:
        return TemperatureFit(
            temperature=1.0, nll_before=None, nll_after=None, n=0, sentence="no images to fit on"
        )
    values, rows = _logits_and_targets(logits, targets)
    if not np.isfinite(values).all():
        raise InputError("a temperature needs finite logits; some are NaN or infinite.")
    added = np.zeros(values.shape[1]) if shift is None else np.asarray(shift, dtype=np.float64)
    low, high = TEMPERATURE_RANGE
    found = 1 / _least_nll_inverse_temperature(values, rows, added, (1 / high, 1 / low))
    before = negative_log_likelihood(values + added, rows)
    after = negative_log_likelihood(values / found + added, rows)
    if after >= before:
        return TemperatureFit(
            temperature=1.0,
            nll_before=before,
            nll_after=before,
            n=rows.size,
            sentence="no temperature lowers the negative log-likelihood",
        )
    limit = " (the limit)" if found in (low, high) else ""
    return TemperatureFit(
        temperature=found,
        nll_before=before,
        nll_after=after,
        n=rows.size,
        sentence=f"{found:.3g}{limit} lowers the negative log-likelihood of {rows.size:,} images "
        f"from {before:.4f} to {after:.4f}",
    )


def _least_nll_inverse_temperature(
    logits: Floats, targets: NDArray[np.int64], shift: Floats, bracket: tuple[float, float]
) -> float:
    chosen = logits[np.arange(targets.size), targets].sum()
    imaginary = logits.mean()  # of a label spread evenly, seen with the average image

    def slope_and_curvature(b: float) -> tuple[float, float]:
        probs = softmax(b * logits + shift)
        means = (probs * logits).sum(axis=1)
        variances = (probs * (logits - means[:, None]) ** 2).sum(axis=1)
        slope = means.sum() - chosen + means.mean() - imaginary
        return float(slope), float(variances.sum() + variances.mean())

    low, high = bracket
    if slope_and_curvature(low)[0] >= 0:
        return low
    if slope_and_curvature(high)[0] <= 0:
        return high
    b = 1.0
    for _ in range(100):
        slope, curvature = slope_and_curvature(b)
        low, high = (b, high) if slope < 0 else (low, b)
        newton = b - slope / curvature if curvature > 0 else low
        b, last = (newton if low < newton < high else (low + high) / 2), b
        if abs(b - last) <= 1e-10 * last:
            break
    return b


def _logits_and_targets(logits: ArrayLike, targets: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    values, rows = np.asarray(logits, dtype=np.float64), np.asarray(targets)
    if values.ndim != 2 or rows.shape != values.shape[:1] or rows.size == 0:
        raise InputError(
            f"(N, C) values and (N,) targets with N > 0 are expected; shapes are {values.shape} "
            f"and {rows.shape}."
        )
    if not np.issubdtype(rows.dtype, np.integer) or rows.min() < 0 or rows.max() >= values.shape[1]:
        raise InputError(f"targets must be class ids from 0 to {values.shape[1] - 1}.")
    return values, rows.astype(np.int64)


def probs_and_targets(probs: ArrayLike, targets: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    """(N, C) float64 probabilities and (N,) int64 class ids, N > 0, refused if they are not that.

    Raises:
        InputError: shapes do not match, ids outside the classes, or rows that do not sum to 1.
    """
    values, rows = _logits_and_targets(probs, targets)
    sums = values.sum(axis=1)
    # bfloat16 keeps three digits.
    if not np.allclose(sums, 1, atol=1e-2) or values.min() < 0:
        raise InputError(
            f"probabilities are expected; rows sum to {sums.min():.4g} up to {sums.max():.4g}, and "
            f"the smallest value is {values.min():.4g}. Pass softmax(logits)."
        )
    return values, rows
