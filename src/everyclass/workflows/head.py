"""Balance the last layer after the training, on features of the frozen network.

Comes in: a trained job, its images. Goes out: the same classifier with another last layer, and the
prior that its logits imply now. Draws depend on the run's seed alone, so that a run that was
interrupted here does the same when it goes on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from everyclass.imbalance.heads import HeadTraining, learn_scales, retrain_head, tau_normalised
from everyclass.imbalance.offsets import find_offsets
from everyclass.models.backbones import last_layer
from everyclass.seeding import stream_seed
from everyclass.stats.confusion import balanced_accuracy, confusion_matrix
from everyclass.stats.intervals import paired_balanced_accuracy_gain
from everyclass.training.fabric import Fabric
from everyclass.workflows.correction import HeadMethod
from everyclass.workflows.features import features_of
from everyclass.workflows.inference import logits_of
from everyclass.workflows.job import Job

LEAST_STEPS = 1000
TAUS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebalanced:
    """What was done to the last layer.

    Args:
        logits_prior: (C,) that its logits imply now, as far as a formula tells.
        prior_is_exact: whether it does.
        sentence: what was done, in words.
    """

    logits_prior: npt.NDArray[np.float64]
    prior_is_exact: bool
    sentence: str


def rebalance(job: Job, method: HeadMethod, *, fabric: Fabric) -> Rebalanced:
    """Change the last layer of the job's classifier, whose best weights are loaded.

    Args:
        job: its classifier is changed in place.
        method: how.
        fabric: where it computes.
    """
    network, n_classes = job.classifier.network, len(job.table.classes)
    _, layer = last_layer(network, job.settings.model, n_classes)
    labels, codes = job.table.labels(), job.table.split_codes()
    val_rows = np.flatnonzero(codes == 1).astype(np.int64)
    val_targets = labels[val_rows]
    natural = job.correction.logits_prior
    if method == "offsets":
        logits = logits_of(job.classifier, job.store.gather, val_rows, fabric=fabric)
        offsets = find_offsets(torch.from_numpy(logits), torch.from_numpy(val_targets))
        values = np.asarray(offsets.values)
        _put(layer, layer.weight, torch.from_numpy(values), added=True)
        # Logits f + b imply g e^b where f implied g: Bayes, exactly.
        shifted = natural * np.exp(values)
        return Rebalanced(
            logits_prior=shifted / shifted.sum(),
            prior_is_exact=job.correction.prior_is_exact,
            sentence=f"Offsets of the classes: {offsets.sentence}.",
        )
    if method == "tau-norm":
        features = features_of(job, layer, val_rows, fabric=fabric)
        return _tau_normalise(layer, features, val_targets, natural)
    train_rows = np.flatnonzero(codes == 0).astype(np.int64)
    features, targets = features_of(job, layer, train_rows, fabric=fabric), labels[train_rows]
    steps = math.ceil(len(train_rows) / HeadTraining().batch_size)
    how = HeadTraining(epochs=max(HeadTraining().epochs, math.ceil(LEAST_STEPS / steps)))
    seed = stream_seed(job.settings.seed, "head")
    ids = torch.from_numpy(targets)
    if method == "crt":
        head = retrain_head(features, ids, n_classes=n_classes, seed=seed, training=how)
        done = "The last layer was learned anew"
    else:
        head, factors = learn_scales(features, ids, layer, seed=seed, training=how)
        low, high = float(factors.min()), float(factors.max())
        done = f"The logits of the classes were given factors of {low:.2f} to {high:.2f}, learned"
    _put(layer, head.weight, head.bias)
    return Rebalanced(
        logits_prior=np.full(n_classes, 1 / n_classes),
        prior_is_exact=False,
        sentence=f"{done} on class-balanced draws of {len(train_rows):,} training images' "
        f"features, {how.epochs} epochs.",
    )


def _tau_normalise(
    layer: nn.Linear,
    features: Tensor,
    targets: npt.NDArray[np.int64],
    natural: npt.NDArray[np.float64],
) -> Rebalanced:
    """The tau of the highest balanced accuracy, if it is better by more than a standard error."""
    n_classes, weight = layer.out_features, layer.weight.detach()
    same = Rebalanced(
        logits_prior=natural,
        prior_is_exact=True,
        sentence="tau-normalisation: no validation images to choose tau on.",
    )
    if not len(targets):
        return same

    def decided(tau: float) -> npt.NDArray[np.int64]:
        rows = functional.linear(features.to(weight), tau_normalised(weight, tau=tau))
        return np.asarray(rows.argmax(dim=1).cpu().numpy(), dtype=np.int64)

    def score(chosen: npt.NDArray[np.int64]) -> float:
        return balanced_accuracy(confusion_matrix(targets, chosen, n_classes=n_classes))

    with torch.no_grad():
        plain = functional.linear(features.to(weight), weight, layer.bias).argmax(dim=1)
        unchanged = np.asarray(plain.cpu().numpy(), dtype=np.int64)
        best = max(TAUS, key=lambda tau: score(decided(tau)))
        chosen = decided(best)
    gain, error = paired_balanced_accuracy_gain(targets, unchanged, chosen, n_classes=n_classes)
    kept = gain > error
    sentence = (
        f"tau-normalisation: tau {best:g} moves balanced accuracy from {score(unchanged):.3f} to "
        f"{score(chosen):.3f} on {len(targets):,} validation images; the standard error of the "
        f"difference is {error:.3f}, so it is {'kept' if kept else 'not kept'}."
    )
    if not kept:
        return Rebalanced(logits_prior=natural, prior_is_exact=True, sentence=sentence)
    _put(layer, tau_normalised(weight, tau=best), torch.zeros(n_classes))
    even = np.full(n_classes, 1 / n_classes)
    return Rebalanced(logits_prior=even, prior_is_exact=False, sentence=sentence)


def _put(layer: nn.Linear, weight: Tensor, bias: Tensor | None, *, added: bool = False) -> None:
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(layer.bias + bias.to(layer.bias) if added else bias.to(layer.bias))
