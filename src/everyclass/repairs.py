"""What a training did about an alarm: the record that a run keeps of each.

Comes in: an alarm and the answer to it. Goes out: a value with its JSON form. Knows no model, no
recipe and no experiment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from everyclass.contracts import Verdict
from everyclass.findings import CauseId

RepairOutcome = Literal["repaired", "left", "stopped"]
"""`repaired`: settings were changed and the training went back. `left`: nothing was changed, it
went on. `stopped`: it ended there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChange:
    """One value of the recipe, before and after."""

    name: str
    old: Any
    new: Any

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {"name": self.name, "old": _listed(self.old), "new": _listed(self.new)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SettingChange:
        """The inverse of `to_dict`; lists become tuples."""
        return cls(name=values["name"], old=_tupled(values["old"]), new=_tupled(values["new"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """One alarm and its answer.

    Attributes:
        number: of the diagnosis, from 1: `diagnosis-1.json`, `recipe-1.yaml`.
        outcome: see `RepairOutcome`.
        verdict: of the alarm.
        step: optimizer steps done when it was answered.
        since_step: at which it began, None when that is not known.
        alarm: its sentence.
        cause: what was proved and acted on, or the first cause told; None without any.
        proved: by a trial.
        trial: name of the change that the trial made; "" without one.
        changes: of settings; empty unless repaired.
        reason: why these settings, or why nothing was changed, as sentences.
        from_step: step that the training went on from.
        checkpoint: path inside the run of the state at that step, None for the first weights.
        seconds: that the diagnosis took.
    """

    number: int
    outcome: RepairOutcome
    verdict: Verdict
    step: int
    since_step: int | None
    alarm: str
    cause: CauseId | None
    proved: bool
    trial: str
    changes: tuple[SettingChange, ...]
    reason: str
    from_step: int
    checkpoint: str | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "number": self.number,
            "outcome": self.outcome,
            "verdict": self.verdict,
            "step": self.step,
            "since_step": self.since_step,
            "alarm": self.alarm,
            "cause": self.cause,
            "proved": self.proved,
            "trial": self.trial,
            "changes": [one.to_dict() for one in self.changes],
            "reason": self.reason,
            "from_step": self.from_step,
            "checkpoint": self.checkpoint,
            "seconds": round(self.seconds, 2),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Repair:
        """The inverse of `to_dict`."""
        changes = tuple(SettingChange.from_dict(one) for one in values["changes"])
        return cls(**{**values, "changes": changes})


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
