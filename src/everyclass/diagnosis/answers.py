"""What a check says: passed, an accusation, or what it lacked.

Comes in: sentences and numbers. Goes out: a `CheckResult`. Knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from everyclass.findings import CauseId, CheckResult, Evidence

if TYPE_CHECKING:
    from everyclass.diagnosis.material import Material


class NotApplicable(Exception):
    """Raised inside a check that lacks something; the reason becomes its answer.

    Args:
        reason: a sentence that says what was missing.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A `CheckResult` that does not know yet which check gave it."""

    cause: CauseId | None
    sentence: str
    remedy: str
    evidence: Evidence


def passed(sentence: str, evidence: Evidence) -> Answer:
    """Nothing to accuse; the facts stand all the same."""
    return Answer(cause=None, sentence=sentence, remedy="", evidence=evidence)


def accuse(cause: CauseId, sentence: str, *, remedy: str, evidence: Evidence) -> Answer:
    """The evidence speaks for `cause`."""
    return Answer(cause=cause, sentence=sentence, remedy=remedy, evidence=evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check.

    Args:
        name: in words with hyphens.
        run: from what is known to an answer; raises NotApplicable when something lacks.
        needs_finite: it computes with inputs, weights or scores, and NaN would mislead it.
    """

    name: str
    run: Callable[[Material], Answer]
    needs_finite: bool = True

    def result(self, material: Material, *, finite: bool = True) -> CheckResult:
        """Run it, unless it needs finite numbers and there are none."""
        try:
            if self.needs_finite and not finite:
                raise NotApplicable("Numbers are not finite; see first-non-finite.")
            answer = self.run(material)
        except NotApplicable as lack:
            return CheckResult(
                name=self.name,
                outcome="not-applicable",
                cause=None,
                evidence={},
                sentence=lack.reason,
            )
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # A mistake of ours must not cost the user the report of hours of training.
            return CheckResult(
                name=self.name,
                outcome="not-applicable",
                cause=None,
                evidence={"error": repr(error)},
                sentence=f"This check failed itself, which is our mistake: {error!r}.",
            )
        return CheckResult(
            name=self.name,
            outcome="passed" if answer.cause is None else "issue",
            cause=answer.cause,
            evidence={key: plain(value) for key, value in answer.evidence.items()},
            sentence=answer.sentence,
            remedy=answer.remedy,
        )


def plain(value: Any) -> Any:
    """The value as JSON takes it: numbers that JSON has not (NaN, infinity) become their names."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    return value


def figure(value: float) -> str:
    """Three digits.

    Example:
        >>> figure(1130.2), figure(0.00392)
        ('1,130', '0.00392')
    """
    if value and math.isfinite(value) and 100 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def names(values: Sequence[str], *, most: int = 4) -> str:
    """The first few names, and how many more.

    Example:
        >>> names(["a", "b", "c"], most=2)
        "'a', 'b' and 1 more"
    """
    shown = ", ".join(f"'{one}'" for one in values[:most])
    more = len(values) - most
    return f"{shown} and {more} more" if more > 0 else shown
