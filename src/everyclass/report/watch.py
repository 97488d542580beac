"""What the watch saw, as it stands in `findings.json`, `fix.json`; read without its own module,
which needs torch.

Comes in: parsed JSON. Goes out: values. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from everyclass.contracts import Verdict
from everyclass.findings import Finding, as_verdict
from everyclass.json_reader import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSeen:
    """One class in the recent training batches. None where it was not seen."""

    name: str
    images: int
    recall: float | None
    predicted_share: float | None

    @classmethod
    def from_dict(cls, values: object) -> ClassSeen:
        """The value of a JSON object."""
        read = Reader(values, "classes")
        return cls(
            name=read.text("name"),
            images=read.whole("images"),
            recall=read.number_or_none("recall"),
            predicted_share=read.number_or_none("predicted_share"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleClass:
    """A stretch of steps in which (almost) every image was given one class."""

    name: str
    first_step: int
    last_step: int

    @classmethod
    def from_dict(cls, values: object) -> SingleClass:
        """The value of a JSON object."""
        read = Reader(values, "single_class_phases")
        return cls(
            name=read.text("class"),
            first_step=read.whole("first_step"),
            last_step=read.whole("last_step"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The monitor's summary.

    Attributes:
        informative_since: step from which the predictions tell the classes apart; None before.
        classes: on the last `images` training images.
        loss, prior_loss: nats an image, and what the class frequencies alone cost; None if unknown.
    """

    verdict: Verdict
    phase: str
    sentence: str
    step: int
    informative_since: int | None
    single_class: tuple[SingleClass, ...]
    findings: tuple[Finding, ...]
    classes: tuple[ClassSeen, ...]
    images: int
    loss: float | None
    prior_loss: float | None

    @classmethod
    def from_dict(cls, values: object) -> Watch:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, "findings.json")
        figures = read.value("figures")
        inner = None if figures is None else Reader(figures, "figures")
        return cls(
            verdict=as_verdict(read.text("verdict"), "findings.json"),
            phase=read.text("phase"),
            sentence=read.text("sentence"),
            step=read.whole("step"),
            informative_since=read.whole_or_none("informative_since"),
            single_class=tuple(map(SingleClass.from_dict, read.items("single_class_phases"))),
            findings=tuple(Finding.from_dict(one) for one in read.items("findings")),
            classes=()
            if inner is None
            else tuple(map(ClassSeen.from_dict, inner.items("classes"))),
            images=0 if inner is None else inner.whole("images"),
            loss=None if inner is None else inner.number_or_none("loss"),
            prior_loss=None if inner is None else inner.number_or_none("prior_loss"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script that was watched: the head of its `findings.json`.

    Attributes:
        verdict: None when nothing was watched.
        watched: (what, in words) pairs.
        overhead_fraction: of the training's time, None if unknown.
    """

    command: str
    ended: str
    verdict: Verdict | None
    sentence: str
    step: int
    phase: str
    findings: tuple[Finding, ...]
    watched: tuple[tuple[str, str], ...]
    overhead_fraction: float | None

    @classmethod
    def from_dict(cls, values: object) -> Script:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, "findings.json")
        verdict = None if read.value("verdict") is None else read.text("verdict")
        overhead = Reader(read.value("overhead"), "overhead")
        return cls(
            command=read.text("script"),
            ended=read.text("ended"),
            verdict=None if verdict is None else as_verdict(verdict, "findings.json"),
            sentence=read.text("sentence"),
            step=read.whole("step"),
            phase=read.text("phase"),
            findings=tuple(Finding.from_dict(one) for one in read.items("findings")),
            watched=tuple(_watched(read.record("watched"))),
            overhead_fraction=overhead.number_or_none("fraction"),
        )


def _watched(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    told = [(name, str(values[name])) for name in ("model", "loss", "optimizer", "batches")]
    training, evaluation = values.get("training_passes", 0), values.get("evaluation_passes", 0)
    told.append(("passes", f"{training:,} training, {evaluation:,} evaluation"))
    if values.get("skipped_steps"):
        told.append(("skipped", f"{values['skipped_steps']:,} steps, by the gradient scaler"))
    told += [("note", str(note)) for note in values.get("notes", ())]
    return [(name, words) for name, words in told if words]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedRun:
    """One run of a script, before or after `--fix`. None where it is not known."""

    ended: str
    verdict: Verdict | None
    phase: str
    step: int
    judged_on: str
    balanced_accuracy: float | None
    lowest_recall: float | None
    lowest_class: str
    predicted: int | None
    classes: int | None
    recalls: Mapping[str, float | None]

    @classmethod
    def from_dict(cls, values: object) -> FixedRun:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, "fix.json")
        verdict = None if read.value("verdict") is None else read.text("verdict")
        recalls = read.record("recalls")
        inner = Reader(recalls, "fix.json: recalls")
        return cls(
            ended=read.text("ended"),
            verdict=None if verdict is None else as_verdict(verdict, "fix.json"),
            phase=read.text("phase"),
            step=read.whole("step"),
            judged_on=read.text("judged_on"),
            balanced_accuracy=read.number_or_none("balanced_accuracy"),
            lowest_recall=read.number_or_none("lowest_recall"),
            lowest_class=read.text("lowest_class"),
            predicted=read.whole_or_none("predicted"),
            classes=read.whole_or_none("classes"),
            recalls={name: inner.number_or_none(name) for name in recalls},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A patched copy of a script, and what both showed."""

    copy: str
    causes: tuple[str, ...]
    edits: tuple[str, ...]
    diff: str
    refused: tuple[str, ...]
    before: FixedRun
    after: FixedRun

    @classmethod
    def from_dict(cls, values: object) -> Fix:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, "fix.json")
        return cls(
            copy=read.text("copy"),
            causes=read.texts("causes"),
            edits=read.texts("edits"),
            diff=read.text("diff"),
            refused=read.texts("refused"),
            before=FixedRun.from_dict(read.value("before")),
            after=FixedRun.from_dict(read.value("after")),
        )
