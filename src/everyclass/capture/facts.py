"""What a session notices beside the passes: counts, and sentences for the reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from everyclass.capture.losses import SpreadShapes
from everyclass.capture.rhythm import EVERY_STEP_UNTIL, MOST_COST
from everyclass.findings import CauseId, Evidence, Finding


@dataclass(slots=True)
class Facts:
    """What was noticed beside the passes.

    Args:
        losses: calls by name.
        refused: reasons why a loss was not watched, with how often.
        optimizers: constructed.
        stepped: steps of each optimizer, by id.
        skipped: steps that a gradient scaler left out.
        unreached: training losses that no backward pass came through although a step was taken.
        eval_mode_training, train_mode_evaluation: passes in the other mode than expected.
        training, evaluation: passes that were watched.
        left_out: training passes in steps that were not watched, to keep the cost down.
        other_models: passes of networks that are not the watched one.
        unmatched_rows: a pass whose loss got another number of rows than the network answered.
        notes: sentences, once each, in order.
    """

    losses: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    optimizers: int = 0
    stepped: Counter[int] = field(default_factory=Counter)
    skipped: int = 0
    unreached: int = 0
    eval_mode_training: int = 0
    train_mode_evaluation: int = 0
    training: int = 0
    evaluation: int = 0
    left_out: int = 0
    other_models: int = 0
    unmatched_rows: str = ""
    notes: dict[str, None] = field(default_factory=dict)

    def note(self, sentence: str) -> None:
        """Remember a sentence for the reader, once."""
        self.notes.setdefault(sentence)

    def mode_notes(self) -> tuple[str, ...]:
        """What the counts say, as sentences."""
        told = []
        if self.eval_mode_training:
            told.append(
                f"In {self.eval_mode_training:,} of {self.training:,} training passes the network "
                "was in eval mode."
            )
        if self.train_mode_evaluation:
            told.append(
                f"In {self.train_mode_evaluation:,} of {self.evaluation:,} evaluation passes the "
                "network was in train mode."
            )
        if self.left_out:
            told.append(
                f"After step {EVERY_STEP_UNTIL:,} the watch left out {self.left_out:,} training "
                f"passes, to cost about {MOST_COST:.0%} of the time; evaluations were all watched."
            )
        if self.skipped:
            told.append(f"A gradient scaler skipped steps, {self.skipped:,} in all.")
        if self.unreached:
            told.append(
                "No backward pass had come through the watched loss when the optimizer stepped, "
                f"{self.unreached:,} times."
            )
        if self.other_models:
            told.append(
                f"{self.other_models:,} passes of other networks, or of this one in a step that "
                "was not its own, were left out."
            )
        if self.unmatched_rows:
            told.append(f"The loss does not see a row an image: {self.unmatched_rows}.")
        return tuple(told)


def class_ids_finding(loss: str, largest: int, *, step: int) -> Finding:
    """A binary cross-entropy that got class ids (`losses.class_ids_as_probabilities`)."""
    return _fact(
        "diverged",
        "loss-mismatch",
        f"{loss} got whole numbers up to {largest} as targets: class ids, not probabilities. "
        "For a target above 1 this loss has no minimum, and the output grows without end.",
        remedy="Give the network one output a class and use cross_entropy; or, for two classes, "
        "targets of 0 and 1.",
        step=step,
        evidence={"loss": loss, "largest_target": largest},
    )


def spread_finding(loss: str, shapes: SpreadShapes, *, step: int) -> Finding:
    """Outputs and targets that are compared all with all (`losses.spread_shapes`)."""
    outputs, targets, both = (tuple(one) for one in shapes)
    return _fact(
        "not-learning",
        "targets-broadcast",
        f"{loss} got outputs of shape {outputs} and targets of shape {targets}, which are spread "
        f"to {both}: every output is compared with every target, and the best answer for all of "
        "them is the mean.",
        remedy="Give both one shape: outputs.squeeze(1), or targets.unsqueeze(1).",
        step=step,
        evidence={"loss": loss, "outputs": list(outputs), "targets": list(targets)},
    )


def ids_over_classes_finding(
    loss: str, shapes: tuple[Sequence[int], Sequence[int]], largest: int, *, step: int
) -> Finding:
    """A column of class ids for columns of scores (`losses.ids_spread_over_classes`)."""
    outputs, targets = (tuple(one) for one in shapes)
    return _fact(
        "not-learning",
        "targets-broadcast",
        f"{loss} got outputs of shape {outputs} and class ids (up to {largest}) of shape "
        f"{targets}, which are spread over all columns: every class's output is to be the id, so "
        "that the columns become alike.",
        remedy="Use cross_entropy with the ids as they are, (B,); or one_hot targets of the "
        "outputs' shape.",
        step=step,
        evidence={"loss": loss, "outputs": list(outputs), "targets": list(targets)},
    )


def one_class_finding(label: int, *, images: int, outputs: int, step: int) -> Finding:
    """A whole epoch in which every label is the same."""
    return _fact(
        "not-learning",
        "labels-out-of-range",
        f"Every one of {images:,} labels of the first epoch is {label}, for a network of "
        f"{outputs} classes: there is nothing to tell apart.",
        remedy="Look at the labels where they are made: divided, cast, or taken from a column "
        "that holds one value.",
        step=step,
        evidence={"label": label, "labels": images, "outputs": outputs},
    )


def stale_copy_finding(network: str, *, layers: int, step: int) -> Finding:
    """A copy of the network that is evaluated with BatchNorm's statistics of the start."""
    return _fact(
        "not-learning",
        "batchnorm-mismatch",
        f"What is evaluated is a copy of the network ({network}) whose weights follow the training "
        f"while its {layers} BatchNorm layers still hold the statistics that they began with.",
        remedy="Copy the buffers with the weights (AveragedModel(model, use_buffers=True)), or "
        "call torch.optim.swa_utils.update_bn before evaluating.",
        step=step,
        evidence={"stream": "evaluation", "network": network, "layers": layers},
    )


def _fact(
    id: Literal["diverged", "not-learning"],
    cause: CauseId,
    sentence: str,
    *,
    remedy: str,
    step: int,
    evidence: Evidence,
) -> Finding:
    """An alarm that no test had to raise, with its cause."""
    return Finding(
        id=id,
        since_step=step,
        seen_step=step,
        severity="alarm",
        evidence={"fact": True, **evidence, "cause": cause, "remedy": remedy},
        sentence=sentence,
    )
