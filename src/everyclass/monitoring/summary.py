"""What the monitor answers: a value with figures of the last rounds and all findings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from everyclass import notebook
from everyclass.contracts import Verdict
from everyclass.findings import Finding
from everyclass.monitoring.rounds import Floats, Round
from everyclass.stats.confusion import mutual_information

Phase = Literal["nothing-seen", "opening", "learned"]
"""- `opening`: the predictions have not been shown to tell anything about the labels.
- `learned`: they have (on the images trained on; later epochs may be memory).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures over the last rounds. NaN where nothing can be said.

    Args:
        images: that they are taken over.
        classes: names.
        seen: (C,) images of each class.
        recalls: (C,) recall of each class on training batches, in [0, 1].
        predicted_shares: (C,) share of the predictions.
        effective_classes: exp of the entropy of the predicted shares, in [1, C].
        information: nats an image that predictions tell about labels: the plug-in estimate with
            the Miller-Madow correction for its bias (`stats.confusion.mutual_information`), from
            the confusion of the last blocks; NaN below 10 (C - 1)^2 images, where the bias is
            of the size of the answer, and above 64 classes.
        kappa: hits above those of shuffled labels, as a share of what is possible.
        loss: nats an image; the smaller of the two readings of the logits.
        prior_loss: what the class frequencies alone cost on the same images; in a sorted stream
            the labels of the pass before.
        uniform_loss: ln C.
        between_image_share: share of the logits' variance that differs between images, in [0, 1].
        given_loss: mean of the script's own loss, NaN when not given.
    """

    images: int
    classes: tuple[str, ...]
    seen: tuple[int, ...]
    recalls: tuple[float, ...]
    predicted_shares: tuple[float, ...]
    effective_classes: float
    information: float
    kappa: float
    loss: float
    prior_loss: float
    uniform_loss: float
    between_image_share: float
    given_loss: float

    def scalars(self) -> dict[str, float]:
        """The numbers that a logger draws; a recall for each of up to 50 classes."""
        values = {
            "loss": self.loss,
            "prior_loss": self.prior_loss,
            "effective_classes": self.effective_classes,
            "information": self.information,
            "kappa": self.kappa,
            "between_image_share": self.between_image_share,
        }
        if len(self.classes) <= 50:
            for name, recall in zip(self.classes, self.recalls):
                values[f"recall/{name}"] = recall
        known = [recall for recall in self.recalls if not math.isnan(recall)]
        if known:
            values["lowest_recall"] = min(known)
        return {name: value for name, value in values.items() if not math.isnan(value)}

    def to_dict(self) -> dict[str, Any]:
        """The JSON object; what is not known is null."""
        return {
            "images": self.images,
            "classes": [
                {
                    "name": name,
                    "images": seen,
                    "recall": _number(recall),
                    "predicted_share": _number(share),
                }
                for name, seen, recall, share in zip(
                    self.classes, self.seen, self.recalls, self.predicted_shares
                )
            ],
            "effective_classes": _number(self.effective_classes),
            "information": _number(self.information),
            "kappa": _number(self.kappa),
            "loss": _number(self.loss),
            "prior_loss": _number(self.prior_loss),
            "uniform_loss": _number(self.uniform_loss),
            "between_image_share": _number(self.between_image_share),
            "given_loss": _number(self.given_loss),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LastEvaluation:
    """The last evaluation that was watched.

    Args:
        step: optimizer steps done when it ended.
        images: evaluated.
        recalls: (C,) NaN without images.
        predicted_shares: (C,).
        weak: classes recognised less than half as often as classes are on average, beyond doubt
            (the Wilson interval's upper end, at 95 % for all classes together).
        verdict: by `stats.collapse.collapse_verdict`, with its sentence.
    """

    step: int
    images: int
    recalls: tuple[float, ...]
    predicted_shares: tuple[float, ...]
    weak: tuple[str, ...]
    verdict: Verdict
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "step": self.step,
            "images": self.images,
            "recalls": [_number(one) for one in self.recalls],
            "predicted_shares": [_number(one) for one in self.predicted_shares],
            "weak": list(self.weak),
            "verdict": self.verdict,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFigures:
    """One group of layers at the last sampled step. NaN where nothing is known.

    Args:
        name: of the group: the module that holds the parameters.
        gradient_norm: of all gradients of the group together.
        update_ratio: norm of the step by the norm of the weights, on a sample of each tensor.
        dead_share: share of the units whose incoming weights got no gradient at all in any of
            the sampled steps, in [0, 1].
    """

    name: str
    gradient_norm: float
    update_ratio: float
    dead_share: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "name": self.name,
            "gradient_norm": _number(self.gradient_norm),
            "update_ratio": _number(self.update_ratio),
            "dead_share": _number(self.dead_share),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a monitor knows of a training.

    Args:
        verdict: the gravest of what stands; healthy when nothing does.
        phase: see `Phase`.
        sentence: the verdict or the phase in words, with the numbers.
        step: optimizer steps done.
        learning: whether progress shows at present.
        informative_since: step at which the predictions were shown to be informative.
        single_class_phases: (class, first step, last step) of each stretch with one class.
        figures: of the last rounds; None before there is one.
        findings: all, also what is over.
        evaluation: the last one, None without.
        layers: sampled figures of groups of layers, empty when they are not watched.
        ignored_passes: passes with another number of outputs than the first.
    """

    verdict: Verdict
    phase: Phase
    sentence: str
    step: int
    learning: bool
    informative_since: int | None
    single_class_phases: tuple[tuple[str, int, int], ...]
    figures: Figures | None
    findings: tuple[Finding, ...]
    evaluation: LastEvaluation | None
    layers: tuple[LayerFigures, ...]
    ignored_passes: int

    @classmethod
    def nothing(cls, *, step: int) -> Summary:
        """Before the first pass was watched."""
        return cls(
            verdict="healthy",
            phase="nothing-seen",
            sentence="Nothing was watched: no logits and targets were seen.",
            step=step,
            learning=False,
            informative_since=None,
            single_class_phases=(),
            figures=None,
            findings=(),
            evaluation=None,
            layers=(),
            ignored_passes=0,
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "verdict": self.verdict,
            "phase": self.phase,
            "sentence": self.sentence,
            "step": self.step,
            "learning": self.learning,
            "informative_since": self.informative_since,
            "single_class_phases": [
                {"class": name, "first_step": first, "last_step": last}
                for name, first, last in self.single_class_phases
            ],
            "figures": None if self.figures is None else self.figures.to_dict(),
            "findings": [one.to_dict() for one in self.findings],
            "evaluation": None if self.evaluation is None else self.evaluation.to_dict(),
            "layers": [one.to_dict() for one in self.layers],
            "ignored_passes": self.ignored_passes,
        }

    def __str__(self) -> str:
        return f"step {self.step:,}: {self.verdict} ({self.phase}). {self.sentence}"

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, and a table of classes."""
        head = f"{self.verdict} at step {self.step:,} ({self.phase})"
        if self.figures is None:
            return notebook.headed(head, notebook.paragraph(self.sentence))
        figures = self.figures
        rows = [
            (name, f"{seen:,}", _percent(recall), _percent(share))
            for name, seen, recall, share in zip(
                figures.classes, figures.seen, figures.recalls, figures.predicted_shares
            )
        ]
        return notebook.headed(
            head,
            notebook.paragraph(self.sentence),
            notebook.table(("class", "images", "recall", "predicted"), rows),
            notebook.paragraph(f"Training batches, last {figures.images:,} images."),
        )


def recent_figures(
    rounds: Sequence[Round], names: Sequence[str], confusion: Floats | None
) -> Figures:
    """The figures of the given rounds, at least one.

    Args:
        names: (C,) of the classes.
        confusion: (C, C) of about the same images, row = label; None when it is not kept.
    """
    predicted = np.sum([one.predicted for one in rounds], axis=0)
    labelled = np.sum([one.labelled for one in rounds], axis=0)
    hits = np.sum([one.hits for one in rounds], axis=0)
    images = float(sum(one.images for one in rounds))
    shares = predicted / max(images, 1)
    entropy = -float(np.sum(shares[shares > 0] * np.log(shares[shares > 0])))
    square = sum(one.square * one.images for one in rounds) / max(images, 1)
    common = sum(one.common * one.images for one in rounds) / max(images, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recalls = hits / labelled
    information = math.nan
    if confusion is not None and confusion.sum() >= 10 * (len(names) - 1) ** 2:
        information = mutual_information(np.rint(confusion).astype(np.int64))
    return Figures(
        images=int(images),
        classes=tuple(names),
        seen=tuple(int(one) for one in labelled),
        recalls=tuple(float(one) for one in recalls),
        predicted_shares=tuple(float(one) for one in shares),
        effective_classes=math.exp(entropy),
        information=information,
        kappa=float(np.mean([one.kappa for one in rounds])),
        loss=sum(one.log_loss for one in rounds) / max(images, 1),
        prior_loss=sum(one.anchor for one in rounds) / max(images, 1),
        uniform_loss=math.log(len(names)),
        between_image_share=1 - common / square if square > 0 else 0.0,
        given_loss=float(np.mean([one.given_loss for one in rounds])),
    )


def _number(value: float) -> float | None:
    return round(float(value), 8) if math.isfinite(value) else None


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.0%}"
