"""Changes of a loss that a script computes itself.

Comes in: a `Lab`, a `Trainee` whose loss was traced. Goes out: the trainee with another loss, or
`NotApplicable` with the reason. Trains nothing, judges nothing.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.lab import Lab
from everyclass.diagnosis.material import class_ids
from everyclass.diagnosis.nested import scores_in
from everyclass.diagnosis.traced_loss import TracedLoss
from everyclass.diagnosis.trainee import Trainee
from everyclass.findings import CauseId


def without_penalty(_: Lab, trainee: Trainee) -> None:
    """The loss without what depends on the weights alone."""
    loss = trainee.loss
    if not isinstance(loss, TracedLoss) or not loss.penalties():
        raise NotApplicable("The loss has no penalty on the weights.")
    trainee.loss = loss.without(loss.penalties())


def without_adjustment(_: Lab, trainee: Trainee) -> None:
    """The loss of the outputs as they are."""
    loss = trainee.loss
    if not isinstance(loss, TracedLoss) or not loss.adjustments():
        raise NotApplicable("Nothing is added to the outputs in the loss.")
    trainee.loss = loss.without(loss.adjustments())


def cross_entropy(lab: Lab, trainee: Trainee) -> None:
    """Cross-entropy on the network's outputs, with class ids as targets."""
    accused = {"loss-mismatch", "targets-broadcast"} & lab.accused
    own = isinstance(trainee.loss, TracedLoss)
    if not own and not accused:
        raise NotApplicable("The loss is one of torch's, and nothing speaks against it.")
    if trainee.n_classes < 2 or lab.parts.training[0].targets is None:
        raise NotApplicable("The targets are no class ids.")

    def loss(output: Any, targets: Tensor) -> Tensor:
        ids = class_ids(targets, ignore=-100)
        scores = scores_in(output, n_rows=len(targets))
        if ids is None or scores is None or scores.ndim != 2 or len(ids) != len(scores):
            raise TypeError("the network gives no (B, C) scores for class ids")
        if scores.shape[1] == 1:
            scores = torch.cat([torch.zeros_like(scores), scores], dim=1)
        return F.cross_entropy(scores, ids.to(scores.device))

    trainee.loss = loss


def loss_cause(lab: Lab) -> CauseId:
    """What a check saw of the script's own loss: a graph that it leaves, or shapes that are spread
    over each other."""
    if "graph-detached" in lab.accused:
        return "graph-detached"
    spread = "targets-broadcast" in lab.accused
    return "targets-broadcast" if spread else "loss-mismatch"
