"""What the makers of edits may know of a watched training, read from its case.

Comes in: a `Case`, the script's path, what torch knows. Goes out: `Facts`, which are plain numbers
and places. Edits nothing.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import Case
from everyclass.diagnosis.causes.inputs import channel_figures
from everyclass.diagnosis.material import Material, rates_of
from everyclass.fixing.facts import Facts, InputFigures, Part

MOST_SAMPLES = 499
PARTS: tuple[Part, ...] = ("model", "optimizer", "loss")


def facts_of(case: Case, *, script: Path, folder: Path) -> Facts:
    """The facts of one training.

    Args:
        case: of the watched run; a pass of its network is made, which leaves it as it was.
        script: the file that is to be copied.
        folder: that the call sites are relative to.
    """
    lines, elsewhere = _places(case.call_sites, script=script, folder=folder)
    material = Material(case)
    rates = [rate for _, rate in case.rates] or rates_of(case.optimizers)
    facts = Facts(
        lines=lines,
        elsewhere=elsewhere,
        model_class=type(material.model).__name__,
        optimizer_class=type(case.optimizers[0]).__name__ if case.optimizers else "",
        first_rate=rates[0] if rates else None,
        peak_rate=max(rates) if rates else None,
        rate_varied=len(set(rates)) > 1,
    )
    try:
        facts = replace(facts, loss=material.spec.name, head=material.head.name)
        facts = replace(facts, inputs=_inputs(material))
    except NotApplicable:
        # A network that cannot be run any more: edits that need these facts will say so.
        pass
    return replace(facts, log_prior=_log_prior(material))


def _places(
    sites: Mapping[str, str], *, script: Path, folder: Path
) -> tuple[dict[Part, int], dict[Part, str]]:
    lines: dict[Part, int] = {}
    elsewhere: dict[Part, str] = {}
    own = os.path.realpath(script)
    for part in PARTS:
        name, _, line = sites.get(part, "").rpartition(":")
        if not name:
            continue
        if os.path.realpath(folder / name) == own:
            lines[part] = int(line)
        else:
            elsewhere[part] = f"{name}:{line}"
    return lines, elsewhere


def _inputs(material: Material) -> InputFigures:
    layer = material.first_layer
    assert layer.inputs is not None
    given = _first_argument(material.small_batch.args)
    same = (
        given is not None
        and given.numel() == layer.inputs.numel()
        and torch.allclose(given.flatten().to(layer.inputs), layer.inputs.flatten())
    )
    figures = channel_figures(layer.inputs, layer.module)
    return InputFigures(
        mean=figures.mean,
        sd=figures.sd,
        layer="" if same else layer.name,
        integer=same and given is not None and not given.is_floating_point(),
        samples=_samples(given) if same and given is not None else (),
    )


def _samples(images: Tensor) -> tuple[tuple[float, ...], ...]:
    """Values of each channel, evenly spaced over the batch."""
    if images.ndim != 4:
        return ()
    columns = images.detach().to("cpu", torch.float64).movedim(1, 0).flatten(1)
    stride = max(1, columns.shape[1] // MOST_SAMPLES)
    while math.gcd(stride, images.shape[-1]) > 1:  # else always the same few columns of pixels
        stride += 1
    return tuple(tuple(one[::stride].tolist()) for one in columns)


def _first_argument(args: tuple[Any, ...]) -> Tensor | None:
    return args[0] if args and isinstance(args[0], Tensor) else None


def _log_prior(material: Material) -> tuple[float, ...]:
    try:
        counts = torch.tensor(material.stream_counts, dtype=torch.float64).clamp(min=0.5)
    except NotApplicable:
        return ()
    return tuple((counts / counts.sum()).log().tolist())
