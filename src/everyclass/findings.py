"""What the watch and the checks tell: findings, check results, and the ids of causes.

Comes in: numbers that somebody else computed. Goes out: a checked value with its JSON form. The
verdicts are in `contracts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from everyclass import notebook
from everyclass.contracts import Verdict
from everyclass.errors import InputError
from everyclass.json_reader import Reader, require

CauseId = Literal[
    "inputs-not-scaled",
    "inputs-double-scaled",
    "inputs-constant",
    "labels-unrelated",
    "labels-out-of-range",
    "class-imbalance",
    "loss-weights-wrong",
    "double-correction",
    "stream-sorted",
    "softmax-before-loss",
    "parameters-not-optimised",
    "parameters-frozen",
    "gradients-not-cleared",
    "graph-detached",
    "batch-mixed",
    "learning-rate-too-low",
    "learning-rate-too-high",
    "dead-units",
    "weight-decay-too-strong",
    "poor-initialisation",
    "batchnorm-mismatch",
    "train-eval-mismatch",
    "non-finite",
    "output-activation-wrong",
    "loss-mismatch",
    "targets-broadcast",
    "step-not-taken",
    "weights-not-loaded",
    "precision-loss",
    "augmentation-too-strong",
    "dropout-too-strong",
    "model-too-small",
    "undertrained",
]
"""Why a training fails, by id; what each means is in `diagnosis/causes`."""

Severity = Literal["note", "warning", "alarm"]
"""`alarm`: a sequential test crossed its threshold, or a fact (NaN). `warning`: seen, untested."""

Evidence = Mapping[str, Any]
"""Numbers, texts and lists of them by name, ready for JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was seen in a training.

    Attributes:
        id: the verdict it speaks for.
        since_step: optimizer step at which it began; None when that is not known.
        seen_step: optimizer step at which it was told.
        severity: see `Severity`.
        evidence: the numbers behind the sentence.
        sentence: what was seen, for a person, with its numbers.
        ended_step: step at which it was over, None while it lasts.
    """

    id: Verdict
    since_step: int | None
    seen_step: int
    severity: Severity
    evidence: Evidence
    sentence: str
    ended_step: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "id": self.id,
            "since_step": self.since_step,
            "seen_step": self.seen_step,
            "ended_step": self.ended_step,
            "severity": self.severity,
            "evidence": dict(self.evidence),
            "sentence": self.sentence,
        }

    @classmethod
    def from_dict(cls, values: object, *, where: str = "finding") -> Finding:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, where)
        severity = read.text("severity")
        require(severity in get_args(Severity), where, f"severity is {severity!r}.")
        return cls(
            id=as_verdict(read.text("id"), where),
            since_step=read.whole_or_none("since_step"),
            seen_step=read.whole("seen_step"),
            severity=cast(Severity, severity),
            evidence=read.record("evidence"),
            sentence=read.text("sentence"),
            ended_step=read.whole_or_none("ended_step"),
        )

    def _repr_html_(self) -> str:
        ended = "" if self.ended_step is None else f", over at step {self.ended_step:,}"
        since = "" if self.since_step is None else f", since step {self.since_step:,}"
        head = f"{self.id}: {self.severity} at step {self.seen_step:,}{since}{ended}"
        return notebook.headed(head, notebook.paragraph(self.sentence))


def as_verdict(word: str, where: str) -> Verdict:
    """The verdict of that name; raises InputError for any other word."""
    require(
        word in get_args(Verdict), where, f"{word!r} is not one of {', '.join(get_args(Verdict))}."
    )
    return cast(Verdict, word)


CheckOutcome = Literal["passed", "issue", "not-applicable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one exact check found.

    Attributes:
        name: the check, in words with hyphens ("initial-loss").
        outcome: `issue` accuses `cause`; `not-applicable` says in `sentence` what was missing.
        cause: the cause it accuses, None unless the outcome is `issue`.
        evidence: the numbers.
        sentence: for a person, with the numbers.
        remedy: what to change, as a sentence; "" unless the outcome is `issue`.
    """

    name: str
    outcome: CheckOutcome
    cause: CauseId | None
    evidence: Evidence
    sentence: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if (self.outcome == "issue") != (self.cause is not None):
            raise InputError(
                "an issue names a cause, and nothing else does.", where=f"check '{self.name}'"
            )

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "name": self.name,
            "outcome": self.outcome,
            "cause": self.cause,
            "evidence": dict(self.evidence),
            "sentence": self.sentence,
            "remedy": self.remedy,
        }

    @classmethod
    def from_dict(cls, values: object, *, where: str = "check") -> CheckResult:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, where)
        outcome = read.text("outcome")
        require(outcome in get_args(CheckOutcome), where, f"outcome is {outcome!r}.")
        cause = read.value("cause")
        return cls(
            name=read.text("name"),
            outcome=cast(CheckOutcome, outcome),
            cause=None if cause is None else cast(CauseId, read.text("cause")),
            evidence=read.record("evidence"),
            sentence=read.text("sentence"),
            remedy=read.text("remedy"),
        )
