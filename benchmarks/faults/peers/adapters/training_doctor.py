"""training-doctor: a line in the loop, with what its manual calls full diagnostics.

    doctor = Doctor()
    ...
        doctor.log(step=step, loss=loss.item(), lr=..., grad_norm=...)
        doctor.log(step=step, eval_loss=val_loss)                # after an evaluation

Its manual takes the gradient norm from `clip_grad_norm_`; the scripts do not clip, so the norm is
measured without. A diagnosis below a confidence of 0.3 is "weak signal, might be noise" by its
manual, and kept as no warning.
"""

from __future__ import annotations

from typing import Any

from peers.adapters.base import Adapter as Base
from peers.adapters.base import Level, Moment, gradient_norm

LEVELS: dict[str, Level] = {"critical": "error", "warning": "warning", "info": "info"}
WEAK = 0.3


class Adapter(Base):
    """Every diagnosis that `log` returns."""

    def __init__(self) -> None:
        super().__init__()
        from training_doctor import Doctor

        self.doctor = Doctor()

    def backward(self, moment: Moment, loss: float) -> None:
        metrics = {"loss": loss, "lr": moment.rate, "grad_norm": gradient_norm(moment.model)}
        known = {name: value for name, value in metrics.items() if value is not None}
        self._told(self.doctor.log(step=moment.step, **known), moment.step)

    def evaluated(self, moment: Moment, loss: float) -> None:
        self._told(self.doctor.log(step=moment.step, eval_loss=loss), moment.step)

    def _told(self, diagnoses: list[Any], step: int) -> None:
        for one in diagnoses:
            level = LEVELS[one.severity.value] if one.confidence >= WEAK else "info"
            evidence = "; ".join(str(piece) for piece in one.evidence)
            text = f"{one.problem} | {evidence} | {one.explanation} | " + "; ".join(one.suggestions)
            self.say(one.detector_name or one.problem, level, text, step)
