"""traintools: inspectors of batches and gradients, and a tracker, as in its Quick Start.

    tracker = TraintoolsTracker(model, loss_fn)
    batch_inspector = BatchInspector(expected_num_classes=10)
    grad_health = GradientHealthMonitor()
    ...
        batch_report = batch_inspector.inspect(x, y, step=step)
        ...                                                    # after loss.backward()
        grad_report = grad_health.inspect(model, step=step, lr=optimizer.param_groups[0]["lr"])
        ...                                                    # after optimizer.step()
        tracker.step(step=step, inputs=x, targets=y, val_loss=val_loss)

Two departures, both in its favour: `max_grad_norm=1.0` of the Quick Start is left out, for the
scripts do not clip and it would warn of every norm above 1; and the tracker looks every 50 steps,
for the default of 200 would see most runs once. What it calls STOP is about saving time: kept, but
as no warning. Trackers of single examples need ids that the loaders do not give.
"""

from __future__ import annotations

import contextlib
import io

from torch import Tensor

from peers.adapters.base import Adapter as Base
from peers.adapters.base import Moment, output_width

LOOK_EVERY = 50


class Adapter(Base):
    """The three objects, made at the first batch."""

    def __init__(self) -> None:
        super().__init__()
        from traintools import BatchInspector, GradientHealthMonitor
        from traintools.callbacks.pytorch import TraintoolsTracker

        self.make_inspector = BatchInspector
        self.make_tracker = TraintoolsTracker
        self.gradients = GradientHealthMonitor()
        self.last: Moment | None = None
        self.last_inputs: Tensor | None = None
        self.val_loss: float | None = None

    def batch(self, moment: Moment) -> None:
        if self.last is None:
            width = output_width(moment.model)
            classes = 2 if width == 1 else width
            self.batches = self.make_inspector(expected_num_classes=classes)
            self.tracker = self.make_tracker(
                moment.model, moment.loss_fn, gns_freq=LOOK_EVERY, plasticity_freq=LOOK_EVERY
            )
        else:
            self._after_step(self.last)
        self.last, self.last_inputs = moment, moment.inputs()
        report = self.batches.inspect(self.last_inputs, moment.targets, step=moment.step)
        for warning in report.warnings:
            self.say("batch", "warning", warning, moment.step)

    def backward(self, moment: Moment, loss: float) -> None:
        report = self.gradients.inspect(moment.model, step=moment.step, lr=moment.rate)
        for warning in report.warnings:
            self.say("gradient", "warning", warning, moment.step)

    def evaluated(self, moment: Moment, loss: float) -> None:
        self.val_loss = loss

    def end(self) -> None:
        if self.last is not None:
            self._after_step(self.last)

    def _after_step(self, moment: Moment) -> None:
        """The tracker's call at the end of a step; it prints, so its output is looked at too."""
        self.tracker.loss_fn = moment.loss_fn
        looks = moment.step > 0 and moment.step % LOOK_EVERY == 0
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            decision = self.tracker.step(
                step=moment.step,
                inputs=self.last_inputs if looks else None,
                targets=moment.targets if looks else None,
                val_loss=self.val_loss,
            )
        self.val_loss = None
        if decision is not None and decision.should_stop:
            self.say("stop", "info", decision.reason, moment.step)
        if not looks:
            return
        for line in printed.getvalue().splitlines():
            if "estimation failed" in line:
                self.say("noise", "info", line, moment.step)
        result = self.tracker.plasticity_history.results[-1]
        for layer in result.layers:
            if layer.is_critical():
                self.say("plasticity", "warning", f"critical layer {layer}", moment.step)
