"""Class weights of the loss, and labels that it leaves out. Causes: loss-weights-wrong,
double-correction, labels-out-of-range.

Whether imbalance itself is at fault is no matter of form: a trial that corrects it shows that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.material import BINARY_LOSSES, Material

IMBALANCED_FROM = 2.0
LEAST_IMAGES = 5
"""Of each class in the counts before weights are compared with them."""

LEAST_IN_STREAM = 20
"""The same where only the stream's labels are known: fewer, and chance makes imbalance."""

WRONG_CORRELATION = 0.5
SURE_CORRELATION, SURE_RATIO = 0.9, 3.0
"""From which weights that grow with the counts are beyond question: nobody means the classes that
are rare anyway to count even less."""

EXTREME_RATIO = 1e4
BEYOND_INVERSE = 10.0

UNEQUAL_FROM = 3.0
EVEN_RATIO = 1.5
"""Largest over smallest share of a stream that a balanced sampler might have made."""

INVERTED_SLOPE = -0.5


LEAST_IGNORED, HARDLY_ANY = 0.02, 10
"""Share of ignored labels, and by how much a class must be rarer than the one in the middle, from
which the ignored ones are taken for its images."""


def loss_weights(material: Material) -> Answer:
    """Weights that point the wrong way, are in another order, or extreme."""
    if material.spec.name in BINARY_LOSSES:
        return _positive_weight(material)
    weights = _weights(material)
    counts = _class_counts(material)
    present = [w for w, n in zip(weights, counts) if n] if counts else weights
    evidence: dict[str, Any] = {"weights": weights, "counts": list(counts) if counts else None}
    if min(weights) < 0 or not all(math.isfinite(w) for w in weights):
        return _wrong(
            f"Class weights reach from {figure(min(weights))} to {figure(max(weights))}.", evidence
        )
    ignored = [c for c, w in enumerate(weights) if w == 0 and counts and counts[c]]
    if ignored and counts:
        return _wrong(
            f"The weight of {material.class_name(ignored[0])} is 0, so its {counts[ignored[0]]:,} "
            "images count for nothing.",
            evidence,
        )
    positive = [w for w in present if w > 0]
    ratio = max(positive) / min(positive) if positive else math.inf
    evidence["weight_ratio"] = ratio
    if counts is None or min(counts) < LEAST_IMAGES:
        if ratio > EXTREME_RATIO:
            return _wrong(
                f"The largest class weight is {figure(ratio)} times the smallest.", evidence
            )
        return passed(
            f"Class weights differ by a factor of {figure(ratio)}; too few labels are known to "
            "compare them with counts.",
            evidence,
        )
    return _against_counts(material, weights, counts, ratio, evidence)


def _against_counts(
    material: Material,
    weights: Sequence[float],
    counts: Sequence[int],
    ratio: float,
    evidence: dict[str, Any],
) -> Answer:
    imbalance = max(counts) / min(counts)
    evidence["imbalance_ratio"] = imbalance
    if _extreme(ratio, imbalance):
        return _wrong(
            f"The largest class weight is {figure(ratio)} times the smallest, at an imbalance of "
            f"{figure(imbalance)}.",
            evidence,
        )
    known = material.case.class_counts is not None
    if known and imbalance < IMBALANCED_FROM and ratio >= max(UNEQUAL_FROM, 2 * imbalance**2):
        return _wrong(
            f"Class weights differ by a factor of {figure(ratio)}, though the classes are about "
            f"even (largest over smallest {figure(imbalance)}).",
            evidence,
        )
    if imbalance < IMBALANCED_FROM or ratio < 1.5 or min(weights) <= 0:
        return passed(f"Class weights differ by a factor of {figure(ratio)}.", evidence)
    log_w, log_n = _logs(weights), _logs(counts)
    aligned = correlation(log_w, log_n)
    best = correlation(sorted(log_w, reverse=True), sorted(log_n))
    evidence |= {"correlation": aligned, "correlation_in_best_order": best}
    if aligned >= WRONG_CORRELATION:
        turned = correlation(log_w[::-1], log_n)
        # Weights that grow with the counts fit them as well when turned round, where the classes
        # are of two sizes.
        reverse = len(weights) > 2 and turned <= -0.95 and -turned > aligned + 0.02
        sure = aligned >= SURE_CORRELATION and min(ratio, imbalance) >= SURE_RATIO
        if sure and min(counts) >= LEAST_IN_STREAM:
            evidence["fact"] = True
        how = (
            "inverse frequencies in reversed class order" if reverse else "larger where counts are"
        )
        return _wrong(
            f"Class weights are {how} (correlation of their logarithms {figure(aligned)}; a "
            "correction has a negative one): the rare classes count even less.",
            evidence,
        )
    if len(weights) > 2 and best <= -0.95 and aligned > -0.5:
        return _wrong(
            "The class weights fit the counts, but in another class order (correlation of their "
            f"logarithms {figure(aligned)} as they stand, {figure(best)} when sorted).",
            evidence,
        )
    power = slope(log_w, log_n)
    evidence["exponent"] = power
    if aligned <= -0.9 and 1 + power <= INVERTED_SLOPE:
        return _wrong(
            f"Class weights go as the images per class to the power {figure(power)}; -1 evens them "
            "out, so the rare classes dominate.",
            evidence,
        )
    return passed(
        f"Class weights rise as counts fall (correlation of their logarithms {figure(aligned)}).",
        evidence,
    )


def _extreme(ratio: float, imbalance: float) -> bool:
    return ratio > max(EXTREME_RATIO, BEYOND_INVERSE * imbalance**2)


def _positive_weight(material: Material) -> Answer:
    weight = material.spec.pos_weight
    if weight is None:
        raise NotApplicable("The loss has no class weights.")
    value = float(weight.detach().double().mean())
    counts = _class_counts(material)
    evidence: dict[str, Any] = {"pos_weight": value, "counts": list(counts) if counts else None}
    if weight.numel() != 1 or counts is None or len(counts) != 2 or min(counts) < LEAST_IMAGES:
        return passed(f"pos_weight is {figure(value)}.", evidence)
    wanted = counts[0] / counts[1]
    evidence["negatives_per_positive"] = wanted
    if value <= 0 or math.log(value) * math.log(wanted) < -(math.log(1.5) ** 2):
        least = min(abs(math.log(value)), abs(math.log(wanted))) if value > 0 else math.inf
        if least >= math.log(SURE_RATIO) and min(counts) >= LEAST_IN_STREAM:
            evidence["fact"] = True
        return _wrong(
            f"pos_weight is {figure(value)}, but there are {figure(wanted)} negatives per "
            "positive: the larger class is made larger.",
            evidence,
        )
    return passed(
        f"pos_weight {figure(value)} at {figure(wanted)} negatives per positive.", evidence
    )


def ignored_class(material: Material) -> Answer:
    """A class that the loss leaves out because its id is the loss's ignore_index; labels that have
    become that id, where a class has hardly any left."""
    spec = material.spec
    if spec.name not in ("cross_entropy", "nll_loss") or spec.soft_targets:
        raise NotApplicable("The loss ignores no id.")
    targets = [b.targets for b in material.case.batches if b.targets is not None]
    if not 0 <= spec.ignore_index < material.n_outputs:
        return _of_no_class(spec.ignore_index, targets, material)
    # In maps of labels an id for "void" is usual.
    found = sum(int((t == spec.ignore_index).sum()) for t in targets if t.ndim == 1)
    evidence = {"ignore_index": spec.ignore_index, "labels": found}
    if not found:
        return passed(f"No label is {spec.ignore_index}, which the loss ignores.", evidence)
    return accuse(
        "loss-weights-wrong",
        f"The loss ignores id {spec.ignore_index}, which is a class: its {found:,} labels count "
        "for nothing.",
        remedy="Leave ignore_index out, or give it an id that is no class.",
        evidence=evidence,
    )


def _of_no_class(ignored: int, targets: list[Tensor], material: Material) -> Answer:
    """Labels that are no class. Where images without a label are meant, all classes lack some."""
    ids = torch.cat([t.reshape(-1).cpu() for t in targets if t.ndim == 1] or [torch.empty(0)])
    n = int((ids == ignored).sum())
    evidence: dict[str, Any] = {"ignore_index": ignored, "ignored": n, "labels": len(ids)}
    usual = passed(f"The loss ignores {ignored}, which is no class.", evidence)
    if ids.is_floating_point() or n < LEAST_IGNORED * len(ids):
        return usual
    known = ids[(ids >= 0) & (ids < material.n_outputs)].long()
    counts = torch.bincount(known, minlength=material.n_outputs)
    middle = float(counts.float().median())
    few = [k for k, count in enumerate(counts.tolist()) if count * HARDLY_ANY < middle]
    if not few or n < middle / 2:
        return usual
    names = ", ".join(f"{_name(material, k)} ({int(counts[k])})" for k in few[:4])
    return accuse(
        "labels-out-of-range",
        f"{n:,} of {len(ids):,} labels are {ignored}, which the loss ignores: these images teach "
        f"nothing. Hardly an image is left of {names}, against {middle:.0f} of a class in the "
        "middle.",
        remedy="Look at which files get this id: a name or a value that the table of classes lacks "
        "is the usual reason. Fail on it instead of filling it in.",
        evidence=evidence | {"counts": counts.tolist(), "hardly_any": few, "fact": True},
    )


def _name(material: Material, k: int) -> str:
    return f"'{material.classes[k]}'" if k < len(material.classes) else f"class {k}"


def weights_and_smoothing(material: Material) -> Answer:
    """Class weights that label smoothing turns into a preference for the rare class.

    PyTorch weighs the smoothing's term too: an image of class y has the target
    (1 - s) w_y [c = y] + s w_c / C. Where the largest entry is not y, the loss itself asks for
    another class, however sure the network is of y.
    """
    spec = material.spec
    if spec.label_smoothing == 0:
        raise NotApplicable("The loss smooths no labels.")
    weights = torch.tensor(_weights(material), dtype=torch.float64)
    n = len(weights)
    smooth = spec.label_smoothing * weights / n
    own = (1 - spec.label_smoothing) * weights + smooth
    top = int(weights.argmax())
    turned = [c for c in range(n) if float(own[c]) < float(smooth[top])]
    evidence = {
        "label_smoothing": spec.label_smoothing,
        "weights": weights.tolist(),
        "classes_turned": turned,
        "largest_weight": top,
    }
    if not turned:
        return passed("Label smoothing leaves every class its own largest target.", evidence)
    return accuse(
        "loss-weights-wrong",
        f"With label smoothing {figure(spec.label_smoothing)} the class weights apply to the "
        f"smoothing too: for images of {len(turned)} of {n} classes the loss is lowest when "
        f"{material.class_name(top)} is predicted.",
        remedy="Drop label smoothing or the weights, or smooth the targets yourself and weight "
        "each image by its own class.",
        evidence=evidence,
    )


def double_correction(material: Material) -> Answer:
    """Weights on a stream that was evened out already."""
    weights = _weights(material)
    stream = material.stream_counts
    if len(stream) != len(weights) or min(stream) < 2 * LEAST_IMAGES:
        raise NotApplicable("Too few labels of the stream are known to compare with the weights.")
    if min(weights) <= 0:
        raise NotApplicable("A class has no weight at all; see loss-weights.")
    ratio = max(weights) / min(weights)
    known = material.case.class_counts
    evidence: dict[str, Any] = {
        "weights": weights,
        "stream": list(stream),
        "counts": list(known) if known else None,
    }
    remedy = (
        "Correct imbalance once: keep the sampler and drop the weights, or shuffle plainly and "
        "keep the weights."
    )
    even = max(stream) / min(stream)
    if known is not None and len(known) == len(weights) and min(known) > 0:
        imbalance = max(known) / min(known)
        if imbalance < IMBALANCED_FROM or ratio < 1.5:
            return passed("There is one correction at most.", evidence)
        if _extreme(ratio, imbalance):
            return passed("The weights are beyond any correction; see loss-weights.", evidence)
        log_n = _logs(known)
        sampled = slope(_logs(stream), log_n)
        total = sampled + slope(_logs(weights), log_n)
        evidence |= {"stream_exponent": sampled, "total_exponent": total}
        if total <= INVERTED_SLOPE and sampled < 0.5:
            return accuse(
                "double-correction",
                f"Sampler and loss weights both correct an imbalance of {figure(imbalance)}: what "
                f"counts goes as the images per class to the power {figure(total)} (1 is "
                "uncorrected, 0 even), so the rare classes dominate.",
                remedy=remedy,
                evidence=evidence,
            )
        return passed(
            f"What counts goes as the images per class to the power {figure(total)}.", evidence
        )
    if ratio >= UNEQUAL_FROM and even <= EVEN_RATIO and min(stream) >= 10 * LEAST_IMAGES:
        return accuse(
            "double-correction",
            f"Labels arrive evenly (largest over smallest share {figure(even)}), yet class weights "
            f"differ by a factor of {figure(ratio)}: a sampler and the weights both correct.",
            remedy=remedy,
            evidence=evidence,
        )
    return passed(f"The stream's largest class is {figure(even)} times its smallest.", evidence)


def correlation(left: Sequence[float], right: Sequence[float]) -> float:
    """Pearson's; 0 where one side does not vary."""
    pair = torch.tensor([list(left), list(right)], dtype=torch.float64)
    centred = pair - pair.mean(dim=1, keepdim=True)
    sizes = centred.norm(dim=1)
    if float(sizes.min()) < 1e-12:
        return 0.0
    return float((centred[0] * centred[1]).sum() / (sizes[0] * sizes[1]))


def slope(values: Sequence[float], along: Sequence[float]) -> float:
    """Of the least-squares line of `values` along `along`."""
    y, x = torch.tensor(values).double(), torch.tensor(along).double()
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum().clamp(min=1e-12))


def _wrong(sentence: str, evidence: dict[str, Any]) -> Answer:
    return accuse(
        "loss-weights-wrong",
        sentence,
        remedy="Weights go by class id, in the order of the outputs, and fall as counts rise: "
        "everyclass.balanced_weights(counts) gives them.",
        evidence=evidence,
    )


def _weights(material: Material) -> list[float]:
    weight: Tensor | None = material.spec.weight
    if weight is None or weight.numel() != material.n_outputs:
        raise NotApplicable("The loss has no class weights.")
    values: list[float] = weight.detach().double().cpu().flatten().tolist()
    return values


def _class_counts(material: Material) -> tuple[int, ...] | None:
    """Of the training set; of the stream where that is all that is known."""
    known = material.case.class_counts
    if known is not None:
        return known
    try:
        stream = material.stream_counts
    except NotApplicable:
        return None
    return stream if min(stream) >= LEAST_IN_STREAM else None


def _logs(values: Sequence[float] | Sequence[int]) -> list[float]:
    return [math.log(value) for value in values]


CHECKS = (
    Check(name="loss-weights", run=loss_weights, needs_finite=False),
    Check(name="ignored-class", run=ignored_class, needs_finite=False),
    Check(name="weights-and-smoothing", run=weights_and_smoothing, needs_finite=False),
    Check(name="double-correction", run=double_correction, needs_finite=False),
)
