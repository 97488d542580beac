"""What a loss makes of invented outputs: which way it pulls, and whether it tells rows and classes
apart.

Causes: loss-mismatch, targets-broadcast; of a loss that the script computes itself also
weight-decay-too-strong, double-correction and loss-weights-wrong. The loss is computed, not read:
it may be anybody's.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.causes.imbalance import (
    IMBALANCED_FROM,
    INVERTED_SLOPE,
    LEAST_IMAGES,
    slope,
)
from everyclass.diagnosis.causes.loss import LOG_SUM_TOLERANCE
from everyclass.diagnosis.material import Material, class_ids
from everyclass.diagnosis.nested import map_tensors, tensors_in
from everyclass.diagnosis.scores import are_probabilities
from everyclass.diagnosis.snapshot import seeded
from everyclass.diagnosis.trace import FOREIGN_ERRORS
from everyclass.diagnosis.traced_loss import TracedLoss

SURE = 4.0
"""Logit of the right class in an invented answer, 0 for the others."""

FAR = 50.0
"""What all outputs are raised by, to see whether the loss falls without end."""

LEAST_ROWS = 4
SAME = 1e-5
PENALTY_OVER_LOSS = 2.0
"""Times the rest of the loss at the start, from which a penalty on the weights is the loss."""

MOST_ADDED = math.log(IMBALANCED_FROM)


def loss_direction(material: Material) -> Answer:
    """The loss is lower where the right classes are given."""
    probe = _Probe(material)
    right = probe.loss(probe.answer(probe.ids))
    even = probe.loss(probe.answer(probe.ids) * 0)
    wrong = probe.loss(probe.answer((probe.ids + 1) % probe.n_columns))
    mixed = probe.loss(probe.answer(probe.ids.roll(1)))
    evidence: dict[str, Any] = {"right": right, "wrong": wrong, "mixed": mixed, "even": even}
    if not all(math.isfinite(one) for one in (right, wrong, even)):
        raise NotApplicable("The loss of invented outputs is not finite.")
    if right < wrong:
        return passed(
            f"The right class with a logit of {SURE:g} costs {figure(right)}, the next one "
            f"{figure(wrong)}.",
            evidence,
        )
    same = SAME * max(1.0, abs(right))
    probe.needs(right, even)
    if abs(right - wrong) <= same and abs(right - mixed) > same:
        return passed("The loss groups images of a class, whichever output is theirs.", evidence)
    if abs(right - wrong) <= same:
        return accuse(
            "targets-broadcast",
            f"The loss is {figure(right)} whichever class is given: it does not compare an output "
            "with the target of its own class.",
            remedy="Use cross_entropy on (B, C) outputs with (B,) class ids; for other losses "
            "give targets the shape of the outputs (one-hot rows).",
            evidence=evidence,
        )
    return accuse(
        "loss-mismatch",
        f"The loss rewards the wrong class: with a logit of {SURE:g} for the right one it is "
        f"{figure(right)}, for the next class {figure(wrong)}. Its sign is lost, or the targets "
        "are not what it takes.",
        remedy="Use cross_entropy on the outputs; by hand it is minus the mean of log_softmax at "
        "the right class.",
        evidence=evidence,
    )


def loss_bounded(material: Material) -> Answer:
    """Raising all outputs together does not lower the loss without end."""
    probe = _Probe(material)
    off = probe.own.logsumexp(dim=1).abs().max() if probe.own.shape[1] > 1 else math.inf
    if float(off) < LOG_SUM_TOLERANCE or are_probabilities(probe.own):
        raise NotApplicable("The network gives (log-)probabilities, which cannot rise together.")
    scores = probe.answer(probe.ids)
    values = [probe.loss(scores + raised * FAR) for raised in (0, 1, 2)]
    evidence: dict[str, Any] = {"raised_by": [0, FAR, 2 * FAR], "loss": values}
    if not all(math.isfinite(one) for one in values):
        raise NotApplicable("The loss of invented outputs is not finite.")
    first, second = values[0] - values[1], values[1] - values[2]
    if min(first, second) < 1 or abs(first - second) > 0.1 * first:
        return passed("The loss does not fall without end as all outputs rise.", evidence)
    return accuse(
        "loss-mismatch",
        f"The loss falls without end: with every output {FAR:g} higher it is {figure(values[1])} "
        f"instead of {figure(values[0])}, with {2 * FAR:g} {figure(values[2])}, whatever the "
        "class. It takes log-probabilities and gets raw outputs.",
        remedy="Use cross_entropy on the outputs, or put log_softmax(dim=1) before the loss.",
        evidence=evidence,
    )


def loss_by_row(material: Material) -> Answer:
    """Each row is compared with its own target."""
    probe = _Probe(material)
    if len(set(probe.ids.tolist())) < 2:
        raise NotApplicable("All targets of the batch are the same.")
    scores = probe.answer(probe.ids)
    own, other = probe.loss(scores), probe.loss(scores.roll(1, dims=0))
    probe.needs(own, probe.loss(scores * 0))
    evidence: dict[str, Any] = {"own": own, "rolled": other}
    same = SAME * max(1.0, abs(own))
    if not math.isfinite(own) or abs(own - other) > same:
        return passed("Each image is compared with its own target.", evidence)
    if not probe.targets.is_floating_point() and probe.targets.ndim == 1:
        # Compared all with all, the loss still changes with the classes that the batch holds.
        values = [probe.loss(scores, torch.full_like(probe.targets, one)) for one in (0, 1)]
        evidence["all_of_one_class"] = values
        if max(abs(one - own) for one in values) <= same:
            return accuse(
                "loss-mismatch",
                f"The loss is {figure(own)} whatever the targets are: it does not take them as "
                "they are given.",
                remedy="Use cross_entropy on (B, C) outputs with (B,) class ids.",
                evidence=evidence,
            )
    return accuse(
        "targets-broadcast",
        f"The loss is {figure(own)} with each image's answer beside its own target, and the same "
        "with each beside its neighbour's: every output is compared with every target.",
        remedy="Give both one shape: outputs.squeeze(1), or targets.unsqueeze(1).",
        evidence=evidence,
    )


def penalty(material: Material) -> Answer:
    """A penalty on the weights that outweighs the rest of the loss."""
    loss, start = _traced(material), material.start
    if not loss.penalties():
        raise NotApplicable("The loss has no penalty on the weights.")
    targets = material.small_batch.targets
    if start.loss is None or targets is None:
        raise NotApplicable("No loss was computed.")
    whole = float(start.loss)
    # The weights of a pass at the start are gone by now: what counts is taken from its loss.
    rest = float(loss.without(loss.penalties())(start.outputs, targets).detach())
    share = (whole - rest) / max(abs(rest), 1e-6)
    evidence: dict[str, Any] = {"loss": whole, "without_penalty": rest}
    if share < PENALTY_OVER_LOSS or material.learned:
        return passed(
            f"The penalty on the weights is {figure(whole - rest)} of a loss of {figure(whole)}.",
            evidence,
        )
    return accuse(
        "weight-decay-too-strong",
        f"At the initial weights the penalty on the weights is {figure(whole - rest)} of a loss of "
        f"{figure(whole)}: the training makes the weights small, whatever the images.",
        remedy="Lower the factor of the penalty; usual are 1e-4 to 5e-4.",
        evidence=evidence,
    )


def adjustment(material: Material) -> Answer:
    """Something is added to the outputs, more than the labels that arrive call for.

    With logits + a, cross-entropy on a stream of frequencies p is lowest for outputs that follow
    ln p - a (Menon et al. 2020): even classes want a = ln p.
    """
    added = _traced(material).added()
    if added is None:
        raise NotApplicable("Nothing is added to the outputs in the loss.")
    stream = material.stream_counts
    if added.numel() != len(stream) or min(stream) < LEAST_IMAGES:
        raise NotApplicable("Too few labels are known to compare with what is added.")
    log_n = [math.log(one) for one in stream]
    values = [float(one) for one in added.double().cpu()]
    spread = max(values) - min(values)
    evidence: dict[str, Any] = {"added": values, "stream": list(stream)}
    known = material.case.class_counts
    uneven = known if known and len(known) == len(values) and min(known) > 0 else stream
    log_known = [math.log(one) for one in uneven]
    if max(uneven) < IMBALANCED_FROM * min(uneven):
        left = -spread if spread > MOST_ADDED else 0.0
    else:
        left = slope(log_n, log_known) - slope(values, log_known)
    evidence["exponent"] = left
    if left > INVERTED_SLOPE:
        return passed("What is added to the outputs corrects the frequencies at most.", evidence)
    sampled = uneven is known and slope(log_n, log_known) < 0.5
    return accuse(
        "double-correction" if sampled else "loss-weights-wrong",
        f"What is added to the outputs in the loss differs by {figure(spread)} between classes; "
        f"labels arrive {figure(max(stream) / min(stream))} to 1"
        + (", evened out by a sampler already" if sampled else "")
        + ": the rare classes dominate.",
        remedy="Correct imbalance once: add ln of the class frequencies of the batches as they "
        "arrive, or nothing where a sampler evens them out.",
        evidence=evidence,
    )


class _Probe:
    """Invented answers for the targets of the batch, in the shape of the network's own."""

    def __init__(self, material: Material) -> None:
        function, batch = material.case.loss_function, material.small_batch
        scores = material.training.scores
        if function is None or batch.targets is None or scores is None:
            raise NotApplicable("No loss is known.")
        self._function = function
        self.targets = batch.targets
        self._outputs = material.training.outputs
        answers = (one for one in tensors_in(self._outputs) if _is_answer(one, len(scores)))
        found = next(answers, None)
        if found is None:
            raise NotApplicable("The network returns no row of scores an image.")
        self._answer, self.own = found, found.detach()
        self.n_columns = 2 if self.own.shape[1] == 1 else self.own.shape[1]
        ids = class_ids(batch.targets, ignore=-100)
        if ids is None or len(ids) != len(self.own) or len(ids) < LEAST_ROWS:
            raise NotApplicable("The targets are not one class an image.")
        if int(ids.min()) < 0 or int(ids.max()) >= self.n_columns:
            raise NotApplicable("Label ids do not fit the outputs; see label-range.")
        self.ids = ids

    def answer(self, ids: Tensor) -> Tensor:
        """Outputs that are sure of these classes."""
        if self.own.shape[1] == 1:
            return SURE * (2.0 * ids[:, None].to(self.own) - 1)
        return SURE * torch.nn.functional.one_hot(ids, self.n_columns).to(self.own)

    def needs(self, sure: float, even: float) -> None:
        """Raise NotApplicable where the loss is taken from elsewhere: a network that computes its
        own, or returns its scores in something that cannot be copied."""
        if abs(sure - even) <= SAME * max(1.0, abs(even)):
            raise NotApplicable("The loss does not change with the scores that were found.")

    def loss(self, scores: Tensor, targets: Tensor | None = None) -> float:
        """What it costs, with the batch's own targets or with others."""

        def change(tensor: Tensor) -> Tensor:
            return scores if tensor is self._answer else tensor

        try:
            with torch.no_grad(), seeded(0):
                value = self._function(
                    map_tensors(self._outputs, change), self.targets if targets is None else targets
                )
        except FOREIGN_ERRORS as error:
            raise NotApplicable(f"The loss takes no invented outputs: {error}") from error
        return float(value.float().mean())


def _is_answer(tensor: Tensor, n_rows: int) -> bool:
    return tensor.is_floating_point() and tensor.ndim == 2 and len(tensor) == n_rows


def _traced(material: Material) -> TracedLoss:
    loss = material.case.loss_function
    if not isinstance(loss, TracedLoss):
        raise NotApplicable("The loss is not computed by the script itself.")
    return loss


CHECKS = (
    Check(name="loss-direction", run=loss_direction),
    Check(name="loss-bounded", run=loss_bounded),
    Check(name="loss-by-row", run=loss_by_row),
    Check(name="penalty", run=penalty),
    Check(name="adjustment", run=adjustment),
)
