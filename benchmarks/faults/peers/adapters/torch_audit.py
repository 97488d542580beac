"""torch-audit: its zero-touch mode.

    auditor = autopatch(model, optimizer=optimizer, every_n_steps=10)  # and its static checks
    ...
    result = auditor.finish(report=True)

Its manual audits every 1,000th step and says to lower that; the runs here have a few hundred.
"""

from __future__ import annotations

from typing import Any

from peers.adapters.base import Adapter as Base
from peers.adapters.base import Level, Moment

LEVELS: dict[str, Level] = {"INFO": "info", "WARN": "warning", "ERROR": "error", "FATAL": "error"}
EVERY_STEPS = 10


class Adapter(Base):
    """Patches at the first batch, asks at the end."""

    def __init__(self) -> None:
        super().__init__()
        from torch_audit import autopatch

        self.autopatch = autopatch
        self.auditor: Any = None

    def batch(self, moment: Moment) -> None:
        if self.auditor is None:
            self.auditor = self.autopatch(
                moment.model,
                optimizer=moment.optimizer,
                every_n_steps=EVERY_STEPS,
                run_static=True,
                run_init=True,
            )

    def end(self) -> None:
        if self.auditor is None:
            return
        result = self.auditor.finish()
        told: set[tuple[str, str | None]] = set()
        for finding in result.findings:
            place = finding.module_path
            if (finding.rule_id, place) not in told:  # once a layer, not once a look
                told.add((finding.rule_id, place))
                rule = result.rules[finding.rule_id]
                text = f"{rule.title}: {finding.message} ({place}) | {rule.remediation}"
                self.say(finding.rule_id, LEVELS[finding.severity.value], text, finding.step)
        self.auditor.unpatch()
