"""Inputs: their scale at the first layer, and whether images differ at all.

Causes: inputs-not-scaled, inputs-double-scaled, inputs-constant. What counts is what the first
layer with weights gets, after whatever the model does itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.material import Material, rows_of
from everyclass.diagnosis.nested import rows_as_matrix, scores_in, tensors_in
from everyclass.diagnosis.sightings import Layer
from everyclass.diagnosis.trace import PassError, run_pass

USUAL_SD = (0.1, 5.0)
"""Standard deviations outside are worth telling."""

MOST_MEAN_IN_SD = 3.0

FAR_RMS = 10.0
"""Root mean square of a channel beyond which the scale itself is accused: grey levels have about
130, after ImageNet's normalisation about 600; digits stored as 0..16 have 8 and train well.
"""

FLAT_SD, FLAT_RANGE = 0.02, 0.1
"""Below both, images were scaled twice: /255 twice leaves 0.001 (0.004 once normalised) of range
0.004 (0.017). Dark images with one bright spot keep their range.
"""

SCALE_MATTERS = 0.1
"""Relative change of the scores, when the first layer gets standardised inputs, below which the
network is indifferent to scale (a convolution before BatchNorm is, exactly).
"""

NORMALISATIONS: tuple[tuple[str, tuple[float, ...], tuple[float, ...]], ...] = (
    ("ImageNet's normalisation", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ("CIFAR-10's normalisation", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ("normalisation with 0.5 and 0.5", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ("MNIST's normalisation", (0.1307,), (0.3081,)),
    ("normalisation with 0.5 and 0.5", (0.5,), (0.5,)),
)

TOLD_BATCHES = 8
"""Whose figures are told."""

LEAST_SIDE, FLAT_WITHIN = 8, 1e-4
"""Pixels of images that have an inner half to speak of; spread of its values, of their size, up to
which it is blank."""

FEW_DISTINCT = 8
"""A batch in which at most one row in so many is distinct repeats itself."""

LEAST_POOLED = 128
"""Inputs of several batches, before these are taken together. A set that is learned by heart comes
again too, but each of its images once in a batch.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFigures:
    """Of what reaches the first layer: per channel of images, pooled for other inputs."""

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    low: float
    high: float

    @property
    def rms(self) -> float:
        """Of the channel where it is largest."""
        return max(math.hypot(m, s) for m, s in zip(self.mean, self.sd))

    def evidence(self, layer: str) -> dict[str, object]:
        """For the answer."""
        return {
            "layer": layer,
            "mean": list(self.mean),
            "sd": list(self.sd),
            "min": self.low,
            "max": self.high,
        }


def channel_figures(inputs: Tensor, layer: nn.Module | None = None) -> ChannelFigures:
    """Mean and standard deviation of each channel.

    Args:
        inputs: (B, C, places...) of a convolution, pooled for other layers.
        layer: that takes them.
    """
    values = inputs.detach().to("cpu", torch.float64)
    has_channels = values.ndim >= 4 or isinstance(layer, nn.Conv1d)
    columns = values.movedim(1, 0).flatten(1) if has_channels else values.reshape(1, -1)
    return ChannelFigures(
        mean=tuple(columns.mean(dim=1).tolist()),
        sd=tuple(columns.std(dim=1, unbiased=False).tolist()),
        low=float(values.min()),
        high=float(values.max()),
    )


def input_scale(material: Material) -> Answer:
    """Values far from zero mean and unit variance, where that matters."""
    layer, figures = _at_first_layer(material)
    evidence = figures.evidence(layer.name)
    facts = _facts(layer.name, figures)
    if figures.rms <= FAR_RMS:
        return passed(f"{facts}.{_deviation(figures)}", evidence)
    origin = grey_levels(layer.inputs, figures) if layer.inputs is not None else ""
    change = _effect_of_scale(material, figures.rms)
    evidence |= {"looks_like": origin, "change_when_standardised": change}
    harmless = _why_harmless(material, change)
    if harmless:
        return passed(f"{facts}. {harmless}", evidence)
    expected = "; about 0 and 1 was expected"
    seen = f" These are {origin}." if origin else ""
    return accuse(
        "inputs-not-scaled",
        f"{facts}{expected}.{seen}",
        remedy="Divide by 255 before normalising: ConvertImageDtype and ToDtype(scale=True) leave "
        "float tensors as they are, so convert while the image is still uint8. For other numbers, "
        "subtract the training set's mean and divide by its standard deviation.",
        evidence=evidence,
    )


def double_scaling(material: Material) -> Answer:
    """Almost no variance left."""
    layer, figures = _at_first_layer(material)
    evidence = figures.evidence(layer.name)
    facts = _facts(layer.name, figures)
    largest, spread = max(figures.sd), figures.high - figures.low
    if figures.low == figures.high:
        raise NotApplicable("The inputs are all equal; scaling cannot be judged.")
    per_channel = _channel_range(layer)
    if largest >= FLAT_SD or per_channel >= FLAT_RANGE:
        return passed(f"Values at '{layer.name}' span {figure(spread)}.", evidence)
    change = _effect_of_scale(material, largest)
    evidence |= {"channel_range": per_channel, "change_when_standardised": change}
    harmless = _why_harmless(material, change)
    if harmless:
        return passed(f"{facts}. {harmless}", evidence)
    return accuse(
        "inputs-double-scaled",
        f"{facts}: within a channel the values span only {figure(per_channel)}, so images hardly "
        "differ.",
        remedy="Scale once: look for a second division by 255 (ToTensor, ToDtype(scale=True) or a "
        "rescaling layer of the model already divides), or for a mean and deviation in grey levels "
        "applied to values in [0, 1].",
        evidence=evidence,
    )


def input_variety(material: Material) -> Answer:
    """Blank images, or copies of one."""
    seen, known = [], set()
    for batch in material.case.batches:
        n_rows = rows_of(batch)
        if n_rows is None or n_rows < 2:
            continue
        matrices = rows_as_matrix((batch.args, dict(batch.keywords)), n_rows=n_rows)
        if matrices:
            rows = _fingerprints(matrices, n_rows)
            known |= rows
            seen.append((n_rows, len(rows), _differences(matrices)))
    if not seen:
        raise NotApplicable("No batch with two or more inputs is known.")
    n, distinct = sum(one[0] for one in seen), [one[1] for one in seen]
    evidence = {
        "batches": len(seen),
        "batch_sizes": [one[0] for one in seen[:TOLD_BATCHES]],
        "distinct": distinct[:TOLD_BATCHES],
        "between_images_share": [one[2] for one in seen[:TOLD_BATCHES]],
    }
    remedy = (
        "Look at the images as the loader gives them: a division by 255 in integers leaves zeros, "
        "and a sampler with one weight per class instead of one per image draws the same few."
    )
    if all(one[2] < 1e-4 for one in seen):
        words = "identical" if max(distinct) == 1 else "all but identical"
        return accuse(
            "inputs-constant",
            f"The {n} inputs looked at are {words}: between images the values differ by "
            f"{figure(100 * max(one[2] for one in seen))} % of their spread.",
            remedy=remedy,
            evidence=evidence,
        )
    repeated = [one for one in seen if one[0] >= FEW_DISTINCT]
    if repeated and all(k <= max(2, size / FEW_DISTINCT) for size, k, _ in repeated):
        size, k, _ = repeated[0]
        return accuse(
            "inputs-constant",
            f"Only {k} of the {size} inputs of a batch are distinct.",
            remedy=remedy,
            evidence=evidence,
        )
    if n >= LEAST_POOLED and all(2 * k <= m for m, k, _ in seen) and FEW_DISTINCT * len(known) <= n:
        return accuse(
            "inputs-constant",
            f"Only {len(known)} of {n} inputs in {len(seen)} batches are distinct, and each batch "
            "holds them more than once.",
            remedy=remedy,
            evidence=evidence | {"distinct_in_all": len(known)},
        )
    blank = _blank_within(material)
    if blank is not None:
        return accuse(
            "inputs-constant",
            f"The inner half of every one of the {n} images looked at holds the one value "
            f"{figure(blank)}: what differs between them lies at their edges, as shifts and "
            "rotations leave it.",
            remedy="Look at the images as the loader gives them: an alpha channel or a mask read "
            "in place of the image is one flat value.",
            evidence=evidence | {"inner_value": blank},
        )
    return passed(
        f"{distinct[0]} of {seen[0][0]} inputs of the first batch are distinct.", evidence
    )


def _blank_within(material: Material) -> float | None:
    """The one value of all images' inner halves; None where they differ, or are no images."""
    low, high = math.inf, -math.inf
    for batch in material.case.batches:
        n_rows = rows_of(batch)
        given = tensors_in((batch.args, dict(batch.keywords)))
        images = next((one for one in given if one.ndim == 4 and one.shape[0] == n_rows), None)
        if images is None or min(images.shape[2:]) < LEAST_SIDE:
            return None
        height, width = images.shape[2:]
        inner = images[:, :, height // 4 : height - height // 4, width // 4 : width - width // 4]
        low, high = min(low, float(inner.min())), max(high, float(inner.max()))
        if not high - low <= FLAT_WITHIN * max(abs(low), abs(high)):
            return None
    return low if math.isfinite(low) else None


def grey_levels(inputs: Tensor, figures: ChannelFigures) -> str:
    """What scale the values seem to come from; "" when none is recognised.

    Undoes the usual normalisations: values that then lie in 0..255, and beyond what 0..1 would
    give, are grey levels that were normalised as if they had been divided by 255.
    """
    if figures.low >= 0 and 30 < figures.high <= 255.5:
        return "grey levels from 0 to 255"
    if inputs.ndim != 4:
        return ""
    values = inputs.detach().float().cpu()
    for name, mean, sd in NORMALISATIONS:
        if len(mean) != values.shape[1]:
            continue
        shape = (1, -1, 1, 1)
        undone = values * torch.tensor(sd).view(shape) + torch.tensor(mean).view(shape)
        if float(undone.min()) > -1 and 30 < float(undone.max()) < 256:
            return f"grey levels from 0 to 255 after {name}"
    if -129 <= figures.low < -30 and 30 < figures.high <= 129:
        return "grey levels minus 128, not divided"
    return ""


def _at_first_layer(material: Material) -> tuple[Layer, ChannelFigures]:
    layer = material.first_layer
    assert layer.inputs is not None  # `first_layer` chose it for its inputs
    if not bool(torch.isfinite(layer.inputs).all()):
        raise NotApplicable("The inputs hold NaN or infinity.")
    return layer, channel_figures(layer.inputs, layer.module)


def _channel_range(layer: Layer) -> float:
    assert layer.inputs is not None
    values = layer.inputs.float()
    if values.ndim < 4:
        return float(values.max() - values.min())
    columns = values.movedim(1, 0).flatten(1)
    return float((columns.amax(dim=1) - columns.amin(dim=1)).max())


def _facts(layer: str, figures: ChannelFigures) -> str:
    mean, sd = _listed(figures.mean), _listed(figures.sd)
    return (
        f"Inputs reach the first layer ('{layer}') with mean {mean} and standard deviation {sd} "
        f"(values from {figure(figures.low)} to {figure(figures.high)})"
    )


def _listed(values: Sequence[float]) -> str:
    if len(values) > 4:
        return f"{figure(min(values))} to {figure(max(values))}"
    return " / ".join(figure(value) for value in values)


def _deviation(figures: ChannelFigures) -> str:
    low, high = USUAL_SD
    odd = [
        c
        for c, (mean, sd) in enumerate(zip(figures.mean, figures.sd))
        if abs(mean) > MOST_MEAN_IN_SD * sd or not low <= sd <= high
    ]
    if not odd:
        return ""
    return " Unusual (about 0 and 1 is customary), but not far enough off to accuse."


def _why_harmless(material: Material, change: float | None) -> str:
    if change is not None and change < SCALE_MATTERS:
        return (
            "The network is indifferent to that: standardised, its outputs change by "
            f"{figure(100 * change)} %."
        )
    if material.learned:
        return "The training learns all the same, so the scale is a fact and not a fault."
    return ""


def _effect_of_scale(material: Material, scale: float) -> float | None:
    """Relative change of the scores when the first layer's inputs are divided by `scale`.

    Measured in training mode, where BatchNorm uses the batch, with the same random numbers.
    """
    batch = material.small_batch
    n_rows = rows_of(batch)

    def scores(change: Callable[[Tensor], Tensor]) -> Tensor | None:
        found = run_pass(
            material.model,
            batch,
            loss_function=None,
            mode="train",
            change_first_input=change,
        )
        return scores_in(found.outputs, n_rows=n_rows)

    try:
        before, after = scores(lambda inputs: inputs), scores(lambda inputs: inputs / scale)
        # Dropout makes rows differ, whatever the images are; the same images in another order
        # leave the batch's statistics and what is drawn as they were.
        moved = scores(lambda inputs: inputs.roll(1, dims=0))
    except PassError:
        return None
    if before is None or after is None or moved is None or before.shape != after.shape:
        return None
    size = float(before.detach().double().abs().max())
    if float((moved - before).detach().double().square().mean().sqrt()) <= 1e-6 * size:
        return None  # a dead network is indifferent to everything; that excuses no scale
    return relative_change(before, after)


def relative_change(before: Tensor, after: Tensor) -> float:
    """Root mean square of the difference over that of `before` around its mean row."""
    before, after = before.detach().double(), after.detach().double()
    size = (before - before.mean(dim=0)).square().mean().sqrt()
    return float((after - before).square().mean().sqrt() / size.clamp(min=1e-30))


def _fingerprints(matrices: Sequence[Tensor], n_rows: int) -> set[tuple[int, ...]]:
    """One of each distinct row."""
    rows = [matrix.cpu().contiguous().numpy() for matrix in matrices]
    return {tuple(hash(one[i].tobytes()) for one in rows) for i in range(n_rows)}


def _differences(matrices: Sequence[Tensor]) -> float:
    """Standard deviation between images over the values' spread, of the input that varies most."""
    shares = []
    for matrix in matrices:
        between = matrix.var(dim=0, unbiased=False).mean().sqrt()
        spread = matrix.std(unbiased=False)
        shares.append(float(between / spread) if float(spread) > 0 else 0.0)
    return max(shares)


CHECKS = (
    Check(name="input-scale", run=input_scale),
    Check(name="double-scaling", run=double_scaling),
    Check(name="input-variety", run=input_variety),
)
