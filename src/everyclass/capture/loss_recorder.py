"""Decides when the loss is traced, and keeps the traced loss once a second step has agreed.

Comes in: what the session notices of a step. Goes out: a `TracedLoss`, or a sentence why there is
none. Two steps are traced as a rule, a few more where one was no use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from everyclass.capture.losses import WATCHED_LOSSES
from everyclass.capture.tracing import LossTracer
from everyclass.diagnosis.traced_loss import (
    NotTraceable,
    TracedLoss,
    agrees,
    maker,
    traced_loss,
    undivided,
)

MOST_TRIES = 8


class LossRecorder:
    """Traces the loss of a script.

    Args:
        listening: says whether it is the script that computes at present.

    Attributes:
        plain: the watched loss itself is differentiated, with nothing added or multiplied.
        note: why nothing came of it, as a sentence; "" while all is well.
    """

    def __init__(self, listening: Callable[[], bool]) -> None:
        self.plain = False
        self.note = ""
        self._listening = listening
        self._tracer: LossTracer | None = None
        self._leaving: list[LossTracer] = []
        self._candidate: TracedLoss | None = None
        self._weights: dict[str, Tensor] = {}
        self._agreed: TracedLoss | None = None
        self._in_network = False
        self._tries = 0

    @property
    def loss(self) -> TracedLoss | None:
        """What two steps agreed on."""
        return self._agreed

    @property
    def waits(self) -> bool:
        """Whether another step is to be traced."""
        return self._agreed is None and self._tries < MOST_TRIES

    def give_up(self) -> None:
        """Something is compiled: a mode on the stack would have it compiled again."""
        self.leave()
        self._tries = MOST_TRIES

    def begin(self) -> None:
        """A training pass is about to begin; nothing where one is traced already."""
        if self._tracer is None and self.waits and not self._leaving:
            tracer = LossTracer(
                lambda: self._listening() and not self._in_network, self._backward_begins
            )
            if tracer.begin():
                self._in_network = False
                self._tracer = tracer
                self._tries += 1

    def network_begins(self) -> None:
        """What the network computes is not recorded."""
        self._in_network = True

    def network_ends(self, outputs: Iterable[Tensor] | None) -> None:
        """It has answered; None for another network than the watched one."""
        self._in_network = False
        if self._tracer is not None and outputs is not None:
            self._tracer.answered(outputs)

    def _backward_begins(self) -> None:
        if self._candidate is not None:
            self._weights = self._candidate.weights()

    def scaled(self, loss: object, result: object) -> None:
        """A gradient scaler has multiplied."""
        if self._tracer is not None:
            self._tracer.same(result, loss)

    def step_ends(
        self, root: nn.Module, targets: Tensor | None, value: Tensor | None, *, passes: int
    ) -> None:
        """Make something of the trace.

        Args:
            root: the network.
            targets: of the watched loss or, without one, of the batch.
            value: the watched loss's, None without one.
            passes: training passes that the step is made of.
        """
        tracer = self._tracer
        self.leave()
        if tracer is None or tracer.broken or tracer.trace.final is None:
            return
        trace, differentiated = tracer.trace, tracer.trace.final
        trace.final = undivided(trace, differentiated, passes)
        made = maker(trace, trace.final)
        same = value is not None and trace.tensors[trace.final].data_ptr() == value.data_ptr()
        # What was added in place stands where the loss stood.
        self.plain = same and made is not None and made.function.__name__ in WATCHED_LOSSES
        try:
            if targets is None:
                raise NotTraceable("it takes no targets that are known")
            if self._candidate is None:
                self._candidate = traced_loss(trace, root, targets)
            elif agrees(self._candidate.at(self._weights), trace, targets):
                self._agreed = self._candidate
            else:
                raise NotTraceable("it depends on more than outputs and targets")
            self.note = ""
        except NotTraceable as error:
            self._candidate = None
            self.note = f"The script's own loss is not known as a function: {error}."
        except Exception as error:  # noqa: BLE001 - it was computed from the script's own calls
            self._candidate = None
            self.note = (
                "The script's own loss could not be computed again: "
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            )

    def leave(self) -> None:
        """Nothing is traced from now on, until `begin`."""
        if self._tracer is not None:
            self._leaving.append(self._tracer)
            self._tracer = None
        self._leaving = [one for one in self._leaving if not one.end()]
