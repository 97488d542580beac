"""Whether an output depends on other rows of the batch, or a layer runs along them. Cause:
batch-mixed.

Dependence is measured in evaluation mode, where BatchNorm does not look at the batch: by the
gradient of one row's scores by the inputs of all rows, and, where inputs are integers or the
gradient is lost on the way, by exchanging the other rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, names, passed
from everyclass.diagnosis.batch_axis import given_batch_first
from everyclass.diagnosis.case import CapturedBatch
from everyclass.diagnosis.material import Material, first_rows, fits, loaded, pick_rows
from everyclass.diagnosis.nested import map_tensors, scores_in
from everyclass.diagnosis.snapshot import borrowed, seeded
from everyclass.diagnosis.trace import FOREIGN_ERRORS, SEED

ROWS = 8
LEAST_SHARE = 1e-6
EXCHANGED_SHARE = 1e-5
"""The same where rows are exchanged: kernels may sum in another order."""

EXCHANGED_OUTRIGHT = 1e-3
"""Of the gradient by another row; where the row's own is smaller, rows have changed places."""

STATISTICS_RESIDUAL = 1e-2


def rows_independent(material: Material) -> Answer:
    """In evaluation mode an image's scores depend on that image alone."""
    batch = first_rows(material.batch, ROWS)
    if batch.targets is None or batch.targets.ndim == 0 or batch.targets.shape[0] < 2:
        raise NotApplicable("The batch has one row.")
    # A network that has collapsed depends on no row at all: the fresh one tells.
    state = material.case.initial_state
    fresh = state is not None and not material.initial and fits(material.model, state)
    with loaded(material.model, state) if fresh and state is not None else nullcontext():
        by_gradient = _by_gradient(material, batch)
        exchanged = None if by_gradient is not None else _by_exchange(material, batch)
    if by_gradient is not None:
        share, statistics = by_gradient
        evidence: dict[str, Any] = {"method": "gradient", "share_of_other_rows": share}
        limit = LEAST_SHARE
    else:
        share, statistics, limit = exchanged or 0.0, False, EXCHANGED_SHARE
        evidence = {"method": "exchange", "share_of_other_rows": share}
    if share <= limit:
        return passed("In evaluation mode each image's scores depend on it alone.", evidence)
    if _uses_batch_statistics(material.model):
        return passed(
            "Scores depend on other images through a normalisation without running statistics.",
            evidence,
        )
    if statistics:
        return passed(
            "Scores depend on other images through the batch's mean and deviation only.", evidence
        )
    return accuse(
        "batch-mixed",
        "In evaluation mode an image's scores depend on other images of the batch, up to "
        f"{figure(share)} times as much as on itself.",
        remedy="Look for a view or reshape that should be a permute or flatten(1), for a softmax "
        "or mean over dimension 0, and for batch_first left out.",
        evidence=evidence,
    )


def batch_axis(material: Material) -> Answer:
    """Attention and recurrent layers run along the sequence, not along the batch."""
    found = given_batch_first(material.model, material.batch)
    evidence: dict[str, Any] = {"layers": {name: list(shape) for name, shape in found.items()}}
    if not found:
        return passed("Layers that take a sequence first get it first.", evidence)
    name, shape = next(iter(found.items()))
    return accuse(
        "batch-mixed",
        f"{names(list(found))} run along the batch: they take (sequence, batch, features), and "
        f"'{name}' gets {shape} from {shape[0]} images. No image's own parts meet each other.",
        remedy="Build these layers with batch_first=True, or give them x.transpose(0, 1).",
        evidence=evidence,
    )


def _by_gradient(material: Material, batch: CapturedBatch) -> tuple[float, bool] | None:
    """(largest gradient by another row over that by the row itself, whether batch statistics
    explain it); None when the inputs take no gradient or none arrives.
    """
    assert batch.targets is not None
    n_rows = batch.targets.shape[0]
    leaves: list[Tensor] = []

    def leaf(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or tensor.ndim < 2 or tensor.shape[0] != n_rows:
            return tensor
        leaves.append(tensor.detach().clone().requires_grad_())
        return leaves[-1]

    args, keywords = map_tensors(batch.args, leaf), map_tensors(dict(batch.keywords), leaf)
    if not leaves:
        return None
    worst, statistics, reached = 0.0, True, False
    with borrowed(material.model), seeded(SEED), torch.enable_grad():
        scores = _scores(material, args, keywords, n_rows)
        if not scores.requires_grad:
            return None
        for row in sorted({0, n_rows // 2}):
            gradients = _gradients(_probe(scores[row]), leaves)
            if gradients is None:
                return None
            for inputs, gradient in zip(leaves, gradients):
                if gradient is None:
                    continue
                own, others = _by_row(gradient, row)
                reached |= own > 0 or others > 0
                # Rows that were exchanged outright leave nothing on the row itself.
                share = others / max(own, EXCHANGED_OUTRIGHT * others, 1e-30)
                worst = max(worst, share)
                if share > LEAST_SHARE:
                    # Whatever a batch's statistics come to, an image's own scores follow it most.
                    statistics &= own > EXCHANGED_OUTRIGHT * others and _is_batch_statistics(
                        inputs.detach(), gradient, row
                    )
    return (worst, statistics) if reached else None


def _gradients(value: Tensor, leaves: Sequence[Tensor]) -> Sequence[Tensor | None] | None:
    """None when the model's own functions cannot be differentiated this way (older activation
    checkpointing, for one).
    """
    try:
        return torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
    except FOREIGN_ERRORS:
        return None


def _probe(scores: Tensor) -> Tensor:
    """A sum of one row's scores with unequal signs: a plain sum of softmax is constant."""
    signs = torch.linspace(1.0, 2.0, scores.numel(), device=scores.device, dtype=scores.dtype)
    return (scores.reshape(-1) * signs).sum()


def _by_row(gradient: Tensor, row: int) -> tuple[float, float]:
    """Norm of the gradient by the row itself, and the largest by another."""
    norms = gradient.detach().flatten(1).double().norm(dim=1)
    own = float(norms[row])
    norms[row] = 0
    return own, float(norms.max())


def _is_batch_statistics(inputs: Tensor, gradient: Tensor, row: int) -> bool:
    """Whether the other rows enter through mean and deviation of each channel: then the gradient by
    one of them is a constant plus a multiple of its values.
    """
    norms = gradient.detach().flatten(1).double().norm(dim=1)
    norms[row] = 0
    other = int(norms.argmax())
    values = inputs[other].double().reshape(inputs.shape[1] if inputs.ndim >= 4 else 1, -1)
    slopes = gradient[other].detach().double().reshape(values.shape)
    if values.shape[1] < 8:
        return False
    centred = values - values.mean(dim=1, keepdim=True)
    along = (slopes * centred).sum(1, keepdim=True) / centred.square().sum(1, keepdim=True)
    explained = slopes.mean(dim=1, keepdim=True) + along.nan_to_num() * centred
    return float((slopes - explained).norm()) <= STATISTICS_RESIDUAL * float(slopes.norm())


def _by_exchange(material: Material, batch: CapturedBatch) -> float:
    """How much the first row's scores change, relative to how much rows differ, when every other
    row is replaced by its neighbour.
    """
    assert batch.targets is not None
    n_rows = batch.targets.shape[0]
    order = torch.arange(n_rows)
    order[1:] = torch.arange(1, n_rows).roll(1) if n_rows > 2 else 0
    exchanged = pick_rows(batch, order, n_rows=n_rows)
    with borrowed(material.model), torch.no_grad():
        with seeded(SEED):
            before = _scores(material, batch.args, dict(batch.keywords), n_rows)
        with seeded(SEED):
            after = _scores(material, exchanged.args, dict(exchanged.keywords), n_rows)
    size = before.double().std(dim=0).mean() if n_rows > 1 else before.double().abs().mean()
    change = (after[0].double() - before[0].double()).abs().max()
    return float(change / size.clamp(min=1e-6 * float(before.abs().max()) + 1e-30))


def _scores(material: Material, args: Any, keywords: dict[str, Any], n_rows: int) -> Tensor:
    material.model.eval()
    try:
        output = material.model(*args, **keywords)
    except FOREIGN_ERRORS as error:
        raise NotApplicable(
            f"The model could not be run in evaluation mode: {type(error).__name__}: {error}"
        ) from error
    scores = scores_in(output, n_rows=n_rows)
    if scores is None or scores.ndim == 0 or scores.shape[0] != n_rows:
        raise NotApplicable("The scores have no row for each row of the batch.")
    return scores


def _uses_batch_statistics(model: torch.nn.Module) -> bool:
    """A BatchNorm that keeps no running statistics looks at the batch in every mode."""
    return any(
        isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.running_mean is None
        for module in model.modules()
    )


CHECKS = (
    Check(name="batch-axis", run=batch_axis, needs_finite=False),
    Check(name="rows-independent", run=rows_independent),
)
