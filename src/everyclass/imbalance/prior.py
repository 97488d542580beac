"""Which class frequencies a model believes in, and how to put others in their place.

Comes in: counts, logits. Goes out: priors, shifted logits, a strength for the shift. A prior is
(C,) frequencies that sum to 1.

Everything here is Bayes' rule. Let f be the logits of a model that fits its training loss. What
softmax(f) estimates is the posterior under some prior g, the one its *logits imply*:
softmax(f)_y = P(x|y) g_y / sum. With s_y the frequencies of the stream it was trained on:
- plain cross-entropy: softmax(f) fits the stream, g = s.
- class weights w: the expected loss -sum_y s_y P(x|y) w_y log p_y is least at
  p_y proportional to s_y P(x|y) w_y, so g is proportional to s w.
- logit adjustment: softmax(f + tau log s) fits the stream, so f = log P(x|y) + (1 - tau) log s_y up
  to a constant, and g is proportional to s^(1 - tau): even at tau = 1.
Together g is proportional to s^(1 - tau) w (`stream_prior`). The posterior under any other prior h
is softmax(f + log h - log g) (`shift_prior`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from everyclass.errors import InputError
from everyclass.imbalance.sampling import SAMPLING_POWERS, Sampling, sampled_prior
from everyclass.imbalance.weights import refuse_empty_classes
from everyclass.stats.confusion import balanced_accuracy, confusion_matrix
from everyclass.stats.intervals import paired_balanced_accuracy_gain

TAUS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Strengths that a sweep tries."""


def log_prior(counts: Tensor, *, power: float = 1.0, classes: Sequence[str] = ()) -> Tensor:
    """log of the class frequencies of the sampled stream, for `logit_adjusted_cross_entropy`.

    Args:
        counts: (C,) int64, images per class in the train split, each > 0.
        power: of the sampling, in [0, 1]; 1 is natural.
        classes: (C,) names for messages; ids when left out.
    Returns:
        (C,) float32 on the device of `counts`.
    Raises:
        InputError: a class without images (named), or power outside [0, 1].
    """
    refuse_empty_classes(counts, classes)
    return sampled_prior(counts, power=power).log()


def stream_prior(
    counts: Tensor, *, power: float = 1.0, weights: Tensor | None = None, tau: float = 0.0
) -> Tensor:
    """The prior that the logits of a trained model imply (module docstring).

    Args:
        counts: (C,) int64, images per class in the train split, each > 0.
        power: of the sampling, in [0, 1]; 1 is natural.
        weights: (C,) positive loss weights; None for none.
        tau: strength of the logit adjustment in the loss, by the log frequencies of the stream.
    Returns:
        (C,) float32 on the device of `counts`, sums to 1.
    Raises:
        InputError: a class without images, weights of another length or not positive, power outside
            [0, 1].
    Example:
        >>> counts = torch.tensor([900, 100])
        >>> stream_prior(counts)
        tensor([0.9000, 0.1000])
        >>> stream_prior(counts, tau=1.0)
        tensor([0.5000, 0.5000])
        >>> stream_prior(counts, power=0.0, weights=torch.tensor([0.2, 1.8]))
        tensor([0.1000, 0.9000])
    """
    logs = (1 - tau) * log_prior(counts, power=power)
    if weights is not None:
        _refuse_odd_weights(weights, counts)
        logs = logs + weights.to(logs).log()
    return logs.softmax(dim=0)


def _refuse_odd_weights(weights: Tensor, counts: Tensor) -> None:
    if weights.shape != counts.shape:
        raise InputError(
            f"{weights.numel()} weights for {counts.numel()} classes; one for each is expected."
        )
    if not bool((weights > 0).all()):
        raise InputError(f"weights must be above 0; the smallest is {float(weights.min()):.4g}.")


def fitted_prior(
    logits: Tensor, targets: Tensor, *, natural_prior: Tensor, expected: Tensor
) -> Tensor:
    """The prior that logits imply, estimated where no formula gives it.

    For naturally distributed images the calibrated posterior is softmax((f + log p - log g)/T) with
    the natural prior p (`models.decision`). Given images and their classes, g and T are those of
    the highest likelihood, with one degree of doubt: log g is `expected` give or take 1, so that a
    class with few images stays near it. In 1/T and (log p - log g)/T the problem is convex.

    Args:
        logits: (N, C) float of naturally distributed images that were not trained on.
        targets: (N,) int64 class ids.
        natural_prior: (C,) frequencies of the train split, each > 0.
        expected: (C,) the prior to expect, each > 0.
    Returns:
        (C,) float64 on the CPU, sums to 1; `expected` without images, or where the logits tell
        nothing of the classes.
    Raises:
        InputError: shapes do not fit, or a prior is none.
    """
    values, rows = logits.detach().to("cpu", torch.float64), targets.detach().cpu()
    if values.ndim != 2 or rows.shape != values.shape[:1]:
        raise InputError(
            f"(N, C) logits and (N,) targets are expected; shapes are {tuple(values.shape)} and "
            f"{tuple(rows.shape)}."
        )
    natural = _checked_prior(natural_prior, values.shape[1], "natural_prior").log()
    believed = _checked_prior(expected, values.shape[1], "expected").log()
    if not len(rows):
        return believed.exp()
    start = natural - believed
    slope = torch.ones((), dtype=torch.float64, requires_grad=True)
    shifts = start.clone().requires_grad_()
    search = torch.optim.LBFGS([slope, shifts], max_iter=200, line_search_fn="strong_wolfe")

    def surprise() -> Tensor:
        search.zero_grad()
        fit = torch.nn.functional.cross_entropy(slope * values + shifts, rows)
        loss = fit + ((shifts - slope * start) ** 2).sum() / (2 * len(rows))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        search.step(surprise)  # type: ignore[no-untyped-call]
    if not float(slope.detach()) > 1e-3:
        return believed.exp()
    return (natural - (shifts / slope).detach()).softmax(dim=0)


def shift_prior(logits: Tensor, *, train_prior: Tensor, target_prior: Tensor) -> Tensor:
    """Logits as they would be if the classes came with other frequencies.

    logits + log target_prior - log train_prior. Right when only the frequencies differ: within each
    class, images look the same here and there.

    Args:
        logits: (B, C) float.
        train_prior: (C,) the prior that the logits imply, `stream_prior`; each > 0.
        target_prior: (C,) the frequencies to expect; a 0 makes the class impossible (-inf).
    Returns:
        (B, C), type and device of `logits`.
    Raises:
        InputError: a prior of another length, negative, or not summing to 1; a 0 in `train_prior`.
    Source: Saerens, Latinne and Decaestecker 2002, "Adjusting the outputs of a classifier to new a
        priori probabilities", equation 2.4.
    """
    believed = _checked_prior(train_prior, logits.shape[-1], "train_prior")
    expected = _checked_prior(target_prior, logits.shape[-1], "target_prior")
    if float(believed.min()) == 0:
        raise InputError("train_prior holds a 0: what was never expected cannot be rescaled.")
    return logits + (expected.log() - believed.log()).to(logits)


def _checked_prior(prior: Tensor, n_classes: int, name: str) -> Tensor:
    shares = prior.detach().to("cpu", torch.float64)
    if shares.shape != (n_classes,):
        raise InputError(f"{name} has shape {tuple(shares.shape)}; ({n_classes},) is expected.")
    total = float(shares.sum())
    if not (abs(total - 1) < 1e-4 and float(shares.min()) >= 0):
        raise InputError(f"{name} must be frequencies that sum to 1; it sums to {total:.6g}.")
    return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class TauTrial:
    """One strength on the validation images.

    Attributes:
        tau: the strength.
        balanced_accuracy: in [0, 1].
        gain: over tau = 0.
        standard_error: of the gain, from the same images.
    """

    tau: float
    balanced_accuracy: float
    gain: float
    standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TauSweep:
    """The strength that was kept, what was tried, and why."""

    tau: float
    trials: tuple[TauTrial, ...]
    sentence: str


def sweep_tau(
    logits: Tensor, targets: Tensor, *, log_prior: Tensor, taus: Sequence[float] = TAUS
) -> TauSweep:
    """Choose the strength tau of the decision argmax(logits - tau log_prior).

    The tau of the highest balanced accuracy is kept only when it is better than tau = 0 by more
    than the standard error of that difference, paired image by image
    (`stats.intervals.paired_balanced_accuracy_gain`). With few validation images of the rare
    classes, a gain of two or three lucky images is no reason to move every decision. Of equal
    strengths the one nearest 0 wins.

    Args:
        logits: (N, C) float of the validation images.
        targets: (N,) int64 class ids.
        log_prior: (C,) log frequencies of the classes in the train split, `log_prior`.
        taus: strengths to try; 0 is always tried.
    Raises:
        InputError: shapes do not fit, or log_prior is not finite.
    """
    values, rows = logits.detach().to("cpu", torch.float64), targets.detach().cpu().numpy()
    offset = log_prior.detach().to("cpu", torch.float64)
    if values.ndim != 2 or offset.shape != values.shape[1:] or rows.shape != values.shape[:1]:
        raise InputError(
            f"(N, C) logits, (N,) targets and (C,) log_prior are expected; shapes are "
            f"{tuple(values.shape)}, {rows.shape} and {tuple(offset.shape)}."
        )
    if not bool(torch.isfinite(offset).all()):
        raise InputError("log_prior is not finite: a class has no training images.")
    if rows.size == 0:
        return TauSweep(tau=0.0, trials=(), sentence="no validation images to choose tau on")
    n_classes = values.shape[1]
    unchanged = values.argmax(dim=1).numpy()
    trials = []
    for tau in sorted({0.0, *taus}, key=abs):
        decided = (values - tau * offset).argmax(dim=1).numpy()
        gain, error = paired_balanced_accuracy_gain(rows, unchanged, decided, n_classes=n_classes)
        score = balanced_accuracy(confusion_matrix(rows, decided, n_classes=n_classes))
        trials.append(TauTrial(tau=tau, balanced_accuracy=score, gain=gain, standard_error=error))
    return _kept(trials, rows.size)


def _kept(trials: Sequence[TauTrial], n_images: int) -> TauSweep:
    base = trials[0]
    best = max(trials, key=lambda one: one.balanced_accuracy)  # the first of equals: nearest 0
    ordered = tuple(sorted(trials, key=lambda one: one.tau))
    if best.tau == 0:
        sentence = (
            f"no tau beats 0 on {n_images:,} validation images (balanced accuracy "
            f"{base.balanced_accuracy:.3f})"
        )
        return TauSweep(tau=0.0, trials=ordered, sentence=sentence)
    kept = best.gain > best.standard_error
    sentence = (
        f"tau {best.tau:g} moves balanced accuracy from {base.balanced_accuracy:.3f} to "
        f"{best.balanced_accuracy:.3f} on {n_images:,} validation images; the standard error of "
        f"the difference is {best.standard_error:.3f}, so it is {'kept' if kept else 'not kept'}"
    )
    return TauSweep(tau=best.tau if kept else 0.0, trials=ordered, sentence=sentence)


def check_single_correction(
    *,
    sampling: Sampling,
    weights: Tensor | None,
    adjustment: float,
    counts: Tensor,
    classes: Sequence[str],
    weights_name: str = "class weights",
) -> None:
    """Refuse two corrections of one imbalance, with what they would do together.

    In the loss, class c has the mass P(c) w_c, and an adjustment by tau log p_c works like a weight
    p_c^-tau (module docstring). Alone, each correction brings the rarest class up to the commonest.
    Together they go past: sampling class-balanced with weights 1/n_c leaves mass proportional to
    1/n_c, the prior turned upside down.

    Args:
        sampling: how images are drawn.
        weights: (C,) loss weights; None or equal weights for none.
        adjustment: tau of the logit adjustment by the training counts; 0 for none.
        counts: (C,) int64, images per class in the train split.
        classes: (C,) names.
        weights_name: what the message calls the weights ("inverse-frequency weights").
    Raises:
        InputError: more than one of the three corrects.
    """
    power = SAMPLING_POWERS[sampling]
    images = counts.detach().to("cpu", torch.float64)
    corrections: list[tuple[str, Tensor]] = []
    if power != 1:
        name = f"{'square-root' if power == 0.5 else 'class-balanced'} sampler"
        corrections.append((name, images ** (power - 1)))
    if weights is not None:
        _refuse_odd_weights(weights, counts)
        corrections.append((weights_name, weights))
    if adjustment != 0:
        name = f"logit adjustment of strength {adjustment:g}"
        corrections.append((name, images**-adjustment))
    check_corrections(corrections, counts=counts, classes=classes)


def check_corrections(
    corrections: Sequence[tuple[str, Tensor]], *, counts: Tensor, classes: Sequence[str]
) -> None:
    """`check_single_correction` for corrections of any kind.

    Args:
        corrections: what each is called, and the (C,) factors by which it changes what a class
            counts for, up to a common one: 1/n_c for a class-balanced sampler, w_c for weights. One
            that gives present classes equal factors is none. Ones that move no mass (temperatures)
            are passed with NaN: they count as a correction, and not in the arithmetic.
        counts: (C,) int64, images per class in the train split.
        classes: (C,) names.
    Raises:
        InputError: more than one corrects.
    """
    present = np.flatnonzero(counts.cpu().numpy() > 0)
    images = counts.detach().to("cpu", torch.float64).numpy()[present]
    if present.size == 0 or images.max() == images.min():
        return  # nothing to correct, so nothing is corrected twice
    rare, common = int(images.argmin()), int(images.argmax())
    ratio = images[common] / images[rare]
    names, times = list[str](), 1 / ratio
    for name, factors in corrections:
        relative = factors.detach().to("cpu", torch.float64).numpy()[present]
        if np.isnan(relative).all():
            names.append(name)
        elif not np.allclose(relative, relative[0], rtol=1e-6):
            names.append(name)
            times *= relative[rare] / relative[common]
    if len(names) < 2:
        return
    rarest, commonest = (f"class '{classes[present[k]]}'" for k in (rare, common))
    raise InputError(
        f"{_and(names)} correct the same imbalance {_TIMES.get(len(names), 'many times')}: at "
        f"ratio {ratio:.4g} {rarest} {_would_count(times, commonest)}.",
        remedy=f"Keep one of the {_NUMBERS.get(len(names), len(names))}.",
    )


_TIMES = {2: "twice", 3: "three times"}
_NUMBERS = {2: "two", 3: "three"}


def _and(corrections: Sequence[str]) -> str:
    listed = f"{', '.join(corrections[:-1])} and {corrections[-1]}"
    # Weights are a plural: no article.
    return f"{listed[0].upper()}{listed[1:]}" if corrections[0].endswith("s") else f"A {listed}"


def _would_count(times: float, other: str) -> str:
    if abs(times - 1) < 0.005:
        return f"would count as much as {other}, which one correction does alone"
    if times < 1:
        return f"would count {times:.2g} times {other} instead of once, in two places"
    amount = f"{times:,.0f}" if times >= 100 else f"{times:.3g}"
    return f"would count {amount} times {other} instead of once"
