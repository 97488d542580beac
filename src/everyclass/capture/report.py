"""What a watched script showed, as a value: the content of `findings.json`.

Knows no torch: a script that never loads it gets its report too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from everyclass.contracts import Verdict
from everyclass.findings import CheckResult, Finding

if TYPE_CHECKING:
    from everyclass.monitoring.summary import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What was watched, in words; "" for what is not known.

    Attributes:
        model: class and place of the network ("Net (train.py:41)").
        loss: kind, arguments and place.
        optimizer: class, groups, rate and place.
        batches: shapes, loader, order.
        steps: optimizer steps of the watched network.
        training_passes, evaluation_passes: forward passes with targets.
        skipped_steps: steps that a gradient scaler left out.
        notes: what a reader has to know: what was chosen and why, what was not seen.
    """

    model: str = ""
    loss: str = ""
    optimizer: str = ""
    batches: str = ""
    steps: int = 0
    training_passes: int = 0
    evaluation_passes: int = 0
    skipped_steps: int = 0
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "model": self.model,
            "loss": self.loss,
            "optimizer": self.optimizer,
            "batches": self.batches,
            "steps": self.steps,
            "training_passes": self.training_passes,
            "evaluation_passes": self.evaluation_passes,
            "skipped_steps": self.skipped_steps,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """What the watch cost.

    Attributes:
        seconds: spent in the watch.
        fraction: of the time from the first optimizer step to the last, without what was spent
            before; None without steps.
    """

    seconds: float
    fraction: float | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "seconds": round(self.seconds, 4),
            "fraction": None if self.fraction is None else round(self.fraction, 5),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchReport:
    """What was seen of a script.

    Attributes:
        script: what ran, as it was typed.
        ended: how: "finished", "exit 3", "ValueError: ...", "interrupted", "stopped: ...",
            "running".
        verdict: None when nothing was watched.
        sentence: the verdict in words, or what was looked for and not found.
        step: optimizer steps done.
        phase: of the monitor: nothing-seen, opening or learned.
        findings: what was seen, in the order it was told.
        checks: exact checks; empty when they did not run.
        watched: what was watched.
        overhead: what it cost.
        summary: the monitor's whole summary, None when nothing was watched.
        call_sites: what was built or called where, by name.
    """

    script: str
    ended: str
    verdict: Verdict | None
    sentence: str
    step: int
    phase: str
    findings: tuple[Finding, ...]
    checks: tuple[CheckResult, ...]
    watched: Watched
    overhead: Overhead
    summary: Summary | None
    call_sites: Mapping[str, str]

    @property
    def problem_found(self) -> bool:
        """A verdict other than healthy, or a check that accuses."""
        ill = self.verdict is not None and self.verdict != "healthy"
        return ill or any(one.outcome == "issue" for one in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """The content of `findings.json`."""
        return {
            "script": self.script,
            "ended": self.ended,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "step": self.step,
            "phase": self.phase,
            "findings": [one.to_dict() for one in self.findings],
            "checks": [one.to_dict() for one in self.checks],
            "watched": self.watched.to_dict(),
            "call_sites": dict(self.call_sites),
            "overhead": self.overhead.to_dict(),
            "summary": None if self.summary is None else self.summary.to_dict(),
        }


OTHER_FRAMEWORKS = (
    *("tensorflow", "keras", "jax", "flax", "mxnet", "paddle", "mindspore", "sklearn"),
    *("xgboost", "lightgbm", "catboost"),
)


def other_frameworks(modules: Collection[str]) -> str:
    """ " It loaded ...", of what can train without torch; "" for nothing of the kind."""
    found = [name for name in OTHER_FRAMEWORKS if name in modules]
    return f" It loaded {', '.join(found)}." if found else ""


def never_loaded(modules: Collection[str]) -> str:
    """Why there is nothing to tell of a script without torch."""
    return (
        "Nothing was watched: the script never loaded torch, so that there was no loss, no "
        f"optimizer and no network of it.{other_frameworks(modules)}"
    )
