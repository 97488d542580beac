"""Alarms and states as sentences with their evidence.

Comes in: rounds, alarms, phases. Goes out: (step, evidence, sentence). Every number in a sentence
stands in its evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from everyclass.contracts import Verdict
from everyclass.monitoring.alarms import (
    BAD_LOSS,
    LEAST_ESCAPES,
    LEAST_GAIN,
    LEAST_KAPPA,
    LEAST_RECALL,
    OPENING_ROUNDS,
    AlarmId,
    Alarms,
)
from everyclass.monitoring.phases import Phases
from everyclass.monitoring.rounds import History, Round
from everyclass.monitoring.summary import Figures

Told = tuple[int | None, dict[str, Any], str]

SHOWN_CLASSES = 5
SHOWN_PHASES = 6
LEAST_OTHERS_AT_THE_END = 60
"""Images of other classes, all given one class: at 10 % escapes 0.9^60 = 0.002."""


@dataclass(frozen=True, slots=True)
class Names:
    """Class names where they are known.

    Args:
        given: by the user, or None.
    """

    given: tuple[str, ...] | None

    def of(self, n_classes: int) -> tuple[str, ...]:
        """(C,) names; ids without."""
        return self.given or tuple(str(i) for i in range(n_classes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What sentences are made of."""

    recent: Sequence[Round]
    alarms: Alarms
    phases: Phases
    names: tuple[str, ...]


def alarm_sentence(name: AlarmId, seen: Seen) -> Told:
    """The step since which it is so, the evidence and the sentence of an alarm just raised."""
    if name == "collapsed":
        return _collapsed(seen)
    if name == "not-learning":
        return _not_learning(seen)
    if name == "diverged":
        return _diverged(seen)
    return _starved(seen)


def _collapsed(seen: Seen) -> Told:
    shares = _shares(seen.recent)
    top = int(shares.argmax())
    others = sum(one.others for one in seen.recent)
    escapes = sum(one.escapes for one in seen.recent)
    since = seen.phases.since
    told = told_phases(seen.phases, seen.names)
    evidence = {
        "class": seen.names[top],
        "predicted_share": round(float(shares[top]), 4),
        "images": int(sum(one.images for one in seen.recent)),
        "images_of_other_classes": int(others),
        "given_another_class": int(escapes),
        "null": f"at least {LEAST_ESCAPES:.0%} of them get another class",
        "single_class_phases": [
            {"class": name, "first_step": first, "last_step": last} for name, first, last in told
        ],
    }
    if seen.phases.oscillates():
        sentence = (
            f"Every batch is given a single class, and the class changes from batch to batch: "
            f"{_phases_in_words(told)}."
        )
    elif since is not None:
        first = "from the first step" if since == 0 else f"since step {since:,}"
        sentence = f"Every image is given class '{seen.names[top]}' ({first})."
        if len({one_class for one_class, _, _ in told}) > 1:
            sentence = f"{sentence} The single-class phases: {_phases_in_words(told)}."
    else:
        sentence = (
            f"Almost every image of a batch is given one class, '{seen.names[top]}' for "
            f"{shares[top]:.0%} of the last {evidence['images']:,} images."
        )
    sentence += (
        f" Of the last {int(others):,} images of other classes {int(escapes):,} were given another "
        "prediction."
    )
    return since, evidence, sentence


def _not_learning(seen: Seen) -> Told:
    loss, anchor, images = _losses(seen.recent)
    gain = 1 - loss / anchor if anchor > 0 else 0.0
    since = 0 if seen.alarms.gaining.step is None else seen.recent[0].first_step
    evidence = {
        "loss": round(loss, 4),
        "label_entropy": round(anchor, 4),
        "ln_classes": round(math.log(len(seen.names)), 4),
        "gain": round(gain, 4),
        "kappa": round(seen.alarms.kappa, 4),
        "images": images,
        "null": f"gain at least {LEAST_GAIN} or kappa at least {LEAST_KAPPA}",
    }
    if seen.recent[-1].ordered:
        evidence["labels_in_runs"] = True
        sentence = (
            f"The labels come in runs of one class. Answering with the class of the last batch "
            f"costs {anchor:.3f} nats an image, and the loss over the last {images:,} images is "
            f"{loss:.3f}: nothing shows that the images are told apart."
        )
        return since, evidence, sentence
    sentence = (
        f"The loss is {loss:.3f} nats an image over the last {images:,} images; always answering "
        f"with the class frequencies costs {anchor:.3f}. No progress shows."
    )
    return since, evidence, sentence


def _diverged(seen: Seen) -> Told:
    loss, anchor, images = _losses(seen.recent)
    worst = max(seen.recent, key=lambda one: one.log_loss / max(one.images, 1))
    evidence = {
        "loss": round(loss, 4),
        "label_entropy": round(anchor, 4),
        "ln_classes": round(math.log(len(seen.names)), 4),
        "largest": round(worst.log_loss / worst.images, 4),
        "images": images,
        "null": f"above {BAD_LOSS:g} times even guessing in at most half of the rounds",
    }
    sentence = (
        f"The loss is {loss:.3g} nats an image over the last {images:,} images, where even "
        f"guessing costs {math.log(len(seen.names)):.3f}: it has exploded and does not come back."
    )
    return seen.recent[0].first_step, evidence, sentence


def _starved(seen: Seen) -> Told:
    alarms = seen.alarms
    ids = np.flatnonzero(alarms.starved_raised)
    predicted = _shares(seen.recent)
    classes = [
        {
            "class": seen.names[i],
            "images": int(alarms.seen_since[i]),
            "hits": int(alarms.hits_since[i]),
            "predicted_share": round(float(predicted[i]), 4),
        }
        for i in ids
    ]
    parts = [f"'{one['class']}' ({one['hits']} of {one['images']:,})" for one in classes]
    more = f" and {len(parts) - SHOWN_CLASSES} more" if len(parts) > SHOWN_CLASSES else ""
    noun = "class is" if len(parts) == 1 else "classes are"
    sentence = (
        f"{len(parts)} {noun} (almost) never recognised, while others are: "
        f"{', '.join(parts[:SHOWN_CLASSES])}{more} since the predictions became informative."
    )
    return (
        alarms.learned_step,
        {"classes": classes, "null": f"recall at least {LEAST_RECALL:.0%}"},
        sentence,
    )


def non_finite_sentence(
    *, step: int, images: int, loss: float | None, where: str | None
) -> tuple[dict[str, Any], str]:
    """Evidence and sentence of the first NaN or infinity."""
    what = (
        f"{images:,} images of the batch have outputs that are NaN or infinite"
        if images
        else f"The loss is {loss}"
    )
    place = f" First non-finite tensor found: {where}." if where else ""
    evidence: dict[str, Any] = {"fact": True, "images": images, "first_non_finite": where}
    return evidence, f"{what} (step {step:,}).{place}"


def state_at_the_end(seen: Seen, history: History) -> tuple[Verdict, Told] | None:
    """Where a run stands that has ended, if it is no good place; None when nothing is wrong.

    For what no test had time to prove. A run whose predictions are still a single class has
    collapsed, even if it makes progress; the sentence says which.
    """
    alarms = seen.alarms
    if not seen.recent or alarms.rounds < OPENING_ROUNDS:
        return None
    others = sum(one.others for one in seen.recent)
    escapes = sum(one.escapes for one in seen.recent)
    single = seen.phases.since is not None and seen.phases.others >= LEAST_OTHERS_AT_THE_END
    going_on = (
        " It still makes progress: its loss falls, or its outputs tell more of the labels than "
        "before, though no prediction shows it."
        if history.learning()
        else ""
    )
    few_escape = escapes < LEAST_ESCAPES / 2 * others
    if few_escape and (single or others >= LEAST_OTHERS_AT_THE_END):
        since, evidence, sentence = _collapsed(seen)
        return "collapsed", (since, evidence, sentence + going_on)
    loss, anchor, _ = _losses(seen.recent)
    uninformed = max(one.kappa for one in seen.recent) < 1 and _kappa(seen) < LEAST_KAPPA
    if uninformed and not history.learning() and loss > (1 - LEAST_GAIN / 2) * anchor:
        return "not-learning", _not_learning(seen)
    # As `alarms`: a recall of 10 % gives n images without a hit with probability 0.9^n.
    missed = alarms.since_hit
    silent = len(missed) * (1 - LEAST_RECALL) ** missed < 0.01
    if not alarms.opening and silent.any():
        return "starved", _starved_at_the_end(seen, silent, missed)
    return None


def _kappa(seen: Seen) -> float:
    return float(np.mean([one.kappa for one in seen.recent]))


def _starved_at_the_end(seen: Seen, silent: Any, labelled: Any) -> Told:
    predicted = _shares(seen.recent)
    classes = [
        {
            "class": seen.names[i],
            "images": int(labelled[i]),
            "hits": 0,
            "predicted_share": round(float(predicted[i]), 4),
        }
        for i in np.flatnonzero(silent)
    ]
    parts = [f"'{one['class']}' (0 of its last {one['images']:,} images)" for one in classes]
    more = f" and {len(parts) - SHOWN_CLASSES} more" if len(parts) > SHOWN_CLASSES else ""
    noun = "class was" if len(parts) == 1 else "classes were"
    sentence = (
        f"At the end {len(parts)} {noun} no longer or never recognised: "
        f"{', '.join(parts[:SHOWN_CLASSES])}{more}."
    )
    return seen.recent[0].first_step, {"classes": classes}, sentence


def phase_sentence(seen: Seen, figures: Figures | None, history: History) -> str:
    """Where a run without findings stands."""
    alarms = seen.alarms
    if figures is None:
        return "Too few images so far to say anything."
    anchor = "order of the labels" if seen.recent[-1].ordered else "class frequencies"
    loss = f"loss {figures.loss:.3f} against {figures.prior_loss:.3f} for the {anchor}"
    if alarms.opening:
        return _opening_sentence(seen, history, loss)
    known = [
        (recall, name)
        for recall, name in zip(figures.recalls, figures.classes)
        if not math.isnan(recall)
    ]
    if not known:
        return f"The predictions tell the classes apart ({loss})."
    recall, name = min(known)
    return (
        f"The predictions tell the classes apart since step {alarms.learned_step:,} ({loss}); "
        f"lowest recall on recent training batches: '{name}' {recall:.0%}."
    )


def _opening_sentence(seen: Seen, history: History, loss: str) -> str:
    told = told_phases(seen.phases, seen.names)
    single = (
        f" Every image is given class '{told[-1][0]}' so far."
        if seen.phases.since is not None and told
        else ""
    )
    if history.learning():
        progress = "it makes progress: what its outputs tell about the labels grows"
    elif not seen.alarms.opening_budget_spent() or not history.no_rise():
        progress = "too little was seen to tell a slow start from none"
    else:
        progress = "no progress shows at present"
    return f"Still in the opening phase; {progress} ({loss}).{single}"


def told_phases(phases: Phases, names: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """(class, first step, last step) of each single-class phase of two rounds or more."""
    return tuple((names[one.target], one.first_step, one.last_step) for one in phases.lasting())


def _phases_in_words(told: Sequence[tuple[str, int, int]]) -> str:
    shown = [f"'{name}' in steps {first:,} to {last:,}" for name, first, last in told]
    if len(shown) <= SHOWN_PHASES:
        return ", ".join(shown)
    half = SHOWN_PHASES // 2
    return ", ".join([*shown[:half], f"{len(shown) - SHOWN_PHASES} more", *shown[-half:]])


def _shares(rounds: Sequence[Round]) -> Any:
    predicted = np.sum([one.predicted for one in rounds], axis=0)
    return predicted / max(predicted.sum(), 1)


def _losses(rounds: Sequence[Round]) -> tuple[float, float, int]:
    images = sum(one.images for one in rounds)
    loss = sum(one.log_loss for one in rounds) / max(images, 1)
    anchor = sum(one.anchor for one in rounds) / max(images, 1)
    return loss, anchor, int(images)
