"""`everyclass.watch`: a training in a `with` block, watched without a call.

Comes in: a model and its optimizer. Goes out: the monitor's answers. The same capture as
`everyclass run`, from here to the end of the block, bound to this model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.optim import Optimizer

from everyclass.capture.assemble import case_of
from everyclass.capture.patches import Patches
from everyclass.capture.session import Session
from everyclass.diagnosis.case import Case
from everyclass.errors import InputError
from everyclass.findings import Finding
from everyclass.monitoring.summary import Summary


class Watching:
    """What a `with everyclass.watch(...)` block gives; it answers inside and after the block.

    Made by `watch`.
    """

    def __init__(self, session: Session, patches: Patches) -> None:
        self._session = session
        self._patches = patches
        self._ended = False

    def findings(self) -> tuple[Finding, ...]:
        """Everything found so far, also what is over."""
        monitor = self._session.feed.monitor
        return () if monitor is None else monitor.findings()

    def summary(self) -> Summary:
        """What is known now; after the block, where the training ended."""
        monitor = self._session.feed.monitor
        if monitor is None:
            return Summary.nothing(step=self._session.steps)
        return monitor.summary(ended=self._ended)

    def scalars(self) -> dict[str, float]:
        """Figures of the last rounds, for a logger."""
        monitor = self._session.feed.monitor
        return {} if monitor is None else monitor.scalars()

    def case(self) -> Case | None:
        """What was captured, for `everyclass.check_case`; None when nothing was recognised."""
        return case_of(self._session, self._patches.originals)

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __str__(self) -> str:
        return str(self.summary())

    def _end(self) -> None:
        self._session.end()
        self._patches.remove()
        self._ended = True


@contextmanager
def watch(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    on_finding: Callable[[Finding], None] | None = None,
) -> Iterator[Watching]:
    """Watch the training that runs inside the block.

    Losses of `torch.nn.functional` (and the modules that call them), forward passes of `model` and
    steps of `optimizer` are seen; evaluation passes are told from training passes by their
    gradients. Numbers and random state of the training stay bit for bit what they are.

    Args:
        model: the network that is trained, as the loop calls it.
        optimizer: of its parameters.
        on_finding: called with each alarm, at once.
    Raises:
        InputError: no parameter of the model can be trained.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with watch(model, optimizer) as watching:
        ...     for _ in range(8):
        ...         loss = torch.nn.functional.cross_entropy(
        ...             model(torch.randn(16, 4)), torch.randint(0, 3, (16,))
        ...         )
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        >>> watching.summary().phase
        'opening'
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(
            "The model has no parameter that can be trained: all have requires_grad=False.",
            remedy="Unfreeze what shall learn.",
        )
    session = Session(on_alarm=on_finding)
    patches = Patches(session)
    patches.install()
    session.roots.add_optimizer(optimizer)
    watching = Watching(session, patches)
    try:
        yield watching
    finally:
        watching._end()
