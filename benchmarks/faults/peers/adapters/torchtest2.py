"""torchtest2: one call on one batch, before training.

    report = torchtest2.check_model(model, inputs, targets, loss_fn=loss_fn, optimizer=optimizer)
    print(report)

Lightning modules and models that compute their own loss go through its plugins of these names.
"""

from __future__ import annotations

from peers.adapters.base import Adapter as Base
from peers.adapters.base import Moment


class Adapter(Base):
    """The call, at the first batch."""

    def __init__(self) -> None:
        super().__init__()
        import torchtest2

        self.check_model = torchtest2.check_model

    def batch(self, moment: Moment) -> None:
        if moment.step > 0:
            return
        if moment.kind == "loop":
            report = self.check_model(
                moment.model,
                moment.inputs(),
                moment.targets,
                loss_fn=moment.loss_fn,
                optimizer=moment.optimizer,
            )
        else:
            inputs = moment.inputs()
            report = self.check_model(
                moment.model,
                {"pixel_values": inputs} if moment.kind == "huggingface" else inputs,
                moment.targets,
                optimizer=moment.optimizer,
                plugin=moment.kind,
            )
        for result in report.failures:
            self.say(result.name, "error", result.message)
        for result in report.warnings:
            self.say(result.name, "warning", result.message)
