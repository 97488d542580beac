"""torchdiag: four of its five commands (the fifth reports memory).

    torchdiag.summary(model)                                     # before training
    torchdiag.check_dead_neurons(model, x)
    torchdiag.verify_step(model, optimizer, loss_fn, x, y)
    ...
        torchdiag.check_gradients(model)                         # after loss.backward()

The two that look at gradients and units are asked again every 50 steps. `verify_step` takes a real
step, as its manual says.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

from peers.adapters.base import Adapter as Base
from peers.adapters.base import Moment

LOOK_EVERY = 50


class Adapter(Base):
    """It prints, so what it prints is read: bullets under a heading, and stages that failed."""

    def __init__(self) -> None:
        super().__init__()
        import torchdiag

        self.torchdiag = torchdiag

    def batch(self, moment: Moment) -> None:
        x = moment.inputs() if moment.step % LOOK_EVERY == 0 else None
        if moment.step == 0:
            self._ask("summary", moment.step, self.torchdiag.summary, moment.model)
        if x is not None:
            self._ask("dead", moment.step, self.torchdiag.check_dead_neurons, moment.model, x)
        if moment.step == 0:
            self._ask(
                "step",
                moment.step,
                self.torchdiag.verify_step,
                moment.model,
                moment.optimizer,
                moment.loss_fn,
                x,
                moment.targets,
            )

    def backward(self, moment: Moment, loss: float) -> None:
        if moment.step % LOOK_EVERY == 0:
            self._ask("gradients", moment.step, self.torchdiag.check_gradients, moment.model)

    def _ask(self, check: str, step: int, command: Callable[..., Any], *arguments: Any) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            command(*arguments)
        for line in printed.getvalue().splitlines():
            if line.startswith("  • "):
                self.say(check, "warning", line[4:], step)
            elif line.startswith("✗ "):
                self.say(check, "error", line[2:], step)
