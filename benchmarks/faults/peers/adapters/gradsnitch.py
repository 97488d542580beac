"""gradsnitch: its monitor for a plain loop.

    mon = gradsnitch.watch(model, optimizer, check_every=50)
    ...
        mon.log(step, loss.item(), val_loss=val)                 # after loss.backward()
    ...
    mon.report()

Its callbacks for Lightning and Hugging Face feed the same monitor with less (only what is logged),
so this way is used there too. A validation loss goes with the next step's row.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

from peers.adapters.base import Adapter as Base
from peers.adapters.base import Moment

CHECK_EVERY = 50


class Adapter(Base):
    """The monitor; what it prints live counts as well as its report."""

    def __init__(self) -> None:
        super().__init__()
        import gradsnitch

        self.watch = gradsnitch.watch
        self.monitor: Any = None
        self.val_loss: float | None = None

    def batch(self, moment: Moment) -> None:
        if self.monitor is None:
            self.monitor = self.watch(
                moment.model, moment.optimizer, check_every=CHECK_EVERY, on_alert=self._told
            )

    def backward(self, moment: Moment, loss: float) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self.monitor.log(moment.step, loss, val_loss=self.val_loss)
        self.val_loss = None

    def evaluated(self, moment: Moment, loss: float) -> None:
        self.val_loss = loss

    def end(self) -> None:
        if self.monitor is not None and self.monitor.rows:
            with contextlib.redirect_stdout(io.StringIO()):
                findings = self.monitor.report()
            for finding in findings:
                self._told(finding)

    def _told(self, finding: Any) -> None:
        if any(one.check == finding.code for one in self.said):  # live, and again in the report
            return
        text = f"{finding.name} | {finding.evidence} | {finding.likely_cause}"
        self.say(finding.code, finding.severity, text)
